//! The record: two copies, written in turn, the newer whole one counts.

use bundle_format::Version;

use super::body::{Body, SCHEMA};
use super::codec::{self, Copy};
use super::history::{MAX_EVENTS, count_fall, tail};
use super::{
    Baseline, CheckWords, Event, EventKind, FellBack, Job, JobStage, Release, SlotRecord,
    SlotStatus, Traces, When, error_chain,
};
use crate::boot::Tries;
use crate::slot::{History, Layout, SlotId};
use crate::storage::{Area, Disks, OpenError, RecordCopy, read_all};

/// Bytes of each copy. Both files are made with this size once and never grow.
pub const RECORD_SIZE: usize = 16 * 1024;

/// Bytes of a reason that are kept; checks can say a lot.
const MAX_REASON: usize = 1_000;

/// What is remembered, and in which copy it stands.
#[derive(Debug, Clone, Default)]
pub struct Record {
    body: Body,
    generation: u64,
    /// The copy that the next write goes to: the one that does not count now.
    next: Option<RecordCopy>,
    /// What was noted since it was read.
    news: Vec<Event>,
}

impl Record {
    /// Reads both copies; without a whole one the record is empty.
    pub fn load(disks: &mut dyn Disks) -> Record {
        let first = load_copy(disks, RecordCopy::First);
        let second = load_copy(disks, RecordCopy::Second);
        let (newest, next) = match (first, second) {
            (Some(first), Some(second)) if first.generation > second.generation => {
                (Some(first), RecordCopy::Second)
            }
            (Some(first), None) => (Some(first), RecordCopy::Second),
            (_, second) => (second, RecordCopy::First),
        };
        let mut record = Record {
            next: Some(next),
            ..Record::default()
        };
        if let Some(copy) = newest {
            record.generation = copy.generation;
            match serde_json::from_slice(&copy.text) {
                Ok(body) => record.body = body,
                Err(error) => tracing::warn!(%error, "the record is not understood; starting anew"),
            }
        }
        record
    }

    /// The last installation.
    #[must_use]
    pub fn job(&self) -> Option<&Job> {
        self.body.job.as_ref()
    }

