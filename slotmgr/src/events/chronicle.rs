//! The journal and the record, told as one.
//!
//! The journal is the longer one and may be lost; the record keeps only the last events of
//! installations and trials, and loses nothing.

use super::{Entry, Facts, Moment, What};
use crate::state::{Event, EventKind};

impl From<EventKind> for What {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::Installed => What::Installed,
            EventKind::InstallFailed => What::InstallFailed,
            EventKind::Unhealthy => What::Unhealthy,
            EventKind::Confirmed => What::Confirmed,
            EventKind::FellBack => What::FellBack,
            EventKind::RolledBackByHand => What::RolledBackByHand,
        }
    }
}

impl From<Event> for Facts {
    fn from(event: Event) -> Self {
        Facts {
            transaction: event.transaction,
            release: Some(event.release),
            slot: Some(event.slot),
            why: event.why,
            ..Facts::default()
        }
    }
}

/// Everything that is known to have happened, the oldest first: `entries` of the journal, and of
/// what the record `noted` whatever the journal does not have.
#[must_use]
pub fn chronicle(mut entries: Vec<Entry>, noted: &[Event]) -> Vec<Entry> {
    let missing: Vec<Entry> = noted
        .iter()
        .filter(|event| !entries.iter().any(|entry| is_told(entry, event)))
        .map(|event| Entry {
            moment: Moment {
                at: event.at,
                ..Moment::default()
            },
            what: event.what.into(),
            facts: event.clone().into(),
        })
        .collect();
    entries.extend(missing);
    // Stable: the journal stays in its order where clocks say nothing.
    entries.sort_by_key(|entry| entry.moment.at);
    entries
}

/// Whether the journal has what the record noted. The record gives an installation the time at which
/// it began, and knows one kind of bad end.
fn is_told(entry: &Entry, event: &Event) -> bool {
    let same = entry.facts.transaction == event.transaction;
    let what = What::from(event.what);
    match what {
        What::Installed => same && entry.what == what,
        What::InstallFailed => same && entry.what.ends_job() && entry.moment.at >= event.at,
        _ => same && entry.what == what && entry.moment.at == event.at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Release;

    fn noted(at: i64, what: EventKind) -> Event {
        Event {
            at,
            what,
            release: Release {
                compatible: "c".into(),
                version: None,
                manifest_sha256: "f".into(),
            },
            slot: "rootfs.1".into(),
            transaction: Some("t".into()),
            why: None,
        }
    }

    fn told(at: i64, what: What) -> Entry {
        Entry {
            moment: Moment {
                at,
                ..Moment::default()
            },
            what,
            facts: noted(at, EventKind::Installed).into(),
        }
    }

    fn words(entries: Vec<Entry>, noted: &[Event]) -> Vec<What> {
        let all = chronicle(entries, noted);
        all.into_iter().map(|entry| entry.what).collect()
    }

    #[test]
    fn nothing_is_told_twice_and_nothing_is_lost() {
        let record = [
            noted(1, EventKind::InstallFailed),
            noted(10, EventKind::Installed),
            noted(30, EventKind::Unhealthy),
            noted(40, EventKind::Unhealthy),
        ];
        let journal = vec![
            told(2, What::InstallStopped),
            told(10, What::InstallStarted),
            told(20, What::Installed),
            told(30, What::Unhealthy),
        ];
        let both = words(journal, &record);
        assert_eq!(
            both,
            [
                What::InstallStopped,
                What::InstallStarted,
                What::Installed,
                What::Unhealthy,
                What::Unhealthy,
            ]
        );
        // The journal is lost.
        assert_eq!(words(Vec::new(), &record).len(), record.len());
    }
}
