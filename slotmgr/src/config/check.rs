//! `[[check]]` of `slotmgr.toml`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::trial::{TrialConfig, within};
use crate::health::probe::{Address, Probe};
use crate::health::window::Demand;

/// Longest time that a single run of a check may take, and longest interval, in seconds.
const MAX_SECONDS: u64 = 3_600;

/// Most failures that are forgiven, in a row or in all.
const MAX_FAILURES: u32 = 1_000;

/// A run of a check that says nothing about it, in seconds.
const TIMEOUT: u64 = 30;

/// The same for one that waits for something to come up.
const TIMEOUT_WAITING: u64 = 90;

/// Between two runs of a check that says nothing about it, in seconds.
const INTERVAL: u64 = 5;

/// Free space that is asked for when nothing is said, in MiB.
const FREE_MIB: u64 = 16;

const MIB: u64 = 1024 * 1024;

/// One health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    /// For people.
    pub name: String,
    /// What is done.
    pub action: Action,
    /// After that a run has failed.
    pub timeout: Duration,
    /// Whether it decides.
    pub demand: Demand,
    /// When it decides.
    pub condition: Condition,
    /// Failures in a row that are forgiven.
    pub retries: u32,
    /// Failures in all, forgiven or not, that end it.
    pub threshold: Option<u32>,
    /// From the end of one run to the next.
    pub interval: Duration,
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs a program with arguments; no shell.
    Command(Vec<String>),
    /// Looks itself.
    Probe(Probe),
}

/// When a required check decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    Always,
    /// If it was fine when the update was installed: a network that was down before is not the
    /// new system's fault.
    WorkedBefore,
}

