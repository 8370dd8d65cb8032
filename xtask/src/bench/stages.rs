//! Where the time of an installation goes, as slotmgr's own journal tells it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// The stages of one installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stages {
    /// From the request to the first write: opening and checking the bundle.
    check: Duration,
    write: Duration,
    sync: Duration,
    read_back: Duration,
}

impl Stages {
    /// Of those that `history` (the answer of `slotmgr history --json`) has, the one in the middle by the
    /// time up to the sync.
    ///
    /// # Errors
    /// It has none that came to its end.
    pub fn median(history: &str) -> Result<Self> {
        let history: Value = serde_json::from_str(history).context("slotmgr history --json")?;
        let events = history["events"].as_array().map_or(&[][..], Vec::as_slice);
        let beginnings = events.iter().enumerate();
        let beginnings = beginnings.filter(|(_, event)| event["what"] == "install-started");
        let mut all: Vec<Self> = beginnings
            .filter_map(|(start, _)| Self::of(&events[start..]))
            .collect();
        all.sort_by_key(Self::up_to_the_sync);
        let middle = all.get(all.len() / 2).copied();
        middle.context("the journal has no installation that came to its end")
    }

    fn of(events: &[Value]) -> Option<Self> {
        let at = |what: &str| {
            let event = events.iter().find(|event| event["what"] == what)?;
            event["uptime-ms"].as_u64().map(Duration::from_millis)
        };
        let (start, writing) = (at("install-started")?, at("writing")?);
        let (syncing, reading_back) = (at("syncing")?, at("reading-back")?);
        Some(Self {
            check: writing.checked_sub(start)?,
            write: syncing.checked_sub(writing)?,
            sync: reading_back.checked_sub(syncing)?,
            read_back: at("installed")?.checked_sub(reading_back)?,
        })
    }

    fn up_to_the_sync(&self) -> Duration {
        self.check + self.write + self.sync
    }

    /// For people to read, beside the time of the copying alone.
    pub fn told(&self, copying: Duration) -> String {
        let seconds = |time: Duration| time.as_secs_f64();
        format!(
            "check {:.2} s, write {:.2} s, sync {:.2} s, read back {:.2} s; up to the sync {:.2} s, {:.2} of dd",
            seconds(self.check),
            seconds(self.write),
            seconds(self.sync),
            seconds(self.read_back),
            seconds(self.up_to_the_sync()),
            seconds(self.up_to_the_sync()) / seconds(copying),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installation_in_the_middle_is_told() {
        let mut events = Vec::new();
        for (start, write) in [(0, 900), (10_000, 700), (20_000, 2000)] {
            for (at, what) in [
                (start, "install-started"),
                (start + 100, "writing"),
                (start + 100 + write, "syncing"),
                (start + 200 + write, "reading-back"),
                (start + 500 + write, "installed"),
            ] {
                events.push(serde_json::json!({"uptime-ms": at, "what": what}));
            }
        }
        // One that was cut off has no stages.
        events.push(serde_json::json!({"uptime-ms": 30_000, "what": "install-started"}));
        let history = serde_json::json!({ "events": events }).to_string();
        let told = Stages::median(&history)
            .unwrap()
            .told(Duration::from_secs(1));
        assert_eq!(
            told,
            "check 0.10 s, write 0.90 s, sync 0.10 s, read back 0.30 s; up to the sync 1.10 s, 1.10 of dd"
        );
        assert!(Stages::median("{\"events\": []}").is_err());
        assert!(Stages::median("nonsense").is_err());
    }
}
