//! Restarting the machine, by ever harder means.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a command has until the next means is used.
const GRACE: Duration = Duration::from_secs(30);

/// How often the command is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Restarts the machine: by the command of the configuration or the fitting one, and if it still
/// runs after 30 s, by the kernel.
///
/// Returns only with an error: without the right to restart there is nothing left to do but to
/// let the watchdog or a person do it.
///
/// # Errors
/// What the kernel said to the last means.
pub fn restart(command: Option<&[String]>) -> io::Error {
    let systemd = Path::new("/run/systemd/system").exists();
    let default = if systemd {
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
    devio::system::sync_everything();
    devio::system::restart_at_once()
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
