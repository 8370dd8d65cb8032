//! Everything that comes from outside of the arguments, taken once at the start.

use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::create::Salt;
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
    /// Processors that this process may use; `None` if the system does not tell.
    pub processors: Option<NonZeroUsize>,
    /// Number of this process.
    pub process: u32,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            now: now
                .ok()
                .and_then(|now| i64::try_from(now.as_secs()).ok())
                .unwrap_or(0),
            source_date_epoch: variable("SOURCE_DATE_EPOCH"),
            key_passphrase: variable("RAUC_KEY_PASSPHRASE"),
            token: TokenAccess::from_variables(variable),
            no_color: variable("NO_COLOR").is_some(),
            terminal: std::io::stderr().is_terminal(),
            processors: std::thread::available_parallelism().ok(),
            process: std::process::id(),
        }
    }

    /// The time that a signature names, in seconds since 1970: `SOURCE_DATE_EPOCH`, or now.
    ///
    /// # Errors
    /// `SOURCE_DATE_EPOCH` is no number.
    pub fn signing_time(&self) -> Result<i64> {
        Ok(self.source_date_epoch()?.map_or(self.now, i64::from))
    }

    /// `SOURCE_DATE_EPOCH` as a number; `None` if it is not set.
    ///
    /// # Errors
    /// It is no number.
    pub fn source_date_epoch(&self) -> Result<Option<u32>> {
        let Some(text) = &self.source_date_epoch else {
            return Ok(None);
        };
        let epoch = text.parse().with_context(|| {
            format!("SOURCE_DATE_EPOCH is '{text}', which is not a number of seconds since 1970")
        })?;
        Ok(Some(epoch))
    }

    /// The salt for a new hash tree: `given`; else a random one, or if `SOURCE_DATE_EPOCH` is set,
    /// which asks for the same bundle each time, one that depends on the content only.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn salt(&self, given: Option<[u8; 32]>) -> Result<Salt> {
        match (given, &self.source_date_epoch) {
            (Some(salt), _) => Ok(Salt::Is(salt)),
            (None, Some(_)) => Ok(Salt::OfManifest),
            (None, None) => Ok(Salt::Is(random_bytes()?)),
        }
    }
}

/// Random bytes for a salt or a key.
///
/// # Errors
/// The system has none.
pub fn random_bytes() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    openssl::rand::rand_bytes(&mut bytes).context("no random numbers")?;
    Ok(bytes)
}
