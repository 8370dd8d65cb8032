//! The JSON answers. Field names are a promise; `schema` changes when one goes.

use std::collections::BTreeMap;

use bundle_format::VerifiedManifest;
use serde::Serialize;

use super::{SCHEMA, StatusView};
use crate::artifact::Stock;
use crate::boot::{BootState, Mark, Standing};
use crate::config::Repository;
use crate::health::preflight::Finding;
use crate::health::{Report, TrialEnd};
use crate::install;
use crate::slot::{Booted, Layout, Slot, SlotId, role};
use crate::state::{Event, FellBack, Job, Outcome, Record, SlotRecord};

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
    pub fn new(
        layout: &Layout,
        manifest: &VerifiedManifest,
        installed: &install::Installed,
    ) -> Self {
        let update = &manifest.manifest().update;
        let (result, slot, tries) = match installed {
            install::Installed::Armed(armed) => (
                "installed",
                Some(armed.target()),
                Some(armed.tries().count()),
            ),
            install::Installed::Waiting(target) => ("written", Some(*target), None),
            install::Installed::Artifacts => ("artifacts", None, None),
            install::Installed::ByHandler => ("by-handler", None, None),
        };
        let slot = slot.map(|target| layout.slot(target.id()));
        Installed {
            schema: SCHEMA,
            result,
            slot: slot.map(|slot| slot.name.to_string()),
            bootname: slot
                .and_then(|slot| slot.boot_name.as_ref())
                .map(ToString::to_string),
            compatible: update.compatible.clone(),
            version: update.version.clone(),
            manifest_sha256: manifest.hash().to_string(),
            tries,
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
    pub fn new(layout: &Layout, slot: SlotId, image: &install::LocalImage) -> Self {
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
#[serde(rename_all = "kebab-case")]
pub(super) struct Preflight<'v> {
    schema: u32,
    findings: Vec<FindingView<'v>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FindingView<'v> {
    what: &'v str,
    fine: bool,
    text: &'v str,
}

impl<'v> Preflight<'v> {
    pub fn new(findings: &'v [Finding]) -> Self {
        let view = |finding: &'v Finding| FindingView {
            what: finding.what,
            fine: finding.found.is_ok(),
            text: match &finding.found {
                Ok(text) | Err(text) => text,
            },
        };
        Preflight {
            schema: SCHEMA,
            findings: findings.iter().map(view).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Simulation<'v> {
    #[serde(flatten)]
    preflight: Preflight<'v>,
    would_write: Vec<Write<'v>>,
    would_start: String,
    unknown: &'v [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Write<'v> {
    image: &'v str,
    size: u64,
    sha256: String,
    slot: String,
    device: String,
}

impl<'v> Simulation<'v> {
    pub fn new(
        layout: &Layout,
        findings: &'v [Finding],
        simulated: &'v install::Simulated,
    ) -> Self {
        let write = |step: &'v install::Step| Write {
            image: &step.filename,
            size: step.size,
            sha256: step.sha256.to_string(),
            slot: step.slot.to_string(),
            device: layout.slot(step.target.id()).device.display().to_string(),
        };
        Simulation {
            preflight: Preflight::new(findings),
            would_write: simulated.steps.iter().map(write).collect(),
            would_start: layout.slot(simulated.boot_target.id()).name.to_string(),
            unknown: &simulated.unknown,
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
    events: &'v [Event],
    fell_back: Option<&'v FellBack>,
}

impl<'v> History<'v> {
    pub fn new(record: &'v Record) -> Self {
        History {
            schema: SCHEMA,
            events: record.events(),
            fell_back: record.fell_back(),
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

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Status<'v> {
    schema: u32,
    compatible: &'v str,
    bootloader: &'v str,
    /// Nothing when the running system lies in no slot.
    booted: Option<String>,
    primary: Option<String>,
    outcome: OutcomeView<'v>,
    last_update: Option<&'v Job>,
    fell_back: Option<&'v FellBack>,
    watchdog: Option<&'v str>,
    slots: Vec<SlotView<'v>>,
    repositories: Vec<RepositoryView<'v>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct RepositoryView<'v> {
    name: &'v str,
    path: String,
    /// By name, each instance by its digest, and whether it is used.
    artifacts: &'v BTreeMap<String, BTreeMap<String, bool>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct OutcomeView<'v> {
    state: &'static str,
    reason: Option<&'v str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SlotView<'v> {
    name: String,
    class: &'v str,
    device: String,
    #[serde(rename = "type")]
    kind: String,
    bootname: Option<String>,
    parent: Option<String>,
    state: String,
    boot_status: Option<&'static str>,
    tries_left: Option<u8>,
    content: Option<&'v SlotRecord>,
    /// As RAUC's status file has it.
    slot_status: BTreeMap<&'v str, &'v str>,
}

impl<'v> Status<'v> {
    pub fn new(view: &StatusView<'v>) -> Self {
        let layout = view.layout;
        Status {
            schema: SCHEMA,
            compatible: view.compatible,
            bootloader: view.bootloader,
            booted: view.booted.id().map(|id| layout.slot(id).name.to_string()),
            primary: view
                .state
                .primary()
                .map(|id| layout.slot(id).name.to_string()),
            outcome: OutcomeView::new(view.outcome),
            last_update: view.record.job(),
            fell_back: view.record.fell_back(),
            watchdog: view.watchdog,
            slots: layout
                .iter()
                .map(|(id, slot)| SlotView::new(view, id, slot))
                .collect(),
            repositories: view.repositories.iter().map(RepositoryView::new).collect(),
        }
    }
}

impl<'v> OutcomeView<'v> {
    fn new(outcome: &'v Outcome) -> Self {
        let (state, reason) = (outcome.word(), outcome.reason());
        OutcomeView { state, reason }
    }
}

impl<'v> RepositoryView<'v> {
    fn new((repository, stock): &'v (Repository, Stock)) -> Self {
        RepositoryView {
            name: &repository.name,
            path: repository.path.display().to_string(),
            artifacts: &stock.artifacts,
        }
    }
}

impl<'v> SlotView<'v> {
    fn new(view: &StatusView<'v>, id: SlotId, slot: &'v Slot) -> Self {
        let standing = slot.boot_name.as_ref().map(|_| view.state.standing(id));
        SlotView {
            name: slot.name.to_string(),
            class: slot.name.class(),
            device: slot.device.display().to_string(),
            kind: slot.kind.to_string(),
            bootname: slot.boot_name.as_ref().map(ToString::to_string),
            parent: slot.parent.as_ref().map(ToString::to_string),
            state: role(view.layout, view.booted, id).to_string(),
            boot_status: standing.map(|standing| match standing {
                Standing::Good => "good",
                Standing::Trial { .. } => "trial",
                Standing::Bad => "bad",
            }),
            tries_left: match standing {
                Some(Standing::Trial { left }) => Some(left),
                _ => None,
            },
            content: view.record.slot(&slot.name.to_string()),
            slot_status: view.rauc.slot(&slot.name.to_string()).collect(),
        }
    }
}
