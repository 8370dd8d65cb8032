//! What slots lie on: loop devices, and a medium that writes as slowly as flash does and gives back at once
//! what was written.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{captured, logged};

/// What each write of 128 to 256 KiB waits for: about 140 MB in a second, as a fast eMMC writes. `nbdkit`
/// knows no fractions.
const DELAY: &str = "wdelay=5ms";

/// Until it is mounted.
const LIMIT: Duration = Duration::from_secs(30);

/// A loop device; detached with the value.
#[derive(Debug)]
pub struct Loop {
    /// The device.
    pub path: PathBuf,
}

impl Loop {
    /// Over the file `content`.
    ///
    /// # Errors
    /// `losetup` fails: it needs root.
    pub fn over(content: &Path) -> Result<Self> {
        let mut attach = Command::new("losetup");
        attach.args(["--find", "--show"]).arg(content);
        let path = captured(&mut attach)?.trim().into();
        Ok(Self { path })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let mut detach = Command::new("losetup");
        // What still uses it detaches it when it ends.
        let _ = captured(detach.arg("--detach").arg(&self.path));
    }
}

/// A file that is written slowly; gone with the value.
#[derive(Debug)]
pub struct SlowFile {
    /// The file.
    pub path: PathBuf,
    directory: PathBuf,
    server: Child,
}

impl SlowFile {
    /// Over the file `content`, which may be changed at full speed while nobody has this one open.
    ///
    /// # Errors
    /// The programs that make it cannot be started.
    pub fn over(content: &Path, directory: &Path) -> Result<Self> {
        fs_err::create_dir_all(directory)?;
        let path = directory.join("file");
        let server = Command::new("nbdfuse")
            .arg(&path)
            .args(["--command", "nbdkit", "-s", "--filter=delay", "file"])
            .arg(content)
            .arg(DELAY)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start nbdfuse")?;
        let mut slow = Self {
            path,
            directory: directory.to_owned(),
            server,
        };
        let deadline = Instant::now() + LIMIT;
        while !slow.path.exists() {
            if let Some(status) = slow.server.try_wait()? {
                bail!("nbdfuse ended with {status}; is there /dev/fuse?");
            }
            if Instant::now() > deadline {
                bail!("nbdfuse has mounted nothing after {} s", LIMIT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(slow)
    }
}

impl Drop for SlowFile {
    fn drop(&mut self) {
        let mut unmount = Command::new("fusermount3");
        unmount.arg("-u").arg(&self.directory);
        // What does not go away by being unmounted does by being ended.
        let _ = logged(&mut unmount, &self.directory.with_extension("log"));
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
