//! The real directory of a repository.

use std::fs::File;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::shelf::{Entry, Shelf};

/// A directory that is there.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: File,
}

impl Directory {
    /// Opens it.
    ///
    /// # Errors
    /// It is not there, or no directory.
    pub fn open(path: &Path) -> io::Result<Directory> {
        let handle = File::open(path)?;
        if !handle.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Directory {
            path: path.canonicalize()?,
            handle,
        })
    }

    /// Where something in it is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Shelf for Directory {
    fn entries(&self) -> io::Result<Vec<Entry>> {
        let entry = |entry: io::Result<std::fs::DirEntry>| {
            let entry = entry?;
            let target = match entry.file_type()?.is_symlink() {
                true => Some(std::fs::read_link(entry.path())?),
                false => None,
            };
            Ok(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                target: target.map(|target| target.to_string_lossy().into_owned()),
            })
        };
        std::fs::read_dir(&self.path)?.map(entry).collect()
    }

    fn sync_content(&mut self, _: &str) -> io::Result<()> {
        // A tree has many files: all of the file system at once.
        devio::system::sync_filesystem(&self.handle)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        symlink(target, self.path(name))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        let removed = match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn is_open(&self, name: &str) -> bool {
        // What cannot be found out must not be removed.
        somebody_has(&self.path(name)).unwrap_or(true)
    }
}

/// Whether somebody has the file, or one in the tree, open, mapped, or as a disk.
fn somebody_has(path: &Path) -> io::Result<bool> {
    let kind = std::fs::symlink_metadata(path)?.file_type();
    if kind.is_file() {
        return devio::lease::is_open_elsewhere(&File::open(path)?);
    }
    if kind.is_dir() {
        for entry in std::fs::read_dir(path)? {
            if somebody_has(&entry?.path())? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
