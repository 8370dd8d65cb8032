//! The JSON answers. Field names are a promise; `schema` changes when one goes.

use serde::Serialize;

use super::SCHEMA;
use crate::boot::{BootState, Mark};
use crate::events::Entry;
use crate::health::{Report, TrialEnd};
use crate::install::LocalImage;
use crate::service::{InstallEnd, InstallResult, JobStatus};
use crate::slot::{Booted, Layout, SlotId};
use crate::state::FellBack;

/// What went wrong, in the place of an answer.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Failed<'v> {
    schema: u32,
    error: &'v str,
    exit_code: u8,
}

impl<'v> Failed<'v> {
    pub fn new(error: &'v str, exit_code: u8) -> Self {
        Failed {
            schema: SCHEMA,
            error,
            exit_code,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Installed {
    schema: u32,
    result: &'static str,
    slot: Option<String>,
    bootname: Option<String>,
    compatible: String,
    version: Option<String>,
    manifest_sha256: String,
    tries: Option<u8>,
}

impl Installed {
    pub fn new(result: &InstallResult) -> Self {
        let word = match result.end {
            InstallEnd::Armed => "installed",
            InstallEnd::Waiting => "written",
            InstallEnd::Artifacts => "artifacts",
            InstallEnd::ByHandler => "by-handler",
        };
        let release = &result.release;
        Installed {
            schema: SCHEMA,
            result: word,
            slot: result.slot.clone(),
            bootname: result.bootname.clone(),
            compatible: release.compatible.clone(),
            version: release.version.clone(),
            manifest_sha256: release.manifest_sha256.clone(),
            tries: result.tries,
        }
    }
}

#[cfg(feature = "dbus")]
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Cancelled<'v> {
    schema: u32,
    job: &'v str,
    result: &'static str,
}

#[cfg(feature = "dbus")]
impl<'v> Cancelled<'v> {
    pub fn new(job: &'v str) -> Self {
        Cancelled {
            schema: SCHEMA,
            job,
            result: "stopping",
        }
    }
}

/// A job, a line for a program that follows.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct JobLine<'v> {
    schema: u32,
    job: &'v str,
    transaction: &'v str,
    source: &'v str,
    state: &'static str,
    stage: Option<&'static str>,
    done: Option<u64>,
    total: Option<u64>,
    bytes_per_second: Option<u64>,
    seconds_left: Option<u64>,
    version: Option<&'v str>,
    manifest_sha256: Option<&'v str>,
    slot: Option<&'v str>,
    bootname: Option<&'v str>,
    tries: Option<u8>,
    error: Option<&'v str>,
    started: i64,
    ended: Option<i64>,
}

impl<'v> JobLine<'v> {
    pub fn new(job: &'v JobStatus) -> Self {
        let release = job.release.as_ref();
        JobLine {
            schema: SCHEMA,
            job: &job.id,
            transaction: &job.transaction,
            source: &job.source,
            state: job.state.word(),
            stage: job.pace.map(|pace| pace.stage.name()),
            done: job.pace.map(|pace| pace.done),
            total: job.pace.map(|pace| pace.total),
            bytes_per_second: job.pace.map(|pace| pace.rate),
            seconds_left: job.pace.and_then(|pace| pace.left),
            version: release.and_then(|release| release.version.as_deref()),
            manifest_sha256: release.map(|release| release.manifest_sha256.as_str()),
            slot: job.slot.as_deref(),
            bootname: job.bootname.as_deref(),
            tries: job.tries,
            error: job.error.as_deref(),
            started: job.started,
            ended: job.ended,
        }
    }
}

/// Something that happened, a line for a program that follows.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct EventLine<'v> {
    schema: u32,
    #[serde(flatten)]
    entry: &'v Entry,
}

impl<'v> EventLine<'v> {
    pub fn new(entry: &'v Entry) -> Self {
        EventLine {
            schema: SCHEMA,
            entry,
        }
    }
}

pub(super) fn mark_name(mark: Mark) -> &'static str {
    match mark {
        Mark::Good => "good",
        Mark::Bad => "bad",
        Mark::Active => "active",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Marked {
    schema: u32,
    slot: String,
    marked: &'static str,
    primary: Option<String>,
}

impl Marked {
    pub fn new(layout: &Layout, slot: SlotId, mark: Mark, state: Option<&BootState>) -> Self {
        let primary = state.and_then(BootState::primary);
        Marked {
            schema: SCHEMA,
            slot: layout.slot(slot).name.to_string(),
            marked: mark_name(mark),
            primary: primary.map(|id| layout.slot(id).name.to_string()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SlotWritten {
    schema: u32,
    slot: String,
    size: u64,
    sha256: Option<String>,
}

impl SlotWritten {
    pub fn new(layout: &Layout, slot: SlotId, image: &LocalImage) -> Self {
        SlotWritten {
            schema: SCHEMA,
            slot: layout.slot(slot).name.to_string(),
            size: image.size(),
            sha256: image.sha256().map(|digest| digest.to_string()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Voted<'v> {
    schema: u32,
    check: &'v str,
    vote: &'v str,
}

impl<'v> Voted<'v> {
    pub fn new(check: &'v str, vote: &'v str) -> Self {
        Voted {
            schema: SCHEMA,
            check,
            vote,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RolledBack<'v> {
    schema: u32,
    result: &'v str,
    slot: &'v str,
}

impl<'v> RolledBack<'v> {
    pub fn new(result: &'v str, slot: &'v str) -> Self {
        RolledBack {
            schema: SCHEMA,
            result,
            slot,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Snapshots<'v> {
    schema: u32,
    snapshots: &'v [u64],
}

impl<'v> Snapshots<'v> {
    pub fn new(snapshots: &'v [u64]) -> Self {
        let schema = SCHEMA;
        Snapshots { schema, snapshots }
    }
}

#[derive(Serialize)]
pub(super) struct Restored {
    schema: u32,
    restored: u64,
}

impl Restored {
    pub fn new(restored: u64) -> Self {
        let schema = SCHEMA;
        Restored { schema, restored }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct History<'v> {
    schema: u32,
    events: &'v [Entry],
    fell_back: Option<&'v FellBack>,
}

impl<'v> History<'v> {
    pub fn new(events: &'v [Entry], fell_back: Option<&'v FellBack>) -> Self {
        History {
            schema: SCHEMA,
            events,
            fell_back,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Trial {
    schema: u32,
    slot: Option<String>,
    result: &'static str,
    reason: Option<String>,
    checks: Vec<Check>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Check {
    name: String,
    passed: bool,
    verdict: String,
    output: String,
}

impl Trial {
    pub fn outside() -> Self {
        Trial {
            schema: SCHEMA,
            slot: None,
            result: "not-on-trial",
            reason: None,
            checks: Vec::new(),
        }
    }

    pub fn new(layout: &Layout, booted: Booted, end: &TrialEnd) -> Self {
        let (result, reason, reports): (_, _, &[Report]) = match end {
            TrialEnd::NotOnTrial { .. } => ("not-on-trial", None, &[]),
            TrialEnd::Confirmed { reports } => ("confirmed", None, reports),
            TrialEnd::Failed {
                reports, reason, ..
            } => ("failed", Some(reason.clone()), reports),
        };
        let checks = reports.iter().map(|report| Check {
            name: report.name.clone(),
            passed: !report.failed(),
            verdict: report.verdict.to_string(),
            output: report.output.clone(),
        });
        let slot = layout.slot(booted.id()).name.to_string();
        Trial {
            schema: SCHEMA,
            slot: Some(slot),
            result,
            reason,
            checks: checks.collect(),
        }
    }
}
