//! What is done to whole folders of data, and in which order it gets onto the medium.
//!
//! A file system may write down a folder's new name before it writes down what is in the folder.
//! So content is synced before it gets the name that others trust, and the name is synced before
//! anybody relies on it. This is the seam for that: the tests cut the power at every operation.

use std::io;
use std::path::Path;

/// Whole folders, on a file system.
pub trait Folders {
    /// Whether there is one.
    fn exists(&self, folder: &Path) -> bool;
    /// Makes one, and those above it that are missing; one that is there stays.
    ///
    /// # Errors
    /// What the file system says.
    fn create(&mut self, folder: &Path) -> io::Result<()>;
    /// Removes one with all that is in it.
    ///
    /// # Errors
    /// What the file system says; part of it may be gone.
    fn remove(&mut self, folder: &Path) -> io::Result<()>;
    /// Gives one another name.
    ///
    /// # Errors
    /// It has its old name.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Everything in `folder` is on the medium when this returns.
    ///
    /// # Errors
    /// Something could not be written, now or earlier.
    fn sync_content(&mut self, folder: &Path) -> io::Result<()>;
    /// The names of what lies directly in `folder` are on the medium when this returns.
    ///
    /// # Errors
    /// They could not be written.
    fn sync_names(&mut self, folder: &Path) -> io::Result<()>;
}

/// Those of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OnDisk;

impl Folders for OnDisk {
    fn exists(&self, folder: &Path) -> bool {
        folder.exists()
    }

    fn create(&mut self, folder: &Path) -> io::Result<()> {
        fs_err::create_dir_all(folder)
    }

    fn remove(&mut self, folder: &Path) -> io::Result<()> {
        fs_err::remove_dir_all(folder)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs_err::rename(from, to)
    }

    /// Of the whole file system: nobody knows what a hook has opened, and what it only linked.
    fn sync_content(&mut self, folder: &Path) -> io::Result<()> {
        devio::system::sync_filesystem(fs_err::File::open(folder)?.file())
    }

    fn sync_names(&mut self, folder: &Path) -> io::Result<()> {
        fs_err::File::open(folder)?.sync_all()
    }
}
