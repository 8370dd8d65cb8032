//! Restarting the machine, by ever harder means.
//!
//! Each of them may hang (an init that is stuck, a disk that does not answer a sync, a driver that
//! does not stop), so none is waited for longer than its time. The watchdog is not fed meanwhile.

use std::io;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::rack::systemd_runs;

/// How long a command has until the next means is used.
const GRACE: Duration = Duration::from_secs(30);

/// How long everything has to be written out.
const SYNC: Duration = Duration::from_secs(5);

/// How long the kernel has to restart.
const KERNEL: Duration = Duration::from_secs(10);

/// How often the command is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Restarts without stopping any driver.
const SYSRQ: &str = "/proc/sysrq-trigger";

/// Restarts the machine: by the command of the configuration or the fitting one; if it still
/// runs after 30 s, by the kernel; if that hangs too, by the kernel's emergency key.
///
/// Returns only with an error: then there is nothing left but the watchdog, or a person.
///
/// # Errors
/// What the kernel said.
pub fn restart(command: Option<&[String]>) -> io::Error {
    let default = if systemd_runs() {
        vec!["systemctl", "reboot"]
    } else {
        vec!["reboot"]
    };
    let words: Vec<&str> = match command {
        Some(words) => words.iter().map(String::as_str).collect(),
        None => default,
    };
    if let Some((program, arguments)) = words.split_first() {
        match Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
        {
            Ok(child) => give_time(child, program),
            Err(error) => tracing::warn!(program, %error, "the restart command cannot be run"),
        }
    }
    within(SYNC, devio::system::sync_everything);
    let said = within(KERNEL, devio::system::restart_at_once);
    let refused = said.unwrap_or_else(|| io::Error::other("the kernel's restart hangs"));
    match fs_err::OpenOptions::new().write(true).open(SYSRQ) {
        Ok(mut key) => {
            if let Err(error) = io::Write::write_all(&mut key, b"b") {
                tracing::warn!(%error, "the emergency restart is refused");
            }
        }
        Err(error) => tracing::warn!(%error, "there is no emergency restart"),
    }
    refused
}

/// Waits for the machine to go down; not longer than [`GRACE`], whether the command ends or hangs,
/// and not at all once it has failed.
fn give_time(mut child: Child, program: &str) {
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) if !status.success() => {
                tracing::warn!(program, %status, "the restart command failed");
                return;
            }
            Ok(_) => thread::sleep(POLL),
            Err(error) => {
                tracing::warn!(program, %error, "the restart command cannot be watched");
                return;
            }
        }
    }
}

/// Does something that may hang in the kernel; nobody waits for it longer than `limit`.
fn within<T: Send + 'static>(limit: Duration, work: fn() -> T) -> Option<T> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = thread::Builder::new().spawn(move || sender.send(work()));
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread for a restart step; it is done in this one");
        return Some(work());
    }
    receiver.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_behind() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let hang: fn() = || thread::sleep(Duration::from_secs(1000));
        assert_eq!(within(Duration::from_millis(10), hang), None);
    }
}
