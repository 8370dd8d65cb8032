//! `[trial]` and `[[check]]` of `slotmgr.toml`.

use std::time::Duration;

use serde::Deserialize;

use crate::health::window::Demand;

/// Longest time that a single run of a check may take, and longest interval, in seconds.
const MAX_SECONDS: u64 = 3_600;

/// Longest window, in seconds.
const MAX_WINDOW: u64 = 86_400;

/// Most checks that run at once.
const MAX_PARALLEL: usize = 64;

/// Most failures in a row that are forgiven.
const MAX_RETRIES: u32 = 1_000;

/// A run of a check that says nothing about it, in seconds.
const TIMEOUT: u64 = 30;

/// Between two runs of a check that says nothing about it, in seconds.
const INTERVAL: u64 = 5;

/// How long a trial takes.
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
}

impl Default for TrialConfig {
    fn default() -> Self {
        TrialConfig {
            window: Duration::from_secs(300),
            soak: Duration::ZERO,
            min_uptime: Duration::ZERO,
            parallel: 4,
        }
    }
}

/// One health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    /// For people.
    pub name: String,
    /// Program and arguments; no shell.
    pub command: Vec<String>,
    /// After that a run has failed.
    pub timeout: Duration,
    /// Whether it decides.
    pub demand: Demand,
    /// Failures in a row that are forgiven.
    pub retries: u32,
    /// From the end of one run to the next.
    pub interval: Duration,
}

impl CheckConfig {
    /// A check that decides at its first run.
    #[must_use]
    pub fn new(name: String, command: Vec<String>, timeout: Duration) -> CheckConfig {
        CheckConfig {
            name,
            command,
            timeout,
            demand: Demand::Required,
            retries: 0,
            interval: Duration::from_secs(INTERVAL),
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
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCheck {
    name: String,
    command: Vec<String>,
    timeout_seconds: Option<u64>,
    required: Option<bool>,
    retries: Option<u32>,
    interval_seconds: Option<u64>,
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
    })
}

pub(super) fn check(raw: RawCheck, trial: &TrialConfig) -> Result<CheckConfig, String> {
    let wrong = |what: String| format!("check `{}`: {what}", raw.name);
    if raw.command.is_empty() {
        return Err(format!("check `{}` has an empty command", raw.name));
    }
    let seconds = |name, value: Option<u64>, default| {
        within(name, value.unwrap_or(default), MAX_SECONDS).map_err(wrong)
    };
    let short = TIMEOUT.min(trial.window.as_secs());
    let timeout = seconds("timeout-seconds", raw.timeout_seconds, short)?;
    if timeout > trial.window {
        return Err(wrong(format!(
            "timeout-seconds = {} is longer than the window of {} s",
            timeout.as_secs(),
            trial.window.as_secs()
        )));
    }
    let interval = seconds("interval-seconds", raw.interval_seconds, INTERVAL)?;
    let retries = raw.retries.unwrap_or(0);
    if retries > MAX_RETRIES {
        return Err(wrong(format!(
            "retries = {retries} is not 0 to {MAX_RETRIES}"
        )));
    }
    Ok(CheckConfig {
        demand: match raw.required {
            Some(false) => Demand::Wanted,
            None | Some(true) => Demand::Required,
        },
        retries,
        interval,
        ..CheckConfig::new(raw.name, raw.command, timeout)
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
