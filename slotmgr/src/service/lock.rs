//! One installation at a time, whoever does it: the service, `slotmgr install`, `rauc install`.

use std::fs::{File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Held as long as an installation runs; the kernel lets go of it when the process ends, however
/// it ends.
pub(crate) struct InstallLock {
    _file: Option<File>,
}

/// Somebody else installs.
#[derive(Debug, thiserror::Error)]
#[error(
    "another installation is running on this machine; wait for it, or stop it (`slotmgr cancel`). \
     Nothing was written"
)]
pub struct Busy;

/// How often it is tried, and the time between two tries: who only looks has it for a moment too.
const PATIENCE: (u32, Duration) = (10, Duration::from_millis(20));

impl InstallLock {
    /// The lock of the machine that `conf` describes, in slotmgr's folder in memory.
    ///
    /// Where that folder cannot be made (nobody's machine is updated without the rights for it, but
    /// test rigs of files are) slots are still opened for one writer only.
    ///
    /// # Errors
    /// Somebody has it.
    pub fn take(run_directory: &Path, conf: &Path) -> Result<InstallLock, Busy> {
        let path = path(run_directory, conf);
        let made = fs_err::create_dir_all(run_directory).and_then(|()| open(&path));
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!("no lock against other installations: {error}");
                return Ok(InstallLock { _file: None });
            }
        };
        let (tries, pause) = PATIENCE;
        for _ in 0..tries {
            match file.try_lock() {
                Ok(()) => return Ok(InstallLock { _file: Some(file) }),
                Err(TryLockError::WouldBlock) => thread::sleep(pause),
                Err(TryLockError::Error(error)) => {
                    tracing::warn!("no lock against other installations: {error}");
                    return Ok(InstallLock { _file: None });
                }
            }
        }
        Err(Busy)
    }

    /// Whether somebody has it. Makes no file.
    pub fn is_taken(run_directory: &Path, conf: &Path) -> bool {
        let Ok(file) = File::open(path(run_directory, conf)) else {
            return false;
        };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

/// A configuration has a lock of its own, so that test rigs do not wait for one another.
fn path(run_directory: &Path, conf: &Path) -> PathBuf {
    let real = conf.canonicalize().unwrap_or_else(|_| conf.to_owned());
    let name = crc32fast::hash(real.as_os_str().as_bytes());
    run_directory.join(format!("install-{name:08x}.lock"))
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options()
        .read(true)
        .append(true)
        .create(true)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run/slotmgr");
        let (conf, other) = (Path::new("/a/system.conf"), Path::new("/b/system.conf"));
        assert!(!InstallLock::is_taken(&run, conf));
        let held = InstallLock::take(&run, conf).unwrap();
        assert!(InstallLock::is_taken(&run, conf));
        assert!(InstallLock::take(&run, conf).is_err());
        assert!(InstallLock::take(&run, other).is_ok());
        drop(held);
        assert!(!InstallLock::is_taken(&run, conf));
        assert!(InstallLock::take(&run, conf).is_ok());
    }
}
