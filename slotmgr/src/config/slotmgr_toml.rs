//! `slotmgr.toml`: what RAUC has no setting for. Everything is optional.
//!
//! ```toml
//! [install]
//! check-first = "when-it-matters"  # or "always", "never"
//!
//! [trust]
//! allow-weak-digests = false       # MD5, SHA-1: only for a fleet that still has to move on
//! allow-short-keys = false         # RSA below 2048 bits
//!
//! [trial]
//! tries = 3                        # 1 to 9
//! reboot-command = ["systemctl", "reboot"]
//!
//! [[check]]
//! name = "app"
//! command = ["/usr/bin/app", "--self-test"]
//! timeout-seconds = 30
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bundle_format::cms::Policy;
use serde::Deserialize;

use crate::boot::Tries;
use crate::install::CheckFirst;

/// Longest time that a single check may take, in seconds.
const MAX_TIMEOUT: u64 = 3_600;

/// Our own settings.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotmgrToml {
    /// When the whole bundle is read before the first write.
    pub check_first: CheckFirst,
    /// How often a new system is tried.
    pub tries: Tries,
    /// What restarts the machine; the fitting one is found when nothing is said.
    pub reboot_command: Option<Vec<String>>,
    /// What is demanded of keys and digests.
    pub trust: Policy,
    /// What a new system must pass.
    pub checks: Vec<CheckConfig>,
}

/// One health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    /// For people.
    pub name: String,
    /// Program and arguments; no shell.
    pub command: Vec<String>,
    /// After that it has failed.
    pub timeout: Duration,
}

/// What is wrong with a `slotmgr.toml`.
#[derive(Debug, thiserror::Error)]
pub enum TomlError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not understood.
    #[error("{} is not understood", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// With line and column.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be.
    #[error("{}: {what}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        what: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Raw {
    install: RawInstall,
    trust: RawTrust,
    trial: RawTrial,
    check: Vec<RawCheck>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct RawInstall {
    check_first: RawCheckFirst,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawCheckFirst {
    #[default]
    WhenItMatters,
    Always,
    Never,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct RawTrust {
    allow_weak_digests: bool,
    allow_short_keys: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct RawTrial {
    tries: Option<u8>,
    reboot_command: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawCheck {
    name: String,
    command: Vec<String>,
    timeout_seconds: Option<u64>,
}

impl Default for SlotmgrToml {
    fn default() -> Self {
        SlotmgrToml {
            check_first: CheckFirst::WhenItMatters,
            tries: Tries::DEFAULT,
            reboot_command: None,
            trust: Policy::default(),
            checks: Vec::new(),
        }
    }
}

impl SlotmgrToml {
    /// Reads the file; without one everything has its default.
    ///
    /// # Errors
    /// When it is there and cannot be read or understood.
    pub fn load(path: &Path) -> Result<SlotmgrToml, TomlError> {
        match std::fs::read_to_string(path) {
            Ok(text) => SlotmgrToml::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(SlotmgrToml::default()),
            Err(source) => Err(TomlError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Checks `text`; `path` names it in errors.
    ///
    /// # Errors
    /// When it is not understood, or a value cannot be.
    pub fn parse(text: &str, path: &Path) -> Result<SlotmgrToml, TomlError> {
        let raw: Raw = toml::from_str(text).map_err(|source| TomlError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let wrong = |what: String| TomlError::Value {
            path: path.to_owned(),
            what,
        };
        let tries = match raw.trial.tries {
            None => Tries::DEFAULT,
            Some(count) => {
                Tries::new(count).ok_or_else(|| wrong(format!("tries = {count} is not 1 to 9")))?
            }
        };
        if raw.trial.reboot_command.as_ref().is_some_and(Vec::is_empty) {
            return Err(wrong("reboot-command is empty".to_owned()));
        }
        let checks = raw.check.into_iter().map(|raw| check(raw).map_err(wrong));
        Ok(SlotmgrToml {
            check_first: match raw.install.check_first {
                RawCheckFirst::WhenItMatters => CheckFirst::WhenItMatters,
                RawCheckFirst::Always => CheckFirst::Always,
                RawCheckFirst::Never => CheckFirst::Never,
            },
            tries,
            reboot_command: raw.trial.reboot_command,
            trust: Policy {
                allow_weak_digests: raw.trust.allow_weak_digests,
                allow_short_keys: raw.trust.allow_short_keys,
                ..Policy::default()
            },
            checks: checks.collect::<Result<_, _>>()?,
        })
    }
}

fn check(raw: RawCheck) -> Result<CheckConfig, String> {
    let seconds = raw.timeout_seconds.unwrap_or(30);
    if raw.command.is_empty() {
        return Err(format!("check `{}` has an empty command", raw.name));
    }
    if !(1..=MAX_TIMEOUT).contains(&seconds) {
        return Err(format!(
            "check `{}`: timeout-seconds = {seconds} is not 1 to {MAX_TIMEOUT}",
            raw.name
        ));
    }
    let timeout = Duration::from_secs(seconds);
    Ok(CheckConfig {
        name: raw.name,
        command: raw.command,
        timeout,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SlotmgrToml, String> {
        SlotmgrToml::parse(text, Path::new("slotmgr.toml")).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error} {}", cause.unwrap_or_default())
        })
    }

    #[test]
    fn nothing_is_needed_and_everything_is_read() {
        assert_eq!(parse(""), Ok(SlotmgrToml::default()));
        let conf = parse(
            "[install]\ncheck-first = \"never\"\n[trial]\ntries = 2\nreboot-command = [\"reboot\"]\n\
             [[check]]\nname = \"app\"\ncommand = [\"/bin/app\", \"-t\"]\ntimeout-seconds = 5\n",
        )
        .unwrap();
        assert_eq!(conf.tries.count(), 2);
        assert_eq!(conf.check_first, CheckFirst::Never);
        assert_eq!(conf.checks[0].timeout, Duration::from_secs(5));
        assert_eq!(conf.checks[0].command, ["/bin/app", "-t"]);
    }

    #[test]
    fn mistakes() {
        let table = [
            ("tries = 2", "unknown field `tries`"),
            ("[trial]\ntries = 0", "not 1 to 9"),
            ("[trial]\ntries = 300", "slotmgr.toml"),
            ("[trial]\nreboot-command = []", "reboot-command is empty"),
            (
                "[[check]]\nname = \"a\"\ncommand = []",
                "check `a` has an empty command",
            ),
            (
                "[[check]]\nname = \"a\"\ncommand = [\"x\"]\ntimeout-seconds = 0",
                "not 1 to 3600",
            ),
            ("[install]\ncheck-first = \"perhaps\"", "line 2"),
        ];
        for (text, expected) in table {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
