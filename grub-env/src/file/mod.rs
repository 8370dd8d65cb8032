//! The environment block in its file: opening with all checks, one write in place, creation.
//!
//! This is the only module of the room that reads or writes environment files.

mod create;
mod error;

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use create::{create, read_file};
pub use error::FileError;

use crate::block::{Block, BlockError, MIN_LEN, changed_sectors};
use crate::placement::{Hinders, Place, Sources, survey};
use error::{io_at, too_large};

/// Largest file taken for an environment block, in bytes. GRUB sets no limit, but loads it whole.
pub const MAX_LEN: u64 = 1 << 20;

/// How long another program may hold the lock before we give up.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(10);

const LOCK_STEP: Duration = Duration::from_millis(50);

/// How well a file must be placed to be opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// GRUB must see each write after a power cut, and must be able to save into the file itself:
    /// for everything in which GRUB counts boot attempts.
    Checked,
    /// GRUB must see each write; it need not save there (the paired files).
    CheckedForReading,
    /// No questions, and symbolic links are followed: for images, tests, and file systems that
    /// the caller knows better.
    Unchecked,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The file held these bytes already; the disk was not touched.
    Nothing,
    /// One sector changed: after a power cut the file would have been old or new.
    OneSector,
    /// So many sectors changed: a power cut would have left a mixture, which GRUB accepts.
    Sectors(usize),
}

/// An environment file, open for reading and writing, and locked (flock) until it is dropped.
///
/// Its length never changes. It also serves as plain storage ([`len`](Self::len),
/// [`read_at`](Self::read_at), [`write_at`](Self::write_at), [`sync`](Self::sync)) for callers
/// that bring their own transaction.
#[derive(Debug)]
pub struct EnvFile {
    file: File,
    path: PathBuf,
    len: u64,
    /// Where the bytes lay on opening; `None` if unchecked.
    place: Option<Place>,
}

impl EnvFile {
    /// Opens an existing file without changing it, locks it, and checks where it lies.
    ///
    /// # Errors
    /// Any [`FileError`] except those of writing. The content is not looked at here.
    pub fn open(path: &Path, placement: Placement) -> Result<Self, FileError> {
        Self::open_with(path, placement, Sources::default())
    }

    /// Like [`open`](Self::open), with other sources for what is known of mounts and devices.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        path: &Path,
        placement: Placement,
        sources: Sources<'_>,
    ) -> Result<Self, FileError> {
        let file = open_locked(path, placement)?;
        let len = checked_len(&file, path)?;
        let io_error = |source| io_at(path, "ask where it lies:", source);
        let place = match placement {
            Placement::Unchecked => None,
            Placement::Checked | Placement::CheckedForReading => {
                let place = Place::of(&file).map_err(io_error)?;
                let mut findings = survey(&file, &place, sources).map_err(io_error)?;
                if placement == Placement::CheckedForReading {
                    findings.retain(|f| f.hinders() == Hinders::Reading);
                }
                if !findings.is_empty() {
                    return Err(FileError::Unfit {
                        path: path.to_owned(),
                        findings,
                    });
                }
                Some(place)
            }
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            len,
            place,
        })
    }

    /// The path as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The length of the file in bytes, which is that of the block. Never changes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file is empty; such a file holds no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` beyond the end.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    /// Writes into the file, never beyond its end. Durable only after [`sync`](Self::sync).
    ///
    /// # Errors
    /// `InvalidInput` beyond the end, else what the system says.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an environment file keeps its length",
            ));
        }
        self.file.write_all_at(bytes, offset)
    }

    /// Makes what was written durable, where GRUB reads it: fsync, and then a look whether the
    /// file is still where it was.
    ///
    /// # Errors
    /// [`FileError::Io`] if the bytes may not be durable, [`FileError::Moved`] if they are, but
    /// GRUB may not see them.
    pub fn sync(&self) -> Result<(), FileError> {
        self.file.sync_all().map_err(|e| self.io("sync", e))?;
        if let Some(before) = &self.place {
            let now = Place::of(&self.file).map_err(|e| self.io("ask where it lies:", e))?;
            if now != *before {
                return Err(FileError::Moved {
                    path: self.path.clone(),
                });
            }
        }
        Ok(())
    }

    /// The whole file.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn read_bytes(&self) -> Result<Vec<u8>, FileError> {
        let len = usize::try_from(self.len).map_err(|_| too_large(&self.path, self.len))?;
        let mut bytes = vec![0; len];
        self.read_at(0, &mut bytes)
            .map_err(|e| self.io("read", e))?;
        Ok(bytes)
    }

    /// The block.
    ///
    /// # Errors
    /// [`FileError::Io`], or [`FileError::Block`] if the file holds something else.
    pub fn read(&self) -> Result<Block, FileError> {
        Block::parse(&self.read_bytes()?).map_err(|source| FileError::Block {
            path: self.path.clone(),
            source,
        })
    }

    /// Writes the block in place with one write of the file's length, syncs, drops the cache and
    /// reads back. Writes nothing at all if the file holds these bytes.
    ///
    /// If power fails before this returns, the file is old or new where [`Written::OneSector`]
    /// would have been the answer ([`Block::fits_first_sector`] before and after).
    ///
    /// # Errors
    /// [`FileError::TooSmall`] before anything was written; [`FileError::Io`],
    /// [`FileError::Moved`] and [`FileError::ReadBack`] after.
    pub fn write(&self, block: &Block) -> Result<Written, FileError> {
        let old = self.read_bytes()?;
        let new = block
            .to_bytes(old.len())
            .map_err(|source| FileError::TooSmall {
                path: self.path.clone(),
                source,
            })?;
        let written = match changed_sectors(&old, &new).len() {
            0 => return Ok(Written::Nothing),
            1 => Written::OneSector,
            n => Written::Sectors(n),
        };
        self.write_at(0, &new).map_err(|e| self.io("write", e))?;
        self.sync()?;
        devio::block::drop_cache(&self.file).map_err(|e| self.io("drop the cache of", e))?;
        let back = self.read_bytes()?;
        match back.iter().zip(&new).position(|(a, b)| a != b) {
            Some(offset) => Err(FileError::ReadBack {
                path: self.path.clone(),
                offset,
            }),
            None => Ok(written),
        }
    }

    fn io(&self, stage: &'static str, source: io::Error) -> FileError {
        io_at(&self.path, stage, source)
    }
}