impl CheckConfig {
    /// A command that decides at its first run.
    #[must_use]
    pub fn new(name: String, command: Vec<String>, timeout: Duration) -> CheckConfig {
        CheckConfig {
            name,
            action: Action::Command(command),
            timeout,
            demand: Demand::Required,
            condition: Condition::Always,
            retries: 0,
            threshold: None,
            interval: Duration::from_secs(INTERVAL),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCheck {
    name: String,
    command: Option<Vec<String>>,
    unit: Option<String>,
    max_restarts: Option<u64>,
    no_failed_units: Option<bool>,
    except: Option<Vec<String>>,
    tcp: Option<String>,
    http: Option<String>,
    writable: Option<PathBuf>,
    free_space: Option<PathBuf>,
    at_least_mib: Option<u64>,
    memory_worse_by_percent: Option<u8>,
    warmer_by_degrees: Option<u32>,
    vote: Option<bool>,
    timeout_seconds: Option<u64>,
    required: Option<bool>,
    retries: Option<u32>,
    failure_threshold: Option<u32>,
    interval_seconds: Option<u64>,
}

pub(super) fn check(mut raw: RawCheck, trial: &TrialConfig) -> Result<CheckConfig, String> {
    let name = std::mem::take(&mut raw.name);
    let wrong = |what: String| format!("check `{name}`: {what}");
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\n', '\0']) {
        return Err(wrong("a name is a word without `/`".to_owned()));
    }
    let action = action(&mut raw).map_err(wrong)?;
    let timeout = timeout(&raw, &action, trial).map_err(wrong)?;
    let interval = raw.interval_seconds.unwrap_or(INTERVAL);
    let most = |key: &str, value: Option<u32>, least| match value {
        Some(count) if !(least..=MAX_FAILURES).contains(&count) => Err(wrong(format!(
            "{key} = {count} is not {least} to {MAX_FAILURES}"
        ))),
        _ => Ok(value),
    };
    let (demand, condition) = weight(&action, raw.required);
    Ok(CheckConfig {
        action,
        timeout,
        demand,
        condition,
        retries: most("retries", raw.retries, 0)?.unwrap_or(0),
        threshold: most("failure-threshold", raw.failure_threshold, 1)?,
        interval: within("interval-seconds", interval, MAX_SECONDS).map_err(wrong)?,
        name,
    })
}

/// Exactly one of the keys that say what is done, and no key that belongs to another.
fn action(raw: &mut RawCheck) -> Result<Action, String> {
    let max_restarts = raw.max_restarts.take();
    let except = raw.except.take();
    let at_least = raw.at_least_mib.take();
    let said = |flag: Option<bool>, key: &str| match flag {
        Some(false) => Err(format!("{key} = false: leave the check out instead")),
        flag => Ok(flag),
    };
    let no_failed_units = said(raw.no_failed_units, "no-failed-units")?;
    let vote = said(raw.vote, "vote")?;
    let stray = [
        (max_restarts.is_some() && raw.unit.is_none()).then_some("max-restarts"),
        (except.is_some() && no_failed_units.is_none()).then_some("except"),
        (at_least.is_some() && raw.free_space.is_none()).then_some("at-least-mib"),
    ];
    if let Some(key) = stray.into_iter().flatten().next() {
        return Err(format!("{key} has nothing to do with what is checked"));
    }
    let probe = Action::Probe;
    let all = [
        raw.command.take().map(Action::Command),
        raw.unit.take().map(|unit| {
            let max_restarts = max_restarts.unwrap_or(0);
            probe(Probe::Unit { unit, max_restarts })
        }),
        no_failed_units.map(|_| {
            let except = except.unwrap_or_default();
            probe(Probe::NoFailedUnits { except })
        }),
        raw.tcp
            .take()
            .map(|to| probe(Probe::Reachable(Address::Tcp(to)))),
        raw.http
            .take()
            .map(|to| probe(Probe::Reachable(Address::Http(to)))),
        raw.writable.take().map(|path| probe(Probe::Writable(path))),
        raw.free_space.take().map(|path| {
            let at_least = at_least.unwrap_or(FREE_MIB).saturating_mul(MIB);
            probe(Probe::FreeSpace { path, at_least })
        }),
        raw.memory_worse_by_percent
            .map(|worse_by_percent| probe(Probe::Memory { worse_by_percent })),
        raw.warmer_by_degrees
            .map(|warmer_by| probe(Probe::Temperature { warmer_by })),
        vote.map(|_| probe(Probe::Vote)),
    ];
    let mut said = all.into_iter().flatten();
    match (said.next(), said.next()) {
        (Some(Action::Command(words)), None) if words.is_empty() => {
            Err("an empty command".to_owned())
        }
        (Some(Action::Probe(Probe::Reachable(address))), None) => {
            address.check()?;
            Ok(probe(Probe::Reachable(address)))
        }
        (Some(action), None) => Ok(action),
        _ => Err(
            "it says nothing, or more than one thing, of what is checked: exactly one of command, \
             unit, no-failed-units, tcp, http, writable, free-space, memory-worse-by-percent, \
             warmer-by-degrees, vote"
                .to_owned(),
        ),
    }
}

fn timeout(raw: &RawCheck, action: &Action, trial: &TrialConfig) -> Result<Duration, String> {
    let default = match action {
        Action::Command(_) => TIMEOUT,
        // Nobody knows how long an application thinks about it.
        Action::Probe(Probe::Vote) => trial.window.as_secs().min(MAX_SECONDS),
        Action::Probe(Probe::Unit { .. } | Probe::NoFailedUnits { .. } | Probe::Reachable(_)) => {
            TIMEOUT_WAITING
        }
        Action::Probe(_) => TIMEOUT,
    };
    let short = default.min(trial.window.as_secs());
    let asked = raw.timeout_seconds.unwrap_or(short);
    let timeout = within("timeout-seconds", asked, MAX_SECONDS)?;
    if timeout > trial.window {
        return Err(format!(
            "timeout-seconds = {} is longer than the window of {} s",
            timeout.as_secs(),
            trial.window.as_secs()
        ));
    }
    Ok(timeout)
}

/// What decides when `required` says nothing: everything but what is only compared with the
/// time before the update, which is told and left to people.
fn weight(action: &Action, required: Option<bool>) -> (Demand, Condition) {
    match (required, action) {
        (Some(true), _) => (Demand::Required, Condition::Always),
        (Some(false), _) => (Demand::Wanted, Condition::Always),
        (None, Action::Probe(Probe::Reachable(_))) => (Demand::Required, Condition::WorkedBefore),
        (None, Action::Probe(Probe::Memory { .. } | Probe::Temperature { .. })) => {
            (Demand::Wanted, Condition::Always)
        }
        (None, _) => (Demand::Required, Condition::Always),
    }
}
