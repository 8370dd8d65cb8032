//! A directory of chunks (`.castr`), as casync reads and writes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::unistd::syncfs;
use thiserror::Error;

use super::{ChunkStore, StoreError};
use crate::chunk::ChunkId;
use crate::codec::StoredForm;

/// File name suffix of compressed chunks.
const PACKED_SUFFIX: &str = ".cacnk";
/// Hex digits of the id that name the subdirectory.
const PREFIX_DIGITS: usize = 4;
/// Mode of a chunk's file: nobody has reason to change it.
const CHUNK_MODE: u32 = 0o444;
/// Names tried for a temporary file before giving up.
const TEMP_NAME_TRIES: usize = 16;
/// Where the link that marks a chunk as known to be missing leads.
const MISSING_MARKER: &str = "/dev/null";

/// When what was put into a directory store is safe from a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When [`DirStore::put`] returns: the file is synced before it gets its name, then its directory.
    EachPut,
    /// When [`DirStore::sync`] returns. A power cut before may leave chunks that are empty or not
    /// whole under their final names: readers refuse those, and [`super::Chopper`] makes them again.
    AtSync,
    /// When the system has written it, whenever that is; [`DirStore::sync`] does not wait either. For
    /// a store that can be made again, or that is copied elsewhere at once.
    Unsynced,
}

/// A directory with one file per chunk.
#[derive(Debug)]
pub struct DirStore {
    root: PathBuf,
    name: String,
    durability: Durability,
    /// Next number for a temporary name.
    temp: AtomicU64,
}

/// A directory store could not be written.
#[derive(Debug, Error)]
#[error("cannot {step} {path}")]
pub struct DirStoreError {
    /// What was being done.
    pub step: &'static str,
    /// To which file or directory.
    pub path: PathBuf,
    /// What went wrong.
    pub source: io::Error,
}

impl DirStore {
    /// The store in the directory `root`, which need not exist before the first chunk is put.
    ///
    /// `nonce` goes into temporary names: give each process its own (its random bytes or its
    /// process id), so that no two choose the same; if they do, they still do no harm.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, nonce: u64, durability: Durability) -> Self {
        let root = root.into();
        let name = root.display().to_string();
        let temp = AtomicU64::new(nonce);
        Self {
            root,
            name,
            durability,
            temp,
        }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file that holds a chunk in one of its forms.
    #[must_use]
    pub fn path_of(&self, id: &ChunkId, form: StoredForm) -> PathBuf {
        let hex = id.to_string();
        let suffix = match form {
            StoredForm::Packed => PACKED_SUFFIX,
            StoredForm::Raw => "",
        };
        self.root
            .join(&hex[..PREFIX_DIGITS])
            .join(format!("{hex}{suffix}"))
    }