/// Opens and locks; makes sure that the locked file is the one that the path names, since an
/// editor may have put a new file there while we waited.
fn open_locked(path: &Path, placement: Placement) -> Result<File, FileError> {
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        check_kind(path, placement)?;
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|e| io_at(path, "open", e))?;
        lock(&file, path)?;
        let ours = file.metadata().map_err(|e| io_at(path, "stat", e))?;
        let named = std::fs::metadata(path).map_err(|e| io_at(path, "stat", e))?;
        if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) {
            return Ok(file);
        }
    }
    Err(FileError::Replaced {
        path: path.to_owned(),
    })
}

fn check_kind(path: &Path, placement: Placement) -> Result<(), FileError> {
    let meta = std::fs::symlink_metadata(path).map_err(|e| io_at(path, "stat", e))?;
    match placement {
        Placement::Checked | Placement::CheckedForReading if meta.is_symlink() => {
            Err(FileError::Symlink {
                path: path.to_owned(),
            })
        }
        Placement::Unchecked if meta.is_symlink() => Ok(()),
        _ if meta.is_file() => Ok(()),
        _ => Err(FileError::NotAFile {
            path: path.to_owned(),
        }),
    }
}

fn lock(file: &File, path: &Path) -> Result<(), FileError> {
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(io_at(path, "lock", e)),
            Err(TryLockError::WouldBlock) if waited >= LOCK_PATIENCE => {
                return Err(FileError::Locked {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(LOCK_STEP);
                waited += LOCK_STEP;
            }
        }
    }
}

/// The length in bytes, if the file is one that may hold a block.
fn checked_len(file: &File, path: &Path) -> Result<u64, FileError> {
    let meta = file.metadata().map_err(|e| io_at(path, "stat", e))?;
    if !meta.is_file() {
        return Err(FileError::NotAFile {
            path: path.to_owned(),
        });
    }
    match meta.len() {
        len if len > MAX_LEN => Err(too_large(path, len)),
        // It keeps its length, so a block could never come into it.
        len if len < MIN_LEN as u64 => {
            let source = BlockError::TooShort {
                len: usize::try_from(len).unwrap_or(0),
            };
            Err(FileError::Block {
                path: path.to_owned(),
                source,
            })
        }
        len => Ok(len),
    }
}

#[cfg(test)]
mod tests;
