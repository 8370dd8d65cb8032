//! Everything that comes from outside of the arguments, taken once at the start.

use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the process brings with it.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Seconds since 1970.
    pub now: i64,
    /// `SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<String>,
    /// `RAUC_KEY_PASSPHRASE`.
    pub key_passphrase: Option<String>,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// Progress goes to a terminal.
    pub terminal: bool,
    /// Processors that this process may use; `None` if the system does not tell.
    pub processors: Option<NonZeroUsize>,
    /// Number of this process.
    pub process: u32,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            now: now
                .ok()
                .and_then(|now| i64::try_from(now.as_secs()).ok())
                .unwrap_or(0),
            source_date_epoch: variable("SOURCE_DATE_EPOCH"),
            key_passphrase: variable("RAUC_KEY_PASSPHRASE"),
            no_color: variable("NO_COLOR").is_some(),
            terminal: std::io::stderr().is_terminal(),
            processors: std::thread::available_parallelism().ok(),
            process: std::process::id(),
        }
    }
}
