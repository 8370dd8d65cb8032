//! `slotmgr.toml`: what RAUC has no setting for. Everything is optional.
//!
//! ```toml
//! [install]
//! check-first = "when-it-matters"  # that is: a bundle on a disk; or "always", "never"
//! version-floor = false            # refuse what is older than the newest version confirmed here
//!
//! [download]
//! max-kib-per-second = 0           # for everything from web servers together; 0: no limit
//! delta-cpu-seconds = 300          # processor time to compress blocks again; 0: none are
//! stores = []                      # directories of chunks that are asked before the bundle's store
//!
//! [grub]
//! paired = "/boot/efi/grub"        # the directory of ab1, ab2, ab3: see docs/integration-grub.md
//!
//! [trust]
//! allow-weak-digests = false       # MD5, SHA-1: only for a fleet that still has to move on
//! allow-short-keys = false         # RSA below 2048 bits
//! allow-unknown-algorithms = false # whatever else OpenSSL can verify
//!
//! [trial]
//! tries = 3                        # 1 to 9
//! reboot-command = ["systemctl", "reboot"]
//! window-seconds = 300             # the trial ends then at the latest; 1 to 86400
//! soak-seconds = 0                 # every required check passes again and again for so long
//! min-uptime-seconds = 0           # not confirmed before the machine has run for so long
//! parallel = 4                     # checks that run at once; 1 to 64
//! directories = ["/usr/lib/greenboot", "/etc/greenboot", "/usr/lib/slotmgr", "/etc/slotmgr"]
//! disabled = []                    # file names in these that are not run
//! hooks-seconds = 20               # for all hooks of one occasion together; 1 to 600
//!
//! [data]                           # docs/data.md
//! directory = "/data/app"          # has a folder for each slot; none: no data is looked after
//! snapshots = 2                    # kept; 1 to 99
//! hook-seconds = 300               # for one hook, or the copy; 1 to 3600
//!
//! [watchdog]
//! use = "auto"                     # or "always": no system is kept without one; or "never"
//! devices = []                     # all that there are
//! timeout-seconds = 30             # 1 to 3600; a device with a shorter maximum gets that
//! afterwards = "systemd"           # goes on feeding it; or "stop"
//!
//! [[check]]
//! name = "app"
//! command = ["/usr/bin/app", "--self-test"]  # or one of the others: see docs/trial.md
//! timeout-seconds = 30             # of one run; 1 to 3600, not longer than the window
//! required = true                  # false: its failure is only told
//! retries = 0                      # failures in a row that are forgiven; at most 1000
//! failure-threshold = 3            # failures in all, forgiven or not, that end it
//! interval-seconds = 5             # between two runs; 1 to 3600
//! ```

use std::io;
use std::path::{Path, PathBuf};

use bundle_format::cms::Policy;
use serde::Deserialize;

use super::check::{self, CheckConfig, RawCheck};
use super::data::{self, DataConfig, RawData};
use super::download::{self, DownloadConfig, RawDownload};
use super::trial::{self, RawTrial, RawWatchdog, TrialConfig, WatchdogConfig};
use crate::boot::Tries;
use crate::install::CheckFirst;

/// Our own settings.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotmgrToml {
    /// When the whole bundle is read before the first write.
    pub check_first: CheckFirst,
    /// Whether a bundle may be older than the newest version that was confirmed here.
    pub version_floor: VersionFloor,
    /// How much is fetched from web servers, and how fast.
    pub download: DownloadConfig,
    /// The directory of the files of GRUB's paired scheme, if that is used instead of `grubenv`.
    pub grub_pair: Option<PathBuf>,
    /// How often a new system is tried.
    pub tries: Tries,
    /// What restarts the machine; the fitting one is found when nothing is said.
    pub reboot_command: Option<Vec<String>>,
    /// How long a trial takes.
    pub trial: TrialConfig,
    /// What outlives an update.
    pub data: DataConfig,
    /// What is done with the watchdog during a trial.
    pub watchdog: WatchdogConfig,
    /// What is demanded of keys and digests.
    pub trust: Policy,
    /// What a new system must pass.
    pub checks: Vec<CheckConfig>,
}

