//! A file that appears under its name whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

/// What to do about a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// Fail.
    Refuse,
    /// Replace it, in one step.
    Replace,
}

/// Why an output file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It is there already.
    #[error("{path} exists already", path = path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// It is what the result is made of.
    #[error("{path} is an input as well, and would be lost", path = path.display())]
    Input {
        /// Which.
        path: PathBuf,
    },
    /// It has no name, or its directory is missing.
    #[error("cannot create a file in {directory}", directory = directory.display())]
    Create {
        /// Where.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What the names of files in the making end with.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A directory beside `output`, for what may be larger than the system's temporary directory; gone with
/// the value.
pub(crate) fn workspace_beside(output: &Path) -> io::Result<TempDir> {
    let parent = output.parent().filter(|path| !path.as_os_str().is_empty());
    tempfile::Builder::new()
        .prefix(".bundle-tool-")
        .tempdir_in(parent.unwrap_or(Path::new(".")))
}

/// A file in the making, beside its final place.
pub struct Output {
    file: NamedTempFile,
    path: PathBuf,
    overwrite: Overwrite,
}

impl Output {
    /// Starts a file that is to become `path`.
    ///
    /// # Errors
    /// It is there already and must not be replaced; the directory cannot be written to.
    pub fn create(path: &Path, overwrite: Overwrite) -> Result<Self, OutputError> {
        if overwrite == Overwrite::Refuse && path.symlink_metadata().is_ok() {
            return Err(OutputError::Exists {
                path: path.to_owned(),
            });
        }
        let directory = directory_of(path);
        let prefix = temporary_prefix(path);
        remove_left_over(&directory, &prefix);
        let created = create_locked(&directory, &prefix)
            .map_err(|source| OutputError::Create { directory, source })?;
        Ok(Self {
            file: created,
            path: path.to_owned(),
            overwrite,
        })
    }

    /// Refuses to replace one of the inputs, by whatever name: `--force` is meant for older results.
    ///
    /// # Errors
    /// The output is one of them.
    pub fn is_none_of(self, inputs: &[&Path]) -> Result<Self, OutputError> {
        let identity = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino())).ok();
        let own = identity(&self.path);
        if own.is_some() && inputs.iter().any(|input| identity(input) == own) {
            return Err(OutputError::Input { path: self.path });
        }
        Ok(self)
    }

    /// Where the file is for now.
    pub fn temporary_path(&self) -> &Path {
        self.file.path()
    }

    /// The file, for writing.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Cuts the file off, or fills it up with zeros.
    ///
    /// # Errors
    /// The system refuses.
    pub fn truncate(&mut self, len: u64) -> Result<(), OutputError> {
        self.file().set_len(len).map_err(|error| self.failed(error))
    }

    /// The error for a failed write.
    pub fn failed(&self, source: io::Error) -> OutputError {
        OutputError::Write {
            path: self.path.clone(),
            source,
        }
    }

    /// Brings the data to the disk, then gives the file its name, then brings that to the disk.
    ///
    /// # Errors
    /// The disk is full or fails; the file appeared in the meantime.
    pub fn finish(self) -> Result<(), OutputError> {
        let Self {
            file,
            path,
            overwrite,
        } = self;
        let write = |source| OutputError::Write {
            path: path.clone(),
            source,
        };
        file.as_file().sync_all().map_err(write)?;
        let persisted = match overwrite {
            Overwrite::Replace => file.persist(&path),
            Overwrite::Refuse => file.persist_noclobber(&path),
        };
        persisted.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Exists { path: path.clone() },
            _ => write(error.error),
        })?;
        File::open(directory_of(&path))
            .and_then(|directory| directory.sync_all())
            .map_err(write)
    }
}

/// What the names of files begin with that are to become `path`. Of a long name, a part must do.
fn temporary_prefix(path: &Path) -> OsString {
    const ENOUGH: usize = 200;
    let name = path.file_name().unwrap_or_default().as_bytes();
    let mut prefix = OsString::from(".");
    prefix.push(OsStr::from_bytes(&name[..name.len().min(ENOUGH)]));
    prefix.push(".bundle-tool-");
    prefix
}

/// Removes what processes have left that were killed while they made the same file. One that lives holds
/// a lock on its file. What cannot be listed, opened or removed is not in our way.
fn remove_left_over(directory: &Path, prefix: &OsStr) {
    let entries = fs_err::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let is_ours = name.as_bytes().starts_with(prefix.as_bytes())
            && name.as_bytes().ends_with(TEMPORARY_SUFFIX.as_bytes());
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else {
            continue;
        };
        if file.try_lock().is_ok() {
            // Removed while it is locked: who has just made it sees that it is gone, see below.
            let _ = fs_err::remove_file(entry.path());
        }
    }
}

/// Makes a file that others can tell from a left-over one.
fn create_locked(directory: &Path, prefix: &OsStr) -> io::Result<NamedTempFile> {
    loop {
        // As wide as the umask allows, like any other file that a program writes.
        let file = tempfile::Builder::new()
            .prefix(prefix)
            .suffix(TEMPORARY_SUFFIX)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)?;
        // On a file system without locks nobody can take it for left over. Elsewhere somebody may have
        // done so before it was locked.
        if file.as_file().lock().is_err() || file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_makes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.raucb");
        let left_over = dir.path().join(".x.raucb.bundle-tool-abc.tmp");
        let others = dir.path().join(".y.raucb.bundle-tool-abc.tmp");
        for file in [&left_over, &others] {
            fs_err::write(file, "half").unwrap();
        }
        let mut first = Output::create(&path, Overwrite::Replace).unwrap();
        assert!(!left_over.exists() && others.exists());
        first.file().write_all(b"first").unwrap();
        let second = Output::create(&path, Overwrite::Replace).unwrap();
        assert!(first.temporary_path().exists());
        first.finish().unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"first");
        second.finish().unwrap();
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn nothing_is_left_behind_by_a_file_that_was_not_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut output = Output::create(&path, Overwrite::Refuse).unwrap();
        output.file().write_all(b"half").unwrap();
        drop(output);
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn an_existing_file_is_replaced_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let write = |overwrite, text: &[u8]| {
            let mut output = Output::create(&path, overwrite)?;
            output.file().write_all(text).unwrap();
            output.finish()
        };
        write(Overwrite::Refuse, b"one").unwrap();
        let refused = write(Overwrite::Refuse, b"two").unwrap_err();
        assert!(refused.to_string().ends_with("exists already"));
        assert_eq!(fs_err::read(&path).unwrap(), b"one");
        write(Overwrite::Replace, b"two").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"two");
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_appears_in_the_meantime_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let output = Output::create(&path, Overwrite::Refuse).unwrap();
        File::create(&path)
            .and_then(|mut file| file.write_all(b"other"))
            .unwrap();
        assert!(matches!(output.finish(), Err(OutputError::Exists { .. })));
        assert_eq!(fs_err::read(&path).unwrap(), b"other");
    }
}
