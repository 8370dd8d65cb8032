//! Jobs and events as `a{sv}`, both ways: what we send is what our own client reads.

use std::collections::HashMap;

use zbus::{OwnedVariant, Variant};

use super::failure::Failure;
use super::wire::{Builder, Dict};
use crate::events::{Entry, Facts, Moment, What};
use crate::install::Stage;
use crate::service::{JobState, JobStatus, Pace};
use crate::state::Release;

/// A job, for the bus.
pub(super) fn job(job: &JobStatus) -> Result<Dict, Failure> {
    let mut dict = Builder::new();
    dict.put("id", job.id.clone());
    dict.put("transaction", job.transaction.clone());
    dict.put("source", job.source.clone());
    dict.put("state", job.state.word());
    dict.put("started", job.started);
    dict.maybe("ended", job.ended);
    if let Some(pace) = &job.pace {
        dict.put("stage", pace.stage.name());
        dict.put("done", pace.done);
        dict.put("total", pace.total);
        dict.put("rate", pace.rate);
        dict.maybe("left", pace.left);
    }
    release(&mut dict, job.release.as_ref());
    dict.maybe("slot", job.slot.clone());
    dict.maybe("bootname", job.bootname.clone());
    dict.maybe("tries", job.tries.map(u32::from));
    dict.maybe("error", job.error.clone());
    dict.finish()
}

fn release(dict: &mut Builder, release: Option<&Release>) {
    let Some(release) = release else { return };
    dict.put("compatible", release.compatible.clone());
    dict.maybe("version", release.version.clone());
    dict.put("manifest-sha256", release.manifest_sha256.clone());
}

/// What happened, for the bus.
pub(super) fn event(entry: &Entry) -> Result<Dict, Failure> {
    let (moment, facts) = (&entry.moment, &entry.facts);
    let mut dict = Builder::new();
    dict.put("what", entry.what.word());
    dict.put("at", moment.at);
    dict.put("boot-id", moment.boot_id.clone());
    dict.put("uptime-ms", moment.uptime_ms);
    dict.maybe("job", facts.job.clone());
    dict.maybe("transaction", facts.transaction.clone());
    dict.maybe("source", facts.source.clone());
    release(&mut dict, facts.release.as_ref());
    dict.maybe("slot", facts.slot.clone());
    dict.maybe("bootname", facts.bootname.clone());
    dict.maybe("tries", facts.tries.map(u32::from));
    dict.maybe("why", facts.why.clone());
    dict.finish()
}

/// What comes from the bus: keys that are missing, or of another type, are not there.
struct Found(HashMap<String, OwnedVariant>);

impl Found {
    fn text(&mut self, key: &str) -> Option<String> {
        self.0.remove(key).and_then(|value| value.try_into().ok())
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        match *self.0.remove(key)? {
            Variant::U32(number) => Some(u64::from(number)),
            Variant::U64(number) => Some(number),
            Variant::I64(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    fn time(&mut self, key: &str) -> Option<i64> {
        i64::try_from(self.number(key)?).ok()
    }

    fn tries(&mut self) -> Option<u8> {
        u8::try_from(self.number("tries")?).ok()
    }

    fn release(&mut self) -> Option<Release> {
        Some(Release {
            compatible: self.text("compatible")?,
            version: self.text("version"),
            manifest_sha256: self.text("manifest-sha256").unwrap_or_default(),
        })
    }

    fn pace(&mut self) -> Option<Pace> {
        Some(Pace {
            stage: Stage::of_name(&self.text("stage")?)?,
            done: self.number("done")?,
            total: self.number("total")?,
            rate: self.number("rate").unwrap_or_default(),
            left: self.number("left"),
        })
    }
}

/// A job from the bus; none if it has no state that we know.
pub(super) fn job_of(dict: Dict) -> Option<JobStatus> {
    let mut found = Found(dict);
    Some(JobStatus {
        id: found.text("id")?,
        transaction: found.text("transaction").unwrap_or_default(),
        source: found.text("source").unwrap_or_default(),
        state: JobState::of_word(&found.text("state")?)?,
        pace: found.pace(),
        release: found.release(),
        slot: found.text("slot"),
        bootname: found.text("bootname"),
        tries: found.tries(),
        error: found.text("error"),
        started: found.time("started").unwrap_or_default(),
        ended: found.time("ended"),
    })
}

/// What happened, from the bus; none if this version does not know it.
pub(super) fn event_of(dict: Dict) -> Option<Entry> {
    let mut found = Found(dict);
    Some(Entry {
        what: What::of_word(&found.text("what")?)?,
        moment: Moment {
            at: found.time("at").unwrap_or_default(),
            boot_id: found.text("boot-id").unwrap_or_default(),
            uptime_ms: found.number("uptime-ms").unwrap_or_default(),
        },
        facts: Facts {
            job: found.text("job"),
            transaction: found.text("transaction"),
            source: found.text("source"),
            release: found.release(),
            slot: found.text("slot"),
            bootname: found.text("bootname"),
            tries: found.tries(),
            why: found.text("why"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        Release {
            compatible: "board".into(),
            version: Some("7".into()),
            manifest_sha256: "ab".into(),
        }
    }

    #[test]
    fn jobs_come_back_as_they_went() {
        let full = JobStatus {
            id: "1".into(),
            transaction: "t".into(),
            source: "/b".into(),
            state: JobState::Stopping,
            pace: Some(Pace {
                stage: Stage::ReadBack,
                done: 1,
                total: u64::MAX,
                rate: 3,
                left: Some(4),
            }),
            release: Some(release()),
            slot: Some("rootfs.1".into()),
            bootname: Some("B".into()),
            tries: Some(3),
            error: Some("no".into()),
            started: 5,
            ended: Some(6),
        };
        assert_eq!(job_of(job(&full).unwrap()), Some(full));
        let empty = JobStatus {
            id: "1".into(),
            ..JobStatus::default()
        };
        assert_eq!(job_of(job(&empty).unwrap()), Some(empty));
    }

    #[test]
    fn events_come_back_as_they_went() {
        let entry = Entry {
            moment: Moment {
                at: 7,
                boot_id: "b".into(),
                uptime_ms: 9,
            },
            what: What::InstallRejected,
            facts: Facts {
                release: Some(release()),
                why: Some("no".into()),
                ..Facts::default()
            },
        };
        assert_eq!(event_of(event(&entry).unwrap()), Some(entry));
    }
}
