//! What happened, as it is written down and told.

use serde::{Deserialize, Serialize};

use crate::config::EventKind;
use crate::install::Stage;
use crate::state::Release;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// When.
    #[serde(flatten)]
    pub moment: Moment,
    /// What.
    pub what: What,
    /// The particulars.
    #[serde(flatten)]
    pub facts: Facts,
}

/// When something happened: a device may have no clock, but it counts its boots and their seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moment {
    /// Seconds since 1970.
    pub at: i64,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// Milliseconds since the machine was started.
    pub uptime_ms: u64,
}

/// The particulars, as far as there are any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Facts {
    /// The job that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The name of the installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// Where the bundle is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Which release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// Which slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// What the bootloader calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootname: Option<String>,
    /// Tries that it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries: Option<u8>,
    /// Why, or what was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// An installation begins.
    InstallStarted,
    /// The bundle is read and checked.
    Checking,
    /// The first slot is written.
    Writing,
    /// Waiting for the medium.
    Syncing,
    /// Comparing with the medium.
    ReadingBack,
    /// One image goes into one slot.
    SlotWriting,
    /// Written, and next to be started.
    Installed,
    /// Written, and not to be started before somebody says so.
    Written,
    /// It could not be installed.
    InstallFailed,
    /// The bundle is not for this machine.
    InstallRejected,
    /// Somebody stopped it.
    InstallStopped,
    /// The program was killed, or power failed.
    InstallInterrupted,
    /// A slot was marked good.
    MarkedGood,
    /// A slot was marked bad.
    MarkedBad,
    /// A slot was chosen.
    MarkedActive,
    /// The machine was started from a slot.
    Booted,
    /// The machine was started from elsewhere.
    BootedExternally,
    /// The service answers.
    ServiceStarted,
    /// The service ends.
    ServiceStopped,
    /// A system was not kept in its trial.
    Unhealthy,
    /// A system proved itself.
    Confirmed,
    /// The old system is back.
    FellBack,
    /// Somebody asked for the other system.
    RolledBackByHand,
}

/// What journald and RAUC's log files are told of one kind of event.
struct Row {
    what: What,
    /// RAUC's event type, if it has one.
    kind: Option<EventKind>,
    /// RAUC's message id, if it has one.
    id: Option<&'static str>,
    /// Syslog's priority.
    priority: u8,
}

const NOTICE: u8 = 5;
const WARNING: u8 = 4;
const INFO: u8 = 6;

const fn row(what: What, kind: Option<EventKind>, id: Option<&'static str>, priority: u8) -> Row {
    Row {
        what,
        kind,
        id,
        priority,
    }
}

use EventKind::{Boot, Install, Mark, Service, WriteSlot};

#[rustfmt::skip]
const TABLE: [Row; 23] = [
    row(What::InstallStarted, Some(Install), Some("b05410e8a93345389cd061aab1e9516d"), NOTICE),
    row(What::Checking, None, None, INFO),
    row(What::Writing, None, None, INFO),
    row(What::Syncing, None, None, INFO),
    row(What::ReadingBack, None, None, INFO),
    row(What::SlotWriting, Some(WriteSlot), None, NOTICE),
    row(What::Installed, Some(Install), Some("0163db5468ac4237b090d28490c301ed"), NOTICE),
    row(What::Written, Some(Install), Some("0163db5468ac4237b090d28490c301ed"), NOTICE),
    row(What::InstallFailed, Some(Install), Some("c48141f7fd49443aafff862b4809168f"), NOTICE),
    row(What::InstallRejected, Some(Install), Some("60bea7e4fea549ccad68af457308b13a"), NOTICE),
    // RAUC cannot be stopped, and does not notice interruptions: to its readers both are failures.
    row(What::InstallStopped, Some(Install), Some("c48141f7fd49443aafff862b4809168f"), NOTICE),
    row(What::InstallInterrupted, Some(Install), Some("c48141f7fd49443aafff862b4809168f"), WARNING),
    row(What::MarkedGood, Some(Mark), Some("3304e15a7a9a447885eb208ba7ae3a05"), NOTICE),
    row(What::MarkedBad, Some(Mark), Some("ccb0e584a47043d7a5316994bce77ae5"), NOTICE),
    row(What::MarkedActive, Some(Mark), Some("8b5e7435e1054d86858278e7544fe6da"), NOTICE),
    row(What::Booted, Some(Boot), Some("e60e0addd3454cb8b796eae0d497af96"), NOTICE),
    row(What::BootedExternally, Some(Boot), Some("dd237efdad1945d9b1e471bc2b994532"), NOTICE),
    row(What::ServiceStarted, Some(Service), None, NOTICE),
    row(What::ServiceStopped, Some(Service), None, NOTICE),
    // A trial is ours alone; what it does to a slot is a mark in RAUC's eyes.
    row(What::Unhealthy, Some(Mark), None, WARNING),
    row(What::Confirmed, Some(Mark), Some("3304e15a7a9a447885eb208ba7ae3a05"), NOTICE),
    row(What::FellBack, Some(Mark), None, WARNING),
    row(What::RolledBackByHand, Some(Mark), Some("8b5e7435e1054d86858278e7544fe6da"), NOTICE),
];