    /// What is known of a slot's content.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<&SlotRecord> {
        self.body.slots.get(name)
    }

    /// What is known of a slot, for the choice among several.
    #[must_use]
    pub fn history(&self, layout: &Layout, id: SlotId) -> History {
        match self.slot(&layout.slot(id).name.to_string()) {
            None => History::Never,
            Some(slot) if slot.status == SlotStatus::Ok => History::Installed(slot.installed),
            Some(_) => History::Failed,
        }
    }

    /// An installation is about to write.
    pub fn begin(&mut self, disks: &mut dyn Disks, job: Job) {
        for (name, image) in &job.images {
            let count = self.slot(name).map_or(0, |slot| slot.count);
            let slot = SlotRecord {
                status: SlotStatus::Pending,
                release: job.release.clone(),
                image: image.clone(),
                installed: job.started,
                count,
            };
            self.body.slots.insert(name.clone(), slot);
        }
        self.body.job = Some(job);
        self.save(disks);
    }

    /// The slot gets another content, which no installation brings: nothing is known of it any more.
    pub fn overwritten(&mut self, disks: &mut dyn Disks, slot: &str) {
        let known = self.body.slots.remove(slot).is_some();
        let job = self.body.job.take_if(|job| job.images.contains_key(slot));
        if known || job.is_some() {
            self.save(disks);
        }
    }

    /// How it was before the installation that is about to begin; kept with the next change.
    pub fn set_baseline(&mut self, baseline: Baseline) {
        self.body.baseline = baseline;
    }

    /// How it was before the last installation.
    #[must_use]
    pub fn baseline(&self) -> &Baseline {
        &self.body.baseline
    }

    /// What happened, the oldest first.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.body.events
    }

    /// The last fall back to the old system, if it is the last installation's.
    #[must_use]
    pub fn fell_back(&self) -> Option<&FellBack> {
        let job = self.job()?;
        let known = self.body.fell_back.as_ref();
        known.filter(|fall| fall.transaction == job.transaction)
    }

    /// How often this very bundle was installed and did not stay.
    #[must_use]
    pub fn falls(&self, release: &Release) -> u32 {
        let mut falls = self.body.falls.iter();
        falls
            .find(|falls| falls.manifest_sha256 == release.manifest_sha256)
            .map_or(0, |falls| falls.count)
    }

    /// No older version is installed, where the configuration says so.
    #[must_use]
    pub fn version_floor(&self) -> Option<Version> {
        self.body.floor.version()
    }

    /// The installation is done and armed.
    pub fn armed(&mut self, disks: &mut dyn Disks, tries: Tries) {
        self.end_writing(
            SlotStatus::Ok,
            JobStage::Armed {
                tries: tries.count(),
            },
        );
        self.body.words.clear();
        self.note(EventKind::Installed, None, None);
        self.save(disks);
    }

    /// The installation is done, and somebody else decides when it is started.
    pub fn written(&mut self, disks: &mut dyn Disks) {
        self.end_writing(SlotStatus::Ok, JobStage::Written);
        self.save(disks);
    }

    /// Whether this image was written into the slot last, and found good.
    #[must_use]
    pub fn holds(&self, slot: &str, sha256: &str) -> bool {
        let known = self.slot(slot);
        known.is_some_and(|slot| slot.status == SlotStatus::Ok && slot.image.sha256 == sha256)
    }

    /// What was noted since this was asked last; for those who pass it on.
    pub fn take_news(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.news)
    }

    /// The installation was cut off: nobody was left to write down how it ended.
    pub fn cut_off(&mut self, disks: &mut dyn Disks) {
        self.failed(
            disks,
            "it was cut off: the program was killed, or power failed",
        );
    }

    /// The installation failed.
    pub fn failed(&mut self, disks: &mut dyn Disks, reason: &str) {
        let reason = shorten(reason);
        self.note(EventKind::InstallFailed, Some(&reason), None);
        self.end_writing(SlotStatus::Failed, JobStage::Failed { reason });
        self.save(disks);
    }

    /// The new system is not kept; `words` are those of its failed checks.
    ///
    /// Said twice in one boot (by a slotmgr that was killed in between), it is written once.
    pub fn unhealthy(
        &mut self,
        disks: &mut dyn Disks,
        reason: &str,
        words: Vec<CheckWords>,
        when: When<'_>,
    ) {
        let known = |job: &Job| {
            matches!(job.stage, JobStage::Unhealthy { .. }) && job.boot_id == when.boot_id
        };
        if self.job().is_some_and(known) {
            return;
        }
        let reason = shorten(reason);
        self.note(EventKind::Unhealthy, Some(&reason), Some(when));
        self.set_stage(JobStage::Unhealthy { reason }, when.boot_id);
        self.body.words = CheckWords::shortened(words);
        self.save(disks);
    }

    /// The running system has proved itself.
    pub fn confirmed(&mut self, disks: &mut dyn Disks, when: When<'_>) {
        self.note(EventKind::Confirmed, None, Some(when));
        self.set_stage(JobStage::Confirmed, when.boot_id);
        self.body.words.clear();
        if let Some(job) = &self.body.job {
            self.body.floor.raise(&job.release);
            let digest = &job.release.manifest_sha256;
            self.body
                .falls
                .retain(|falls| falls.manifest_sha256 != *digest);
        }
        self.save(disks);
    }

    /// The old system is back, and has found these traces. Counted and written once for an
    /// installation.
    pub fn note_fall(
        &mut self,
        disks: &mut dyn Disks,
        reason: Option<&str>,
        traces: Traces,
        when: When<'_>,
    ) {
        let Some(job) = self
            .body
            .job
            .as_ref()
            .filter(|_| self.fell_back().is_none())
        else {
            return;
        };
        count_fall(&mut self.body.falls, &job.release);
        self.body.fell_back = Some(FellBack {
            transaction: job.transaction.clone(),
            release: job.release.clone(),
            reason: reason.map(shorten),
            checks: std::mem::take(&mut self.body.words),
            traces: traces.shortened(),
            at: when.now,
        });
        self.note(EventKind::FellBack, reason, Some(when));
        self.save(disks);
    }

    /// Somebody asked for the other system.
    pub fn rolled_back_by_hand(&mut self, disks: &mut dyn Disks, when: When<'_>) {
        self.note(EventKind::RolledBackByHand, None, Some(when));
        self.save(disks);
    }

    /// Events of an installation have its own time.
    fn note(&mut self, what: EventKind, why: Option<&str>, when: Option<When<'_>>) {
        let Some(job) = &self.body.job else { return };
        let event = Event {
            at: when.map_or(job.started, |when| when.now),
            what,
            release: job.release.clone(),
            slot: job.target.clone(),
            transaction: Some(job.transaction.clone()),
            why: why.map(str::to_owned),
        }
        .shortened();
        self.news.push(event.clone());
        self.body.events.push(event);
        let surplus = self.body.events.len().saturating_sub(MAX_EVENTS);
        self.body.events.drain(..surplus);
    }

    fn end_writing(&mut self, status: SlotStatus, stage: JobStage) {
        let Some(job) = &mut self.body.job else {
            return;
        };
        job.stage = stage;
        for name in job.images.keys() {
            if let Some(slot) = self.body.slots.get_mut(name) {
                slot.status = status;
                slot.count += u64::from(status == SlotStatus::Ok);
            }
        }
    }

    fn set_stage(&mut self, stage: JobStage, boot_id: &str) {
        if let Some(job) = &mut self.body.job {
            job.stage = stage;
            boot_id.clone_into(&mut job.boot_id);
        }
    }

    /// Writes the copy that does not count, so that a torn write loses nothing.
    ///
    /// A failure is logged, never returned: see [`crate::state`].
    fn save(&mut self, disks: &mut dyn Disks) {
        let Some(next) = self.next else { return };
        match self.try_save(disks, next) {
            Ok(()) => self.next = Some(other(next)),
            Err(OpenError::Absent(_)) => {} // No data-directory: nothing is remembered, by choice.
            Err(error) => tracing::warn!(error = error_chain(&error), "cannot keep the record"),
        }
    }

    fn try_save(&mut self, disks: &mut dyn Disks, copy: RecordCopy) -> Result<(), OpenError> {
        self.body.schema = SCHEMA;
        let what = format!("the record ({copy:?} copy)");
        let path = std::path::PathBuf::new;
        let io = |source| OpenError::Open {
            what: what.clone(),
            path: path(),
            source,
        };
        let mut storage = disks.open(Area::Record(copy))?;
        let size = usize::try_from(storage.len()).unwrap_or(usize::MAX);
        let bytes = loop {
            let text = serde_json::to_vec(&self.body).map_err(|e| io(std::io::Error::other(e)))?;
            let generation = self.generation + 1;
            match codec::encode(&Copy { generation, text }, size) {
                Some(bytes) => break bytes,
                None if self.body.make_room() => {}
                None => return Err(io(std::io::Error::other("it has grown too large"))),
            }
        };
        storage.write_at(&bytes, 0).map_err(io)?;
        storage.sync().map_err(io)?;
        self.generation += 1;
        Ok(())
    }
}