    /// Whether the store has something under the chunk's name that is not empty. It is not read: a
    /// power cut may have left it incomplete.
    pub fn has(&self, id: &ChunkId) -> Result<bool, StoreError> {
        match self.open_any(id) {
            Ok((_, _, len)) => Ok(len > 0),
            Err(StoreError::Missing) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts a chunk's stored form in, in place of any that is there in that form.
    ///
    /// The file appears under its name whole or not at all as long as the machine keeps running; what
    /// a power cut leaves is told by the store's [`Durability`].
    pub fn put(&self, id: &ChunkId, form: StoredForm, stored: &[u8]) -> Result<(), DirStoreError> {
        let path = self.path_of(id, form);
        let dir = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(dir).map_err(failed("create the directory", dir))?;
        let (temp, mut file) = self.create_temp(dir, id)?;
        let written = self.write_and_name(&mut file, stored, &temp, &path);
        if written.is_err() {
            // Already failing; what is left is a file that no reader looks at.
            let _ = fs::remove_file(&temp);
        }
        written?;
        match self.durability {
            Durability::EachPut => self.sync_dirs(dir),
            Durability::AtSync | Durability::Unsynced => Ok(()),
        }
    }

    /// Makes everything durable that is in the store, whoever put it there.
    ///
    /// The whole file system is synced: that is one wait, where a store of a large image has tens of
    /// thousands of files and directories to wait for.
    pub fn sync(&self) -> Result<(), DirStoreError> {
        if self.durability == Durability::Unsynced {
            return Ok(());
        }
        match File::open(&self.root) {
            Ok(root) => syncfs(root).map_err(|errno| failed("sync", &self.root)(errno.into())),
            // Nothing was put.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("open", &self.root)(error)),
        }
    }

    fn write_and_name(
        &self,
        file: &mut File,
        stored: &[u8],
        temp: &Path,
        path: &Path,
    ) -> Result<(), DirStoreError> {
        file.write_all(stored).map_err(failed("write", temp))?;
        if self.durability == Durability::EachPut {
            file.sync_all().map_err(failed("sync", temp))?;
        }
        fs::rename(temp, path).map_err(failed("name", path))
    }

    /// Syncs a subdirectory and those that it and the store are listed in: all may be new.
    fn sync_dirs(&self, dir: &Path) -> Result<(), DirStoreError> {
        sync_path(dir)?;
        sync_path(&self.root)?;
        match self.root.parent() {
            Some(parent) if parent != Path::new("") => sync_path(parent),
            _ => sync_path(Path::new(".")),
        }
    }

    fn create_temp(&self, dir: &Path, id: &ChunkId) -> Result<(PathBuf, File), DirStoreError> {
        let mut tries = 1;
        loop {
            let number = self.temp.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("{id}.{number:016x}.tmp"));
            let mut options = OpenOptions::new();
            match options
                .write(true)
                .create_new(true)
                .mode(CHUNK_MODE)
                .open(&path)
            {
                Ok(file) => return Ok((path, file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && tries < TEMP_NAME_TRIES => {
                    tries += 1;
                }
                Err(source) => return Err(failed("create", &path)(source)),
            }
        }
    }

    fn open_any(&self, id: &ChunkId) -> Result<(StoredForm, File, u64), StoreError> {
        for form in [StoredForm::Packed, StoredForm::Raw] {
            if let Some((file, len)) = open_chunk(&self.path_of(id, form))? {
                return Ok((form, file, len));
            }
        }
        Err(StoreError::Missing)
    }
}

impl ChunkStore for DirStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn get(
        &self,
        id: &ChunkId,
        max_len: u64,
        into: &mut Vec<u8>,
    ) -> Result<StoredForm, StoreError> {
        let (form, file, len) = self.open_any(id)?;
        if len > max_len {
            return Err(StoreError::TooLong { max: max_len });
        }
        into.clear();
        // One byte more than allowed shows a file that grows while it is read.
        file.take(max_len.saturating_add(1))
            .read_to_end(into)
            .map_err(unreadable)?;
        if u64::try_from(into.len()).map_or(true, |len| len > max_len) {
            return Err(StoreError::TooLong { max: max_len });
        }
        Ok(form)
    }
}

/// Opens a chunk's file; `None` if it is not there or marked as missing.
///
/// Anything but a regular file is refused before it is opened: a pipe would block for ever. Someone
/// who swaps the file in between can make us wait, and could as well have filled the disk.
fn open_chunk(path: &Path) -> Result<Option<(File, u64)>, StoreError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if metadata.is_symlink() {
        return match fs::read_link(path).map_err(unreadable)? {
            target if target == Path::new(MISSING_MARKER) => Ok(None),
            _ => Err(unreadable(io::Error::other("the chunk's file is a link"))),
        };
    }
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other(
            "the chunk's name is not that of a file",
        )));
    }
    let file = File::open(path).map_err(unreadable)?;
    Ok(Some((file, metadata.len())))
}

fn sync_path(path: &Path) -> Result<(), DirStoreError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed("sync", path))
}

fn unreadable(error: io::Error) -> StoreError {
    StoreError::Unreadable(Box::new(error))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirStoreError {
    let path = path.to_path_buf();
    move |source| DirStoreError { step, path, source }
}

#[cfg(test)]
mod tests;
