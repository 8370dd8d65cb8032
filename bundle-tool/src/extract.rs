//! Taking the files out of a bundle, without mounting anything.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use bundle_format::limits::{MAX_DIRECTORY_ENTRIES, MAX_PATH_DEPTH};
use bundle_format::squashfs::{Entry, EntryKind, InodeRef, Squashfs};
use bundle_format::{PayloadError, ReadAt};

use crate::observer::Observer;
use crate::output::Overwrite;

/// Bytes that are copied at once.
const BUFFER: usize = 1024 * 1024;

/// Files, directories and links that are taken out of one bundle, at most.
const MAX_EXTRACTED: usize = MAX_DIRECTORY_ENTRIES;

/// Why the files cannot be taken out.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The directory is there already.
    #[error("{path} exists already; extract into a new directory", path = path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// The payload cannot be read.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A file cannot be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name in the bundle is not text.
    #[error("the bundle holds a name that is not UTF-8 text in {directory}", directory = directory.display())]
    Name {
        /// Where.
        directory: PathBuf,
    },
    /// Something that does not belong into a bundle.
    #[error("{path} in the bundle is {what}, which is not extracted", path = path.display())]
    Forbidden {
        /// Which.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// More than anybody puts into a bundle.
    #[error(
        "the bundle holds more than {MAX_EXTRACTED} files, or directories deeper than {MAX_PATH_DEPTH}"
    )]
    TooMany,
}

/// Takes all files of a bundle's payload into `directory`. With [`Overwrite::Refuse`] it must not
/// exist yet; with [`Overwrite::Replace`] files in it are replaced. Returns how many there were.
///
/// # Errors
/// The directory exists, the payload is damaged, or writing fails. What was written until then
/// stays.
pub fn extract<R: ReadAt + Clone>(
    files: &Squashfs<R>,
    directory: &Path,
    overwrite: Overwrite,
    observer: &mut dyn Observer,
) -> Result<usize, ExtractError> {
    make_directory(directory, overwrite)?;
    let mut walk = Walk {
        files,
        overwrite,
        observer,
        count: 0,
        buffer: vec![0; BUFFER],
    };
    walk.directory(files.root(), directory, 0)?;
    Ok(walk.count)
}

/// A directory of a bundle; one that is there already has to be a directory itself, and no link to
/// one.
fn make_directory(path: &Path, overwrite: Overwrite) -> Result<(), ExtractError> {
    std::fs::create_dir(path).or_else(|source| {
        let there = source.kind() == io::ErrorKind::AlreadyExists;
        let path = path.to_owned();
        match overwrite {
            Overwrite::Replace if there && is_directory(&path) => Ok(()),
            Overwrite::Refuse if there => Err(ExtractError::Exists { path }),
            _ => Err(ExtractError::Write { path, source }),
        }
    })
}

fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

struct Walk<'a, R> {
    files: &'a Squashfs<R>,
    overwrite: Overwrite,
    observer: &'a mut dyn Observer,
    count: usize,
    buffer: Vec<u8>,
}

impl<R: ReadAt + Clone> Walk<'_, R> {
    /// Every directory is made here and nowhere else, so no path ever leads through a link.
    fn directory(
        &mut self,
        inode: InodeRef,
        path: &Path,
        depth: usize,
    ) -> Result<(), ExtractError> {
        if depth > MAX_PATH_DEPTH {
            return Err(ExtractError::TooMany);
        }
        for entry in self.files.read_dir(inode)? {
            self.count += 1;
            if self.count > MAX_EXTRACTED {
                return Err(ExtractError::TooMany);
            }
            self.entry(&entry, path, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, directory: &Path, depth: usize) -> Result<(), ExtractError> {
        let name = std::str::from_utf8(&entry.name).map_err(|_| ExtractError::Name {
            directory: directory.to_owned(),
        })?;
        let path = directory.join(name);
        let write = |source| ExtractError::Write {
            path: path.clone(),
            source,
        };
        match entry.kind {
            EntryKind::Directory => {
                make_directory(&path, self.overwrite)?;
                self.directory(entry.inode, &path, depth + 1)
            }
            EntryKind::File => {
                self.observer.step(&format!("extracting {name}"));
                self.make_room(&path).map_err(write)?;
                self.file(entry.inode, &path)
            }
            EntryKind::Symlink => {
                let target = self.files.link_target(entry.inode)?;
                let target = std::str::from_utf8(&target)
                    .ok()
                    .filter(|target| !target.contains('/') && !matches!(*target, "." | ".." | ""));
                let what = "a link to somewhere else than its neighbours";
                let target = target.ok_or_else(|| ExtractError::Forbidden {
                    path: path.clone(),
                    what,
                })?;
                self.make_room(&path)
                    .and_then(|()| symlink(target, &path))
                    .map_err(write)
            }
            EntryKind::Special => {
                let what = "a device, pipe or socket";
                Err(ExtractError::Forbidden { path, what })
            }
        }
    }

    /// Takes away what stands in the place of a new file: never written through, since it may be a
    /// link.
    fn make_room(&self, path: &Path) -> io::Result<()> {
        match self.overwrite {
            Overwrite::Replace if path.symlink_metadata().is_ok() => std::fs::remove_file(path),
            _ => Ok(()),
        }
    }

    fn file(&mut self, inode: InodeRef, path: &Path) -> Result<(), ExtractError> {
        let write = |source| ExtractError::Write {
            path: path.to_owned(),
            source,
        };
        let mode = self.files.permissions(inode)? & 0o777;
        let mut content = self.files.file(inode)?;
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(write)?;
        let mut done = 0;
        loop {
            let len = content
                .read(&mut self.buffer)
                .map_err(|error| PayloadError::from_io(done, error))?;
            if len == 0 {
                break;
            }
            file.write_all(&self.buffer[..len]).map_err(write)?;
            done += len as u64;
            self.observer.progress(done, content.size());
        }
        set_mode(&file, mode).map_err(write)
    }
}

fn set_mode(file: &File, mode: u16) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(mode.into()))
}
