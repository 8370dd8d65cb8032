//! Restarting the machine, by ever harder means.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long a command has until the next means is used.
const GRACE: Duration = Duration::from_secs(30);

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
            .status()
        {
            Ok(status) if status.success() => thread::sleep(GRACE),
            Ok(status) => tracing::warn!(program, %status, "the restart command failed"),
            Err(error) => tracing::warn!(program, %error, "the restart command cannot be run"),
        }
    }
    devio::system::sync_everything();
    devio::system::restart_at_once()
}
