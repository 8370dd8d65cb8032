//! One process at a time works on a machine's slots: an installation, a mark, a slot that is mounted
//! to be looked into.
//!
//! The kernel lets go of the lock when its holder ends, however it ends.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundle_format::encode_hex;
use sha2::{Digest as _, Sha256};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long to wait for somebody else.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Who is going to write waits for those who look into slots, which is done soon.
    ToWrite,
    /// Who only looks gives up soon: an installation takes minutes.
    ToLook,
}

impl Patience {
    fn looks(self) -> u32 {
        match self {
            Patience::ToWrite => 100,
            Patience::ToLook => 5,
        }
    }
}

/// Held as long as this lives.
#[derive(Debug)]
pub(crate) struct MachineLock {
    _file: File,
}

/// Why it is not held.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Somebody else has it.
    #[error(
        "another installation, mark or write-slot is running on this machine; nothing was \
         changed. Wait until it has ended"
    )]
    Busy,
    /// The file cannot be made.
    #[error("cannot lock {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl MachineLock {
    /// The lock of the machine that `conf` describes. The file is only root's, so that nobody else
    /// can hold up updates. Who may make no file there (in a test rig, without root) locks `conf`.
    pub fn take(directory: &Path, conf: &Path, patience: Patience) -> Result<Self, LockError> {
        let real = conf.canonicalize().unwrap_or_else(|_| conf.to_owned());
        let name = encode_hex(&Sha256::digest(real.as_os_str().as_encoded_bytes()));
        let path = directory.join(format!("{name:.16}.lock"));
        let failed = |source| LockError::Open {
            path: path.clone(),
            source,
        };
        let file = match make(directory, &path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(&real),
            made => made,
        };
        let file = file.map_err(failed)?;
        for _ in 0..patience.looks() {
            match file.try_lock() {
                Ok(()) => return Ok(MachineLock { _file: file }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(INTERVAL),
            }
        }
        Err(LockError::Busy)
    }
}

fn make(directory: &Path, path: &Path) -> io::Result<File> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o755).create(directory)?;
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_for_each_machine() {
        let dir = tempfile::tempdir().unwrap();
        let take = |conf: &str| {
            MachineLock::take(&dir.path().join("run"), Path::new(conf), Patience::ToLook)
        };
        let held = take("/etc/a.conf").unwrap();
        assert!(matches!(take("/etc/a.conf"), Err(LockError::Busy)));
        assert!(take("/etc/b.conf").is_ok());
        drop(held);
        assert!(take("/etc/a.conf").is_ok());
    }

    #[test]
    fn where_no_file_can_be_made_the_configuration_is_locked() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("system.conf");
        fs_err::write(&conf, "").unwrap();
        // Nobody makes a directory there, root neither.
        let take = || MachineLock::take(Path::new("/sys/slotmgr"), &conf, Patience::ToLook);
        let held = take().unwrap();
        assert!(matches!(take(), Err(LockError::Busy)));
        drop(held);
        assert!(take().is_ok());
    }
}
