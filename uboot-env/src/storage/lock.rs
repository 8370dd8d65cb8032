//! Mutual exclusion with everything else that edits environments.
//!
//! U-Boot's tool locks `/run/fw_printenv.lock`, libubootenv `/var/lock/fw_printenv.lock` (or the
//! configuration's `lockfile`), so they do not exclude each other. We take both, in this order,
//! and then `flock` the device nodes, which also keeps udev from probing a disk that is being
//! written. UBI volumes are the exception: see [`Locks::acquire`].

use crate::config::is_ubi;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Pause between two attempts.
const RETRY: Duration = Duration::from_millis(20);

/// Where to lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockPaths {
    /// Lock files, created if missing, in the order in which they are taken.
    pub files: Vec<PathBuf>,
    /// Device nodes or files that hold the copies.
    pub nodes: Vec<PathBuf>,
}

impl LockPaths {
    /// The lock files of both tools. `dir` (`-l`) stands for both; `lockfile` from the
    /// configuration replaces libubootenv's.
    #[must_use]
    pub fn files(dir: Option<&Path>, lockfile: Option<&Path>) -> Vec<PathBuf> {
        const NAME: &str = "fw_printenv.lock";
        match dir {
            Some(dir) => vec![dir.join(NAME)],
            None => {
                let theirs = Path::new("/var/lock").join(NAME);
                vec![
                    Path::new("/run").join(NAME),
                    lockfile.map_or(theirs, Path::to_path_buf),
                ]
            }
        }
    }
}

/// Why the environment could not be locked.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("{} is still locked by another program after {} s", path.display(), waited.as_secs())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The lock file cannot be created or locked.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// None of the lock files has a directory to be in.
    #[error("none of the directories for lock files exists; name one with -l")]
    NoPlace,
}

/// Held locks; given back when dropped.
#[derive(Debug)]
pub struct Locks {
    held: Vec<File>,
}

impl Locks {
    /// For storage that nobody else can see: images in memory, a simulation, or an environment
    /// that the caller has locked by other means.
    #[must_use]
    pub const fn not_needed() -> Self {
        Self { held: Vec::new() }
    }

    /// Takes all locks, waiting at most `wait` in total.
    ///
    /// A lock file whose *directory* does not exist is passed over, since no other program can
    /// have taken it either; at least one must remain. A node that does not exist is passed over
    /// too: reading or writing it will say so. And so is a UBI volume: while anybody has it open,
    /// ourselves included, the kernel refuses to update it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn acquire(paths: &LockPaths, wait: Duration) -> Result<Self, LockError> {
        let since = Instant::now();
        let mut locks = Self::not_needed();
        for path in &paths.files {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode_open(path);
            match file {
                Ok(file) => locks.take(file, path, (since, wait))?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(LockError::Io {
                        path: path.clone(),
                        source,
                    });
                }
            }
        }
        if locks.held.is_empty() && !paths.files.is_empty() {
            return Err(LockError::NoPlace);
        }
        for path in &paths.nodes {
            if is_ubi(path) {
                continue;
            }
            // What cannot be opened cannot be locked; reading it will give the better error.
            if let Ok(file) = File::open(path) {
                locks.take(file, path, (since, wait))?;
            }
        }
        Ok(locks)
    }

    fn take(
        &mut self,
        file: File,
        path: &Path,
        (since, wait): (Instant, Duration),
    ) -> Result<(), LockError> {
        let io = |source| LockError::Io {
            path: path.to_path_buf(),
            source,
        };
        let meta = file.metadata().map_err(io)?;
        // Two names of one file: a second flock would wait for the first for ever.
        for held in &self.held {
            let other = held.metadata().map_err(io)?;
            if (other.dev(), other.ino()) == (meta.dev(), meta.ino()) {
                return Ok(());
            }
        }
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if since.elapsed() < wait => {
                    std::thread::sleep(RETRY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Busy {
                        path: path.to_path_buf(),
                        waited: wait,
                    });
                }
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
        self.held.push(file);
        Ok(())
    }
}

/// Opening a lock file as the other tools do, for every user.
trait ModeOpen {
    fn mode_open(&mut self, path: &Path) -> io::Result<File>;
}

impl ModeOpen for OpenOptions {
    fn mode_open(&mut self, path: &Path) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        self.mode(0o666).open(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[PathBuf]) -> LockPaths {
        LockPaths {
            files: names.to_vec(),
            nodes: Vec::new(),
        }
    }

    #[test]
    fn the_default_files_are_those_of_both_tools() {
        let paths = |dir, file| LockPaths::files(dir, file);
        let both = ["/run/fw_printenv.lock", "/var/lock/fw_printenv.lock"].map(PathBuf::from);
        assert_eq!(paths(None, None), both);
        assert_eq!(paths(None, Some(Path::new("/x")))[1], Path::new("/x"));
        assert_eq!(
            paths(Some(Path::new("/d")), None),
            [Path::new("/d/fw_printenv.lock")]
        );
    }

    #[test]
    fn a_second_holder_waits_and_then_gives_up() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let held = Locks::acquire(&files(std::slice::from_ref(&a)), Duration::ZERO).unwrap();
        let e = Locks::acquire(&files(&[b, a.clone()]), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(e, LockError::Busy { path, .. } if path == a));
        drop(held);
        Locks::acquire(&files(&[a]), Duration::ZERO).unwrap();
    }

    #[test]
    fn one_file_under_two_names_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::os::unix::fs::symlink(&a, &b).unwrap();
        let paths = LockPaths {
            files: vec![a.clone(), b],
            nodes: vec![a],
        };
        assert_eq!(
            Locks::acquire(&paths, Duration::ZERO).unwrap().held.len(),
            1
        );
    }

    #[test]
    fn missing_directories_are_passed_over_but_one_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let (none, some) = (dir.path().join("no/lock"), dir.path().join("lock"));
        Locks::acquire(&files(&[none.clone(), some]), Duration::ZERO).unwrap();
        let e = Locks::acquire(&files(&[none]), Duration::ZERO).unwrap_err();
        assert!(matches!(e, LockError::NoPlace));
    }
}