fn other(copy: RecordCopy) -> RecordCopy {
    match copy {
        RecordCopy::First => RecordCopy::Second,
        RecordCopy::Second => RecordCopy::First,
    }
}

fn load_copy(disks: &mut dyn Disks, copy: RecordCopy) -> Option<Copy> {
    let mut storage = match disks.open(Area::Record(copy)) {
        Ok(storage) => storage,
        Err(OpenError::Absent(_)) => return None,
        Err(error) => {
            tracing::warn!(
                error = error_chain(&error),
                "cannot read one copy of the record"
            );
            return None;
        }
    };
    match read_all(storage.as_mut(), RECORD_SIZE as u64) {
        Ok(bytes) => codec::decode(&bytes),
        Err(error) => {
            tracing::warn!(%error, "cannot read one copy of the record");
            None
        }
    }
}

fn shorten(reason: &str) -> String {
    tail(reason, MAX_REASON)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Job, Release};
    use super::*;
    use crate::storage::sim::{Keep, World};

    const WHEN: When<'static> = When {
        boot_id: "boot2",
        now: 2_000,
    };

    fn world() -> World {
        let world = World::new();
        for copy in [RecordCopy::First, RecordCopy::Second] {
            world.add(Area::Record(copy), vec![0; RECORD_SIZE]);
        }
        world
    }

    fn job(version: &str) -> Job {
        Job {
            transaction: "t".into(),
            release: Release {
                compatible: "board".into(),
                version: Some(version.into()),
                manifest_sha256: "00".into(),
            },
            target: "rootfs.1".into(),
            images: BTreeMap::new(),
            stage: JobStage::Installing,
            boot_id: "boot".into(),
            started: 1,
        }
    }

    fn version(world: &World) -> Option<String> {
        Record::load(&mut world.clone())
            .job()
            .and_then(|job| job.release.version.clone())
    }

    #[test]
    fn a_cut_at_any_operation_leaves_the_old_or_the_new_record() {
        for cut in 0..2 {
            let mut world = world();
            let mut record = Record::load(&mut world);
            for number in ["1", "2", "3"] {
                record.begin(&mut world, job(number));
            }
            world.cut_at(world.operations() + cut);
            record.begin(&mut world, job("4"));
            assert!(world.is_off());
            for kept in 0..=world.unconfirmed() {
                let after = version(&world.power_on(Keep::Prefix(kept)));
                assert!(
                    matches!(after.as_deref(), Some("3" | "4")),
                    "{cut} {kept} {after:?}"
                );
            }
        }
    }

    #[test]
    fn what_a_later_version_wrote_is_kept() {
        let mut world = world();
        let mut record = Record::load(&mut world);
        record
            .body
            .unknown
            .insert("later".into(), serde_json::json!({"version": 12}));
        record.begin(&mut world, job("1"));
        let mut again = Record::load(&mut world);
        again.confirmed(&mut world, WHEN);
        let last = Record::load(&mut world);
        assert_eq!(last.body.unknown["later"]["version"], 12);
        assert_eq!(last.job().unwrap().stage, JobStage::Confirmed);
    }

    #[test]
    fn no_place_to_write_is_no_error() {
        let mut world = World::new();
        let mut record = Record::load(&mut world);
        record.begin(&mut world, job("1"));
        assert_eq!(record.job().unwrap().release.label(), "version 1");
    }

    #[test]
    fn a_fall_is_counted_once_for_each_installation_and_forgotten_when_it_proves_itself() {
        let mut world = world();
        let mut record = Record::load(&mut world);
        for number in 1..=3_u32 {
            let transaction = number.to_string();
            record.begin(
                &mut world,
                Job {
                    transaction,
                    ..job("1")
                },
            );
            let words = vec![CheckWords {
                name: "app".into(),
                verdict: "failed".into(),
                output: "no database\n".repeat(10_000),
            }];
            record.unhealthy(&mut world, "check `app` failed", words, WHEN);
            let mut later = Record::load(&mut world);
            for _ in 0..2 {
                later.note_fall(&mut world, Some("no"), Traces::default(), WHEN);
            }
            record = Record::load(&mut world);
            let release = record.job().unwrap().release.clone();
            assert_eq!(record.falls(&release), number);
            let fall = record.fell_back().unwrap();
            assert!(fall.checks[0].output.ends_with("no database"));
        }
        record.confirmed(&mut world, WHEN);
        let release = record.job().unwrap().release.clone();
        assert_eq!(Record::load(&mut world).falls(&release), 0);
    }

    #[test]
    fn however_much_happens_it_fits() {
        let mut world = world();
        let mut record = Record::load(&mut world);
        let long = "\u{1}\"\\ä".repeat(100_000);
        for number in 0..100 {
            let transaction = number.to_string();
            record.begin(
                &mut world,
                Job {
                    transaction,
                    ..job("1")
                },
            );
            let word = CheckWords {
                name: long.clone(),
                verdict: long.clone(),
                output: long.clone(),
            };
            let boot_id = &number.to_string();
            let when = When {
                boot_id,
                now: number,
            };
            record.unhealthy(&mut world, &long, vec![word; 100], when);
            let traces = Traces {
                watchdog_reset: Some(true),
                journal: long.clone(),
                pstore: long.clone(),
            };
            record.note_fall(&mut world, Some(&long), traces, when);
            let kept = Record::load(&mut world);
            assert_eq!(
                kept.fell_back().unwrap().at,
                number,
                "the last is always kept"
            );
        }
    }
}
