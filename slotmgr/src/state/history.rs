//! What happened to this machine's systems, and what is known of a system that did not stay.
//!
//! All of it stands in the record, which has a fixed size: every text is cut to a cap here, and
//! the record drops its oldest events when it is full.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Release;

/// Events that are kept.
pub const MAX_EVENTS: usize = 24;

/// Bytes of a reason in an event.
const MAX_WHY: usize = 300;

/// Failed checks whose output is kept, and bytes of each.
const MAX_CHECKS: usize = 4;
const MAX_OUTPUT: usize = 600;

/// Bytes of the kernel's and the journal's last words.
const MAX_LOG: usize = 2_000;

/// Releases whose falls are counted.
const MAX_COUNTED: usize = 12;

/// How it was before the update, so that the new system is not blamed for what was so already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Baseline {
    /// Addresses, and whether they answered.
    pub reachable: BTreeMap<String, bool>,
    /// `MemAvailable`, in KiB.
    pub memory_available_kib: Option<u64>,
    /// The hottest sensor, in thousandths of a degree Celsius.
    pub hottest_millidegrees: Option<i64>,
}

/// A moment: which boot, and the time of day for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When<'w> {
    /// The kernel's id of this boot.
    pub boot_id: &'w str,
    /// Seconds since 1970; a device may have no clock.
    pub now: i64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// Seconds since 1970.
    pub at: i64,
    /// What.
    pub what: EventKind,
    /// To which release.
    pub release: Release,
    /// In which slot.
    pub slot: String,
    /// The installation that brought it there; older records do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// Why, where there is a why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Written, and next to be started.
    Installed,
    /// It could not be written.
    InstallFailed,
    /// It was not kept in its trial.
    Unhealthy,
    /// It proved itself.
    Confirmed,
    /// The old system is back.
    FellBack,
    /// Somebody asked for the other system.
    RolledBackByHand,
}

impl EventKind {
    /// As in the JSON answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            EventKind::Installed => "installed",
            EventKind::InstallFailed => "install-failed",
            EventKind::Unhealthy => "unhealthy",
            EventKind::Confirmed => "confirmed",
            EventKind::FellBack => "fell-back",
            EventKind::RolledBackByHand => "rolled-back-by-hand",
        }
    }
}

impl Event {
    pub(super) fn shortened(mut self) -> Event {
        self.why = self.why.map(|why| tail(&why, MAX_WHY));
        self
    }
}

/// The last words of a failed check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckWords {
    /// Its name.
    pub name: String,
    /// What came of it.
    pub verdict: String,
    /// The end of what it wrote.
    pub output: String,
}

/// What a system left behind that did not come back by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Traces {
    /// Whether a watchdog says that it restarted the machine; nothing if none can tell.
    pub watchdog_reset: Option<bool>,
    /// The end of the journal of the boot before this one.
    pub journal: String,
    /// What the kernel left in pstore: a panic, mostly.
    pub pstore: String,
}

/// The last fall back to the old system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FellBack {
    /// The installation that did not stay.
    pub transaction: String,
    /// From which release.
    pub release: Release,
    /// Why, if the new system came so far that it could say.
    pub reason: Option<String>,
    /// What its failed checks said.
    #[serde(default)]
    pub checks: Vec<CheckWords>,
    /// What else was found.
    #[serde(default)]
    pub traces: Traces,
    /// When it was noticed, in seconds since 1970.
    pub at: i64,
}

impl FellBack {
    pub(super) fn has_details(&self) -> bool {
        !self.checks.is_empty() || !self.traces.journal.is_empty() || !self.traces.pstore.is_empty()
    }

    pub(super) fn drop_details(&mut self) {
        self.checks.clear();
        self.traces.journal.clear();
        self.traces.pstore.clear();
    }
}

/// How often a release fell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Falls {
    pub manifest_sha256: String,
    pub count: u32,
}

/// Counts one more; the release that fell longest ago is forgotten when there are too many.
pub(super) fn count_fall(all: &mut Vec<Falls>, release: &Release) {
    let digest = &release.manifest_sha256;
    let known = all
        .iter()
        .position(|falls| falls.manifest_sha256 == *digest);
    let before = known.map_or(0, |place| all.remove(place).count);
    all.push(Falls {
        manifest_sha256: digest.clone(),
        count: before.saturating_add(1),
    });
    let surplus = all.len().saturating_sub(MAX_COUNTED);
    all.drain(..surplus);
}

impl CheckWords {
    pub(super) fn shortened(checks: Vec<CheckWords>) -> Vec<CheckWords> {
        let short = |check: CheckWords| CheckWords {
            name: tail(&check.name, MAX_WHY),
            verdict: tail(&check.verdict, MAX_WHY),
            output: tail(&check.output, MAX_OUTPUT),
        };
        checks.into_iter().take(MAX_CHECKS).map(short).collect()
    }
}

impl Traces {
    pub(super) fn shortened(self) -> Traces {
        Traces {
            watchdog_reset: self.watchdog_reset,
            journal: tail(&self.journal, MAX_LOG),
            pstore: tail(&self.pstore, MAX_LOG),
        }
    }
}

/// The end of a text, at most so many bytes; characters that would grow in JSON are replaced.
pub(crate) fn tail(text: &str, bytes: usize) -> String {
    let plain = |c: char| match c {
        '\n' => c,
        c if c.is_control() => ' ',
        c => c,
    };
    let text: String = text.trim().chars().map(plain).collect();
    let from = text.len().saturating_sub(bytes);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at));
    text[from.unwrap_or(text.len())..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_text_is_kept() {
        assert_eq!(tail(" abcdef\n", 3), "def");
        assert_eq!(tail("aé", 1), "");
        assert_eq!(tail("a\u{1b}[0m\tb", 99), "a [0m b");
    }

    #[test]
    fn falls_are_counted_and_old_ones_forgotten() {
        let release = |digest: &str| Release {
            compatible: "c".into(),
            version: None,
            manifest_sha256: digest.into(),
        };
        let mut all = Vec::new();
        for _ in 0..3 {
            count_fall(&mut all, &release("x"));
        }
        assert_eq!(all[0].count, 3);
        for number in 0..MAX_COUNTED {
            count_fall(&mut all, &release(&number.to_string()));
        }
        assert_eq!(all.len(), MAX_COUNTED);
        assert!(all.iter().all(|falls| falls.manifest_sha256 != "x"));
    }
}
