//! `slotmgr status --json`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{SCHEMA, StatusView};
use crate::artifact::Stock;
use crate::boot::Standing;
use crate::config::Repository;
use crate::slot::{Slot, SlotId, role};
use crate::state::{FellBack, Job, Outcome, SlotRecord};

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