/// Whether a bundle may be older than the newest version that was confirmed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionFloor {
    /// It may not.
    Kept,
    /// It may.
    Ignored,
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
    download: RawDownload,
    grub: RawGrub,
    trust: RawTrust,
    trial: RawTrial,
    data: RawData,
    watchdog: RawWatchdog,
    check: Vec<RawCheck>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct RawInstall {
    check_first: RawCheckFirst,
    version_floor: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct RawGrub {
    paired: Option<PathBuf>,
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
    allow_unknown_algorithms: bool,
}

impl Default for SlotmgrToml {
    fn default() -> Self {
        SlotmgrToml {
            check_first: CheckFirst::WhenItMatters,
            version_floor: VersionFloor::Ignored,
            download: DownloadConfig::default(),
            grub_pair: None,
            tries: Tries::DEFAULT,
            reboot_command: None,
            trial: TrialConfig::default(),
            data: DataConfig::default(),
            watchdog: WatchdogConfig::default(),
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
        let mut raw: Raw = toml::from_str(text).map_err(|source| TomlError::Syntax {
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
        if raw
            .grub
            .paired
            .as_ref()
            .is_some_and(|dir| !dir.is_absolute())
        {
            return Err(wrong("[grub] paired is not an absolute path".to_owned()));
        }
        if raw.trial.reboot_command.as_ref().is_some_and(Vec::is_empty) {
            return Err(wrong("reboot-command is empty".to_owned()));
        }
        let reboot_command = raw.trial.reboot_command.take();
        let trial = trial::settings(raw.trial).map_err(wrong)?;
        let checks = raw.check.into_iter();
        let checks = checks.map(|raw| check::check(raw, &trial).map_err(wrong));
        Ok(SlotmgrToml {
            check_first: match raw.install.check_first {
                RawCheckFirst::WhenItMatters => CheckFirst::WhenItMatters,
                RawCheckFirst::Always => CheckFirst::Always,
                RawCheckFirst::Never => CheckFirst::Never,
            },
            version_floor: match raw.install.version_floor {
                true => VersionFloor::Kept,
                false => VersionFloor::Ignored,
            },
            download: download::settings(raw.download).map_err(wrong)?,
            grub_pair: raw.grub.paired,
            tries,
            reboot_command,
            trust: Policy {
                allow_weak_digests: raw.trust.allow_weak_digests,
                allow_short_keys: raw.trust.allow_short_keys,
                allow_unknown_algorithms: raw.trust.allow_unknown_algorithms,
                ..Policy::default()
            },
            checks: checks.collect::<Result<_, _>>()?,
            data: data::settings(raw.data).map_err(wrong)?,
            watchdog: trial::watchdog(raw.watchdog).map_err(wrong)?,
            trial,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Action, Afterwards, Condition, WatchdogDemand};
    use crate::health::probe::Probe;
    use crate::health::window::Demand;

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
        let command = ["/bin/app", "-t"].map(str::to_owned).to_vec();
        assert_eq!(conf.checks[0].action, Action::Command(command));
        assert_eq!(conf.checks[0].demand, Demand::Required);
        assert_eq!(conf.checks[0].retries, 0);
        assert_eq!(conf.trial, TrialConfig::default());
        let conf = parse(
            "[trial]\nwindow-seconds = 600\nsoak-seconds = 60\nmin-uptime-seconds = 90\n\
             parallel = 1\n\
             [[check]]\nname = \"app\"\ncommand = [\"x\"]\nrequired = false\nretries = 3\n\
             interval-seconds = 7\n",
        )
        .unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(conf.trial.window, seconds(600));
        assert_eq!(conf.trial.soak, seconds(60));
        assert_eq!(conf.trial.min_uptime, seconds(90));
        assert_eq!(conf.trial.parallel, 1);
        assert_eq!(conf.checks[0].demand, Demand::Wanted);
        assert_eq!(conf.checks[0].retries, 3);
        assert_eq!(conf.checks[0].interval, seconds(7));
    }

    #[test]
    fn checks_of_every_kind() {
        let conf = parse(
            "[download]\nmax-kib-per-second = 3\n[trial]\ndirectories = [\"/x\"]\n\
             [watchdog]\nuse = \"always\"\ndevices = [\"/dev/watchdog1\"]\n\
             timeout-seconds = 10\nafterwards = \"stop\"\n\
             [[check]]\nname = \"u\"\nunit = \"app.service\"\nmax-restarts = 2\n\
             [[check]]\nname = \"f\"\nno-failed-units = true\nexcept = [\"x.service\"]\n\
             [[check]]\nname = \"t\"\ntcp = \"server:80\"\n\
             [[check]]\nname = \"h\"\nhttp = \"http://server/\"\nrequired = true\n\
             [[check]]\nname = \"w\"\nwritable = \"/data\"\n\
             [[check]]\nname = \"s\"\nfree-space = \"/data\"\nat-least-mib = 3\n\
             [[check]]\nname = \"m\"\nmemory-worse-by-percent = 20\n\
             [[check]]\nname = \"c\"\nwarmer-by-degrees = 15\nfailure-threshold = 4\n\
             [[check]]\nname = \"v\"\nvote = true\n",
        )
        .unwrap();
        assert_eq!(conf.download.rate.map(u64::from), Some(3 << 10));
        assert_eq!(conf.trial.directories, [Path::new("/x")]);
        assert_eq!(conf.watchdog.demand, WatchdogDemand::Always);
        assert_eq!(conf.watchdog.devices, [Path::new("/dev/watchdog1")]);
        assert_eq!(conf.watchdog.afterwards, Afterwards::Stop);
        let check = |name: &str| conf.checks.iter().find(|c| c.name == name).unwrap();
        let unit = Probe::Unit {
            unit: "app.service".into(),
            max_restarts: 2,
        };
        assert_eq!(check("u").action, Action::Probe(unit));
        assert_eq!(check("t").condition, Condition::WorkedBefore);
        assert_eq!(check("h").condition, Condition::Always);
        assert_eq!(check("m").demand, Demand::Wanted);
        assert_eq!(check("c").threshold, Some(4));
        assert_eq!(check("v").timeout, Duration::from_secs(300));
        let space = Probe::FreeSpace {
            path: "/data".into(),
            at_least: 3 << 20,
        };
        assert_eq!(check("s").action, Action::Probe(space));
    }

    #[test]
    fn mistakes() {
        let table = [
            ("[watchdog]\nuse = \"perhaps\"", "line 2"),
            ("[watchdog]\ntimeout-seconds = 0", "not 1 to 3600"),
            ("[[check]]\nname = \"a\"", "exactly one of"),
            (
                "[[check]]\nname = \"a\"\nvote = true\nunit = \"x\"",
                "exactly one of",
            ),
            (
                "[[check]]\nname = \"a\"\nvote = false",
                "leave the check out",
            ),
            (
                "[[check]]\nname = \"a/b\"\nvote = true",
                "a word without `/`",
            ),
            ("[[check]]\nname = \"a\"\ntcp = \"server\"", "not HOST:PORT"),
            (
                "[[check]]\nname = \"a\"\nhttp = \"https://x\"",
                "not http://",
            ),
            (
                "[[check]]\nname = \"a\"\nvote = true\nexcept = []",
                "nothing to do with",
            ),
            (
                "[[check]]\nname = \"a\"\nvote = true\nfailure-threshold = 0",
                "not 1 to 1000",
            ),
            ("[grub]\npaired = \"ab\"", "not an absolute path"),
            (
                "[download]\ndelta-cpu-seconds = 100000",
                "is not 0 to 86400",
            ),
            ("[download]\nmax-kib-per-second = -1", "slotmgr.toml"),
            ("[download]\nmax-kib-per-second = 999999999", "is not 0 to"),
            ("tries = 2", "unknown field `tries`"),
            ("[trial]\ntries = 0", "not 1 to 9"),
            ("[trial]\ntries = 300", "slotmgr.toml"),
            ("[trial]\nreboot-command = []", "reboot-command is empty"),
            (
                "[[check]]\nname = \"a\"\ncommand = []",
                "check `a`: an empty command",
            ),
            (
                "[[check]]\nname = \"a\"\ncommand = [\"x\"]\ntimeout-seconds = 0",
                "not 1 to 3600",
            ),
            ("[install]\ncheck-first = \"perhaps\"", "line 2"),
            (
                "[trial]\nwindow-seconds = 0",
                "window-seconds = 0 is not 1 to",
            ),
            (
                "[trial]\nsoak-seconds = 300",
                "soak-seconds = 300 is not shorter",
            ),
            (
                "[trial]\nwindow-seconds = 9\nmin-uptime-seconds = 9",
                "min-uptime-seconds = 9 is not shorter",
            ),
            ("[trial]\nparallel = 0", "parallel = 0 is not 1 to 64"),
            ("[trial]\nsoak = 3", "unknown field `soak`"),
            (
                "[[check]]\nname = \"a\"\ncommand = [\"x\"]\ntimeout-seconds = 301",
                "timeout-seconds = 301 is longer than the window",
            ),
            (
                "[[check]]\nname = \"a\"\ncommand = [\"x\"]\ninterval-seconds = 0",
                "interval-seconds = 0 is not 1 to",
            ),
            (
                "[[check]]\nname = \"a\"\ncommand = [\"x\"]\nretries = 1001",
                "retries = 1001 is not 0 to 1000",
            ),
        ];
        for (text, expected) in table {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
