//! The whole machine: writing everything out, and starting anew.

use std::fs::File;
use std::io;

use nix::sys::reboot::{RebootMode, reboot};

/// Asks the kernel to write out every file system and device, and waits for it. It reports no
/// errors: for data that matters, `sync_all` on the file itself is the barrier.
pub fn sync_everything() {
    nix::unistd::sync();
}

/// Writes out the whole file system that holds `file`, and waits for it.
///
/// # Errors
/// What syncfs(2) says, including earlier write-back errors of that file system.
pub fn sync_filesystem(file: &File) -> io::Result<()> {
    nix::unistd::syncfs(file)?;
    Ok(())
}

/// Restarts the machine **now**: no service is stopped, nothing is unmounted, and nothing is
/// synced unless the caller did. The last resort when an orderly reboot hangs.
///
/// # Errors
/// Returns only if it failed: `EPERM` without `CAP_SYS_BOOT`.
#[must_use = "if this returns at all, the machine did not restart"]
pub fn restart_at_once() -> io::Error {
    match reboot(RebootMode::RB_AUTOBOOT) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}
