//! What a crash left, put right: the bootloader is the truth, and record and journal follow it.

use super::{Job, JobStage, Outcome};
use crate::events::{Entry, Facts, What};

/// What has to be written into the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// It says what is so.
    Nothing,
    /// The installation came to its commit point, and nobody could write that down any more.
    Armed,
    /// It was cut off before.
    CutOff,
}

/// Compares the record with what became of the last installation. Only for who knows that no
/// installation runs.
#[must_use]
pub fn repair(job: Option<&Job>, found: &Outcome) -> Repair {
    let Some(Job {
        stage: JobStage::Installing,
        ..
    }) = job
    else {
        // Every other stage was written after the bootloader was told, or tells of a later boot:
        // `outcome` makes of it what the bootloader says.
        return Repair::Nothing;
    };
    match found {
        Outcome::Waiting | Outcome::OnTrial | Outcome::Confirmed | Outcome::FellBack { .. } => {
            Repair::Armed
        }
        Outcome::Unfinished | Outcome::None | Outcome::Failed { .. } | Outcome::Written => {
            Repair::CutOff
        }
    }
}

/// What the journal lacks: the ends of installations that began and of which nobody could write
/// down the end. `job` is the record's, put right.
#[must_use]
pub fn missing_ends(entries: &[(u64, Entry)], job: Option<&Job>) -> Vec<(What, Facts)> {
    let mut open: Vec<Facts> = Vec::new();
    for (_, entry) in entries {
        match entry.what {
            What::InstallStarted => open.push(entry.facts.clone()),
            what if what.ends_job() => open.retain(|facts| facts.job != entry.facts.job),
            _ => {}
        }
    }
    let last = open.len().saturating_sub(1);
    let closed = open.into_iter().enumerate().map(|(number, facts)| {
        // An older one of the same name was not the one that the record knows.
        let job = job.filter(|job| {
            number == last && facts.transaction.as_deref() == Some(job.transaction.as_str())
        });
        close(facts, job)
    });
    closed.collect()
}

fn close(mut facts: Facts, job: Option<&Job>) -> (What, Facts) {
    let interrupted = |mut facts: Facts| {
        facts.why = Some("the program was killed, or power failed".to_owned());
        (What::InstallInterrupted, facts)
    };
    let Some(job) = job else {
        return interrupted(facts);
    };
    facts.release = Some(job.release.clone());
    facts.slot = Some(job.target.clone());
    match &job.stage {
        JobStage::Armed { tries } => {
            facts.tries = Some(*tries);
            (What::Installed, facts)
        }
        JobStage::Confirmed | JobStage::Unhealthy { .. } => (What::Installed, facts),
        JobStage::Written => (What::Written, facts),
        JobStage::Installing | JobStage::Failed { .. } => interrupted(facts),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Release;
    use super::*;
    use crate::events::Moment;

    fn job(stage: JobStage) -> Job {
        Job {
            transaction: "t".into(),
            release: Release {
                compatible: "c".into(),
                version: None,
                manifest_sha256: "f".into(),
            },
            target: "rootfs.1".into(),
            images: BTreeMap::new(),
            stage,
            boot_id: "boot-1".into(),
            started: 0,
        }
    }

    fn failed() -> JobStage {
        JobStage::Failed { reason: "x".into() }
    }

    fn unhealthy() -> JobStage {
        JobStage::Unhealthy { reason: "x".into() }
    }

    #[test]
    fn one_row_for_each_state_that_a_crash_can_leave_in_the_record() {
        use JobStage::{Confirmed, Installing, Written};
        let fell = || Outcome::FellBack { reason: None };
        let armed = || JobStage::Armed { tries: 3 };
        let table = [
            // Killed, or without power, before the commit point.
            (Installing, Outcome::Unfinished, Repair::CutOff),
            // At the commit point: the bootloader's change was durable, the record's was not.
            (Installing, Outcome::Waiting, Repair::Armed),
            // The same, and the machine was started meanwhile: on trial, confirmed, fallen.
            (Installing, Outcome::OnTrial, Repair::Armed),
            (Installing, Outcome::Confirmed, Repair::Armed),
            (Installing, fell(), Repair::Armed),
            // The record is as far as the bootloader, or the bootloader went on without it.
            (Written, Outcome::Written, Repair::Nothing),
            (Written, Outcome::Waiting, Repair::Nothing),
            (armed(), Outcome::Waiting, Repair::Nothing),
            (armed(), Outcome::Unfinished, Repair::Nothing),
            (armed(), Outcome::OnTrial, Repair::Nothing),
            (armed(), Outcome::Confirmed, Repair::Nothing),
            (armed(), fell(), Repair::Nothing),
            (unhealthy(), fell(), Repair::Nothing),
            (unhealthy(), Outcome::OnTrial, Repair::Nothing),
            (Confirmed, Outcome::Confirmed, Repair::Nothing),
            (
                failed(),
                Outcome::Failed { reason: "x".into() },
                Repair::Nothing,
            ),
        ];
        for (number, (stage, found, expected)) in table.into_iter().enumerate() {
            assert_eq!(repair(Some(&job(stage)), &found), expected, "row {number}");
        }
        // No record, or a lost one.
        assert_eq!(repair(None, &Outcome::None), Repair::Nothing);
    }

    fn entry(what: What, job: &str, transaction: &str) -> (u64, Entry) {
        let facts = Facts {
            job: Some(job.into()),
            transaction: Some(transaction.into()),
            ..Facts::default()
        };
        let moment = Moment::default();
        (
            0,
            Entry {
                moment,
                what,
                facts,
            },
        )
    }

    #[test]
    fn one_row_for_each_end_that_a_crash_can_keep_out_of_the_journal() {
        let table = [
            (JobStage::Installing, What::InstallInterrupted),
            (failed(), What::InstallInterrupted),
            (JobStage::Written, What::Written),
            (JobStage::Armed { tries: 2 }, What::Installed),
            (unhealthy(), What::Installed),
            (JobStage::Confirmed, What::Installed),
        ];
        let begun = [entry(What::InstallStarted, "2", "t")];
        for (stage, expected) in table {
            let ends = missing_ends(&begun, Some(&job(stage)));
            assert_eq!(ends.len(), 1);
            assert_eq!(ends[0].0, expected);
            assert_eq!(ends[0].1.job.as_deref(), Some("2"));
        }
        // The record knows of another one, or of none: it never came so far.
        let other = [entry(What::InstallStarted, "1", "other")];
        let armed = job(JobStage::Armed { tries: 2 });
        assert_eq!(
            missing_ends(&other, Some(&armed))[0].0,
            What::InstallInterrupted
        );
        assert_eq!(missing_ends(&other, None)[0].0, What::InstallInterrupted);
        // Of two of one name only the last can be the record's.
        let twice = [
            entry(What::InstallStarted, "1", "t"),
            entry(What::InstallStarted, "2", "t"),
        ];
        let ends = missing_ends(&twice, Some(&armed));
        assert_eq!(ends[0].0, What::InstallInterrupted);
        assert_eq!(ends[1].0, What::Installed);
    }

    #[test]
    fn ends_that_are_there_are_not_told_again() {
        let told = [
            entry(What::InstallStarted, "1", "t"),
            entry(What::Writing, "1", "t"),
            entry(What::InstallFailed, "1", "t"),
        ];
        assert!(missing_ends(&told, None).is_empty());
    }
}
