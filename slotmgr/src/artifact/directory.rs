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

    /// By what `/proc` tells of all processes: open files, programs, directories, mapped libraries; and
    /// the files behind loop devices.
    fn is_open(&self, name: &str) -> bool {
        let path = self.path(name);
        let inside = |found: &Path| found.starts_with(&path);
        let links = |directory: &str| {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            entries.filter_map(|entry| std::fs::read_link(entry.path()).ok())
        };
        let mut processes = numbered("/proc");
        let by_process = processes.any(|process| {
            let own = ["cwd", "root", "exe"].map(|name| std::fs::read_link(process.join(name)));
            let directory = |name: &str| process.join(name).display().to_string();
            own.into_iter().flatten().any(|found| inside(&found))
                || links(&directory("fd")).any(|found| inside(&found))
                || links(&directory("map_files")).any(|found| inside(&found))
        });
        let disks = std::fs::read_dir("/sys/block")
            .into_iter()
            .flatten()
            .flatten();
        let mut backing = disks
            .filter_map(|disk| std::fs::read_to_string(disk.path().join("loop/backing_file")).ok());
        by_process || backing.any(|file| inside(Path::new(file.trim_end())))
    }
}

/// The directories of processes.
fn numbered(proc: &str) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let is_number = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        name.to_string_lossy()
            .bytes()
            .all(|digit| digit.is_ascii_digit())
    };
    entries.filter(is_number).map(|entry| entry.path())
}
