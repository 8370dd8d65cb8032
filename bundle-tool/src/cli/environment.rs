//! Everything that comes from outside of the arguments, taken once at the start.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::sign::TokenAccess;

/// What the process brings with it.
#[derive(Clone, Default)]
pub struct Environment {
    /// Seconds since 1970.
    pub now: i64,
    /// `SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<String>,
    /// `RAUC_KEY_PASSPHRASE`.
    pub key_passphrase: Option<String>,
    /// `RAUC_PKCS11_MODULE` and `RAUC_PKCS11_PIN`.
    pub token: TokenAccess,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// Progress goes to a terminal.
    pub terminal: bool,
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
            token: TokenAccess {
                module: variable("RAUC_PKCS11_MODULE").map(PathBuf::from),
                pin: variable("RAUC_PKCS11_PIN"),
            },
            no_color: variable("NO_COLOR").is_some(),
            terminal: std::io::stderr().is_terminal(),
        }
    }
}
