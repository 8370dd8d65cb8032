//! `[trial]` and `[watchdog]` of `slotmgr.toml`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Longest window, in seconds.
const MAX_WINDOW: u64 = 86_400;

/// Most checks that run at once.
const MAX_PARALLEL: usize = 64;

/// Longest time that all hooks together may be given, in seconds.
const MAX_HOOKS: u64 = 600;

/// Longest timeout that is asked of a watchdog, in seconds.
const MAX_WATCHDOG: u64 = 3_600;

/// Where scripts are looked for that bring themselves along: our own places, and greenboot's.
/// Each may hold `check/required.d`, `check/wanted.d`, `green.d`, `red.d`, `rolled-back.d`,
/// `migrate.d` and `snapshot.d`.
const DIRECTORIES: [&str; 4] = [
    "/usr/lib/greenboot",
    "/etc/greenboot",
    "/usr/lib/slotmgr",
    "/etc/slotmgr",
];

/// How long a trial takes, and what it looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialConfig {
    /// From its beginning to its end at the latest.
    pub window: Duration,
    /// Every required check passes again and again for so long.
    pub soak: Duration,
    /// Not confirmed before the machine has run for so long.
    pub min_uptime: Duration,
    /// Checks that run at once.
    pub parallel: usize,
    /// Folders with `check/required.d` and so on.
    pub directories: Vec<PathBuf>,
    /// File names in these folders that are not run.
    pub disabled: Vec<String>,
    /// All hooks of one occasion together.
    pub hooks: Duration,
}

/// What is done with the hardware's watchdog during a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogConfig {
    /// Whether one is used.
    pub demand: WatchdogDemand,
    /// Devices that are tried in this order; all that the machine has when empty.
    pub devices: Vec<PathBuf>,
    /// What it is asked for; a device with a shorter maximum gets that.
    pub timeout: Duration,
    /// What becomes of it after the trial.
    pub afterwards: Afterwards,
}

/// Whether a watchdog is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchdogDemand {
    /// If one can be had; if not, the trial goes on without and says so.
    Auto,
    /// No system is kept without one.
    Always,
    /// Not at all.
    Never,
}

/// What becomes of the watchdog after the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Afterwards {
    /// systemd goes on feeding it, if it is the init; else it is stopped.
    Systemd,
    /// It is stopped.
    Stop,
}

impl Default for TrialConfig {
    fn default() -> Self {
        TrialConfig {
            window: Duration::from_secs(300),
            soak: Duration::ZERO,
            min_uptime: Duration::ZERO,
            parallel: 4,
            directories: DIRECTORIES.map(PathBuf::from).to_vec(),
            disabled: Vec::new(),
            hooks: Duration::from_secs(20),
        }
    }
}

impl Default for WatchdogConfig {
    fn default() -> Self {
        WatchdogConfig {
            demand: WatchdogDemand::Auto,
            devices: Vec::new(),
            timeout: Duration::from_secs(30),
            afterwards: Afterwards::Systemd,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct RawTrial {
    pub tries: Option<u8>,
    pub reboot_command: Option<Vec<String>>,
    window_seconds: Option<u64>,
    soak_seconds: Option<u64>,
    min_uptime_seconds: Option<u64>,
    parallel: Option<usize>,
    directories: Option<Vec<PathBuf>>,
    disabled: Vec<String>,
    hooks_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct RawWatchdog {
    r#use: Option<WatchdogDemand>,
    devices: Vec<PathBuf>,
    timeout_seconds: Option<u64>,
    afterwards: Option<Afterwards>,
}

pub(super) fn settings(raw: RawTrial) -> Result<TrialConfig, String> {
    let default = TrialConfig::default();
    let window = match raw.window_seconds {
        None => default.window,
        Some(seconds) => within("window-seconds", seconds, MAX_WINDOW)?,
    };
    let shorter = |name: &str, seconds: Option<u64>| {
        let time = Duration::from_secs(seconds.unwrap_or(0));
        if time < window {
            return Ok(time);
        }
        Err(format!(
            "{name} = {} is not shorter than the window of {} s: no system could be confirmed",
            time.as_secs(),
            window.as_secs()
        ))
    };
    let parallel = raw.parallel.unwrap_or(default.parallel);
    if !(1..=MAX_PARALLEL).contains(&parallel) {
        return Err(format!("parallel = {parallel} is not 1 to {MAX_PARALLEL}"));
    }
    Ok(TrialConfig {
        window,
        soak: shorter("soak-seconds", raw.soak_seconds)?,
        min_uptime: shorter("min-uptime-seconds", raw.min_uptime_seconds)?,
        parallel,
        directories: raw.directories.unwrap_or(default.directories),
        disabled: raw.disabled,
        hooks: match raw.hooks_seconds {
            None => default.hooks,
            Some(seconds) => within("hooks-seconds", seconds, MAX_HOOKS)?,
        },
    })
}

pub(super) fn watchdog(raw: RawWatchdog) -> Result<WatchdogConfig, String> {
    let default = WatchdogConfig::default();
    Ok(WatchdogConfig {
        demand: raw.r#use.unwrap_or(default.demand),
        devices: raw.devices,
        timeout: match raw.timeout_seconds {
            None => default.timeout,
            Some(seconds) => within("[watchdog] timeout-seconds", seconds, MAX_WATCHDOG)?,
        },
        afterwards: raw.afterwards.unwrap_or(default.afterwards),
    })
}

/// Seconds from 1 to `most`.
pub(super) fn within(name: &str, seconds: u64, most: u64) -> Result<Duration, String> {
    if (1..=most).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(format!("{name} = {seconds} is not 1 to {most}"))
    }
}
