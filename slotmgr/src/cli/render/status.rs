//! The status for people.

use std::fmt::Write as _;

use super::progress;
use crate::artifact::Stock;
use crate::boot::BootState;
use crate::config::{EventKind, Repository};
use crate::events::Entry;
use crate::service::JobStatus;
use crate::slot::{Layout, Role, Running, SlotId, role};
use crate::state::{FellBack, Outcome, RaucStatus, Record, SlotStatus, utc_timestamp};

/// Everything that `slotmgr status` tells.
pub(crate) struct StatusView<'v> {
    pub compatible: &'v str,
    pub bootloader: &'v str,
    pub layout: &'v Layout,
    pub booted: Running,
    pub state: &'v BootState,
    pub record: &'v Record,
    pub outcome: &'v Outcome,
    pub rauc: &'v RaucStatus,
    /// Of those that can be read.
    pub repositories: &'v [(Repository, Stock)],
    /// What watches over this boot's trial, or what became of it.
    pub watchdog: Option<&'v str>,
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
    let running = view.booted.id().map(|id| view.title(id));
    let running = running.unwrap_or_else(|| "a system outside the slots".to_owned());
    let _ = writeln!(text, "running    {running}");
    let _ = writeln!(text, "next start {next}");
    if let Some(watchdog) = view.watchdog {
        let _ = writeln!(text, "watchdog   {watchdog}");
    }
    text.push('\n');
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
    artifacts(&mut text, view);
    let (last, next) = view.last_update();
    let _ = write!(text, "\nlast update {last}");
    if let Some(fall) = view.record.fell_back() {
        evidence(&mut text, fall);
    }
    let _ = write!(text, "\nnext step   {next}");
    text
}

fn artifacts(text: &mut String, view: &StatusView<'_>) {
    for (repository, stock) in view.repositories {
        let _ = writeln!(
            text,
            "\n{} ({})",
            repository.name,
            repository.path.display()
        );
        for (name, instances) in &stock.artifacts {
            let used = instances.iter().find(|(_, used)| **used);
            let used = used.map_or("not used".to_owned(), |(sha256, _)| format!("{sha256:.12}"));
            let _ = writeln!(text, "  {name:15} {used}");
        }
    }
}

/// Lines of a long text that are shown; `--json` has all that is kept.
const SHOWN: usize = 4;

/// What is known of why a system did not stay.
fn evidence(text: &mut String, fall: &FellBack) {
    let mut tell = |what: &str, said: &str| {
        let lines: Vec<&str> = said
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        for line in &lines[lines.len().saturating_sub(SHOWN)..] {
            let _ = write!(text, "\n  {what:9} {}", line.trim());
        }
    };
    for check in &fall.checks {
        tell("check", &format!("{}: {}", check.name, check.verdict));
        tell("", &check.output);
    }
    if fall.traces.watchdog_reset == Some(true) {
        tell("watchdog", "it restarted the machine");
    }
    tell("kernel", &fall.traces.pstore);
    tell("journal", &fall.traces.journal);
}

/// What happened, a line each: what people ask for, without the stages in between.
pub(super) fn history(entries: &[Entry]) -> String {
    let lines: Vec<String> = entries
        .iter()
        .filter(|entry| match entry.what.kind() {
            // An installation tells of itself.
            Some(EventKind::WriteSlot) => entry.facts.transaction.is_none(),
            kind => kind.is_some(),
        })
        .map(event)
        .collect();
    match lines.is_empty() {
        true => "nothing is recorded".to_owned(),
        false => lines.join("\n"),
    }
}

pub(super) fn event(entry: &Entry) -> String {
    format!("{}  {}", utc(entry.moment.at), entry.message())
}

pub(super) fn job(job: &JobStatus) -> String {
    let what = match &job.release {
        Some(release) => release.label(),
        None => job.source.clone(),
    };
    let mut text = format!("{}  {:11}  {what}", job.id, job.state.word());
    if let Some(pace) = &job.pace {
        text.push_str(&format!("  {}", progress::line(pace)));
    }
    if let Some(slot) = &job.slot {
        text.push_str(&format!("  in {slot}"));
    }
    if let Some(error) = &job.error {
        text.push_str(&format!(": {}", error.replace('\n', " ")));
    }
    text
}

/// `2026-03-27 12:00 UTC`
fn utc(seconds: i64) -> String {
    let text = utc_timestamp(seconds);
    let minutes = text.rsplit_once(':').map_or(&*text, |(minutes, _)| minutes);
    format!("{} UTC", minutes.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates() {
        let table = [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_767_225_599, "2025-12-31 23:59 UTC"),
            (-1, "1969-12-31 23:59 UTC"),
        ];
        for (seconds, text) in table {
            assert_eq!(utc(seconds), text);
        }
    }
}