impl What {
    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.what == self)
    }

    /// The type by which `events=` of `[log.*]` chooses; none for what only our own journal keeps.
    #[must_use]
    pub fn kind(self) -> Option<EventKind> {
        self.row()?.kind
    }

    /// The id by which journald's readers find such messages.
    #[must_use]
    pub fn message_id(self) -> Option<&'static str> {
        self.row()?.id
    }

    /// Syslog's priority.
    #[must_use]
    pub fn priority(self) -> u8 {
        self.row().map_or(NOTICE, |row| row.priority)
    }

    /// The beginning of a stage.
    #[must_use]
    pub fn of_stage(stage: Stage) -> What {
        match stage {
            Stage::Check => What::Checking,
            Stage::Write => What::Writing,
            Stage::Sync => What::Syncing,
            Stage::ReadBack => What::ReadingBack,
        }
    }

    /// Whether a job is over with it.
    #[must_use]
    pub fn ends_job(self) -> bool {
        matches!(
            self,
            What::Installed
                | What::Written
                | What::InstallFailed
                | What::InstallRejected
                | What::InstallStopped
                | What::InstallInterrupted
        )
    }

    /// The inverse of [`What::word`].
    #[must_use]
    pub fn of_word(word: &str) -> Option<What> {
        let mut rows = TABLE.iter();
        rows.find(|row| row.what.word() == word).map(|row| row.what)
    }

    /// As in answers for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            What::InstallStarted => "install-started",
            What::Checking => "checking",
            What::Writing => "writing",
            What::Syncing => "syncing",
            What::ReadingBack => "reading-back",
            What::SlotWriting => "slot-writing",
            What::Installed => "installed",
            What::Written => "written",
            What::InstallFailed => "install-failed",
            What::InstallRejected => "install-rejected",
            What::InstallStopped => "install-stopped",
            What::InstallInterrupted => "install-interrupted",
            What::MarkedGood => "marked-good",
            What::MarkedBad => "marked-bad",
            What::MarkedActive => "marked-active",
            What::Booted => "booted",
            What::BootedExternally => "booted-externally",
            What::ServiceStarted => "service-started",
            What::ServiceStopped => "service-stopped",
            What::Unhealthy => "unhealthy",
            What::Confirmed => "confirmed",
            What::FellBack => "fell-back",
            What::RolledBackByHand => "rolled-back-by-hand",
        }
    }
}

impl Entry {
    /// For people, in one line.
    #[must_use]
    pub fn message(&self) -> String {
        let facts = &self.facts;
        let text = |fact: &Option<String>| fact.clone().unwrap_or_default();
        let release = facts.release.as_ref().map(Release::label);
        let label = release.unwrap_or_else(|| "the bundle".to_owned());
        let slot = match (&facts.slot, &facts.bootname) {
            (Some(slot), Some(bootname)) => format!("{slot} ({bootname})"),
            (slot, _) => text(slot),
        };
        let said = match self.what {
            What::InstallStarted => format!("installation of {} began", text(&facts.source)),
            What::Checking => "the bundle is checked".to_owned(),
            What::Writing => format!("{label} is written"),
            What::Syncing => "waiting until everything is on the medium".to_owned(),
            What::ReadingBack => "what was written is read back".to_owned(),
            What::SlotWriting => format!("slot {slot} is written"),
            What::Installed if facts.slot.is_none() => {
                // By the bundle's own handler, or into artifact repositories.
                format!("{label} was installed, and no slot was switched")
            }
            What::Installed => format!("{label} was installed into {slot}"),
            What::Written => {
                format!("{label} was written into {slot}, and is not started by itself")
            }
            What::InstallFailed => format!("{label} could not be installed"),
            What::InstallRejected => format!("{label} was rejected"),
            What::InstallStopped => format!("the installation of {label} was stopped"),
            What::InstallInterrupted => format!("the installation of {label} was cut off"),
            What::MarkedGood => format!("slot {slot} was marked good"),
            What::MarkedBad => format!("slot {slot} was marked bad"),
            What::MarkedActive => format!("slot {slot} was marked active"),
            What::Booted => format!("the machine was started from {slot}"),
            What::BootedExternally => "the machine was started from elsewhere".to_owned(),
            What::ServiceStarted => "the service began".to_owned(),
            What::ServiceStopped => "the service ended".to_owned(),
            What::Unhealthy => format!("{label} ran in {slot} and did not prove itself"),
            What::Confirmed => format!("{label} proved itself in {slot}"),
            What::FellBack => format!("{label} did not stay; the old system came back"),
            What::RolledBackByHand => format!("{label} was left by hand for the other system"),
        };
        match &facts.why {
            Some(why) => format!("{said}: {}", why.replace('\n', " ")),
            None => said,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_row_and_its_word() {
        for row in &TABLE {
            assert_eq!(row.what.row().unwrap().priority, row.priority);
            let word = serde_json::to_string(&row.what).unwrap();
            assert_eq!(word, format!("\"{}\"", row.what.word()));
        }
    }
}
