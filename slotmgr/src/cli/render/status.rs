//! The status for people.

use std::fmt::Write as _;

use crate::boot::BootState;
use crate::slot::{Booted, Layout, Role, SlotId, role};
use crate::state::{Outcome, RaucStatus, Record, SlotStatus};

/// Everything that `slotmgr status` tells.
pub(crate) struct StatusView<'v> {
    pub compatible: &'v str,
    pub bootloader: &'v str,
    pub layout: &'v Layout,
    pub booted: Booted,
    pub state: &'v BootState,
    pub record: &'v Record,
    pub outcome: &'v Outcome,
    pub rauc: &'v RaucStatus,
}

impl StatusView<'_> {
    pub fn title(&self, id: SlotId) -> String {
        let slot = self.layout.slot(id);
        match &slot.boot_name {
            Some(name) => format!("{} ({name})", slot.name),
            None => slot.name.to_string(),
        }
    }

    /// What became of the last update, and what to do next.
    fn last_update(&self) -> (String, String) {
        let label = self
            .record
            .job()
            .map(|job| job.release.label())
            .unwrap_or_default();
        let target = self
            .record
            .job()
            .map(|job| job.target.clone())
            .unwrap_or_default();
        let install = "slotmgr install BUNDLE".to_owned();
        match self.outcome {
            Outcome::None => ("none is recorded".to_owned(), install),
            Outcome::Unfinished => (
                format!("{label} was not finished; {target} is not started"),
                "install again; it starts anew".to_owned(),
            ),
            Outcome::Failed { reason } => {
                (format!("{label} could not be installed: {reason}"), install)
            }
            Outcome::Written => (
                format!("{label} is in {target} and is not started by itself"),
                format!("slotmgr mark active {target}"),
            ),
            Outcome::Waiting => (
                format!("{label} is in {target} and waits to be tried"),
                "restart the machine".to_owned(),
            ),
            Outcome::OnTrial => (
                format!("{label} is running, on trial"),
                "slotmgr trial checks and confirms it; without that the old system comes back"
                    .to_owned(),
            ),
            Outcome::Confirmed => (format!("{label} has proved itself"), install),
            Outcome::FellBack {
                reason: Some(reason),
            } => (
                format!("{label} did not prove itself, and this system came back: {reason}"),
                "install a better one".to_owned(),
            ),
            Outcome::FellBack { reason: None } => (
                format!("{label} was tried and did not come up; this system came back"),
                "look at the console of the tries, then install a better one".to_owned(),
            ),
        }
    }
}

pub(super) fn human(view: &StatusView<'_>) -> String {
    let mut text = String::new();
    let next = view.state.primary().map_or_else(
        || "none is confirmed or has a try left: the bootloader's last resort".to_owned(),
        |id| view.title(id),
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "machine    {}, started by {}",
        view.compatible, view.bootloader
    );
    let _ = writeln!(text, "running    {}", view.title(view.booted.id()));
    let _ = writeln!(text, "next start {next}\n");
    for (id, slot) in view.layout.iter() {
        let role = role(view.layout, view.booted, id);
        let mark = if role == Role::Inactive { ' ' } else { '●' };
        let standing = match &slot.boot_name {
            Some(_) => view.state.standing(id).to_string(),
            None => "not booted by itself".to_owned(),
        };
        let content = match view.record.slot(&slot.name.to_string()) {
            None => String::new(),
            Some(known) => match known.status {
                SlotStatus::Ok => known.release.label(),
                SlotStatus::Pending => format!("{}, not finished", known.release.label()),
                SlotStatus::Failed => format!("{}, failed", known.release.label()),
            },
        };
        let title = view.title(id);
        let line = format!("{mark} {title:15} {role:9} {standing:26} {content}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let (last, next) = view.last_update();
    let _ = write!(text, "\nlast update {last}\nnext step   {next}");
    text
}
