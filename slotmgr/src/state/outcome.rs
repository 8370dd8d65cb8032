//! What became of the last installation: the record, held against the bootloader.

use super::{Job, JobStage};
use crate::boot::{BootState, Standing};
use crate::slot::{Layout, Running};

/// What became of the last installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is known of one.
    None,
    /// It runs now, or was cut off; the target is not started.
    Unfinished,
    /// It could not be written.
    Failed {
        /// Why.
        reason: String,
    },
    /// Written and proven, and not to be started before somebody says so.
    Written,
    /// It waits for the next start of the machine.
    Waiting,
    /// It runs, on trial.
    OnTrial,
    /// It ran and proved itself.
    Confirmed,
    /// It was started and did not prove itself: the old system is back.
    FellBack {
        /// What a check said, if it came so far.
        reason: Option<String>,
    },
}

impl Outcome {
    /// As in answers for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::None => "none",
            Outcome::Unfinished => "unfinished",
            Outcome::Failed { .. } => "failed",
            Outcome::Written => "written",
            Outcome::Waiting => "waiting",
            Outcome::OnTrial => "on-trial",
            Outcome::Confirmed => "confirmed",
            Outcome::FellBack { .. } => "fell-back",
        }
    }

    /// Why it failed, or fell.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Outcome::Failed { reason } => Some(reason),
            Outcome::FellBack { reason } => reason.as_deref(),
            _ => None,
        }
    }
}

/// Holds the record against the bootloader, row by row.
#[must_use]
pub fn outcome(
    job: Option<&Job>,
    layout: &Layout,
    booted: Running,
    state: &BootState,
    boot_id: &str,
) -> Outcome {
    let Some(job) = job else { return Outcome::None };
    let runs = booted
        .id()
        .is_some_and(|id| layout.slot(id).name.to_string() == job.target);
    let target = layout.find_called(&job.target);
    let standing = target.map_or(Standing::Bad, |id| state.standing(id));
    let next = target.is_some() && state.primary() == target;
    match &job.stage {
        JobStage::Failed { reason } => Outcome::Failed {
            reason: reason.clone(),
        },
        JobStage::Confirmed => Outcome::Confirmed,
        JobStage::Written if !runs && !next => Outcome::Written,
        // Armed, but the power went before we could write that down.
        JobStage::Installing if !runs && !next => Outcome::Unfinished,
        _ if runs && standing == Standing::Good => Outcome::Confirmed,
        _ if runs => Outcome::OnTrial,
        _ if next => Outcome::Waiting,
        JobStage::Unhealthy { reason } => Outcome::FellBack {
            reason: Some(reason.clone()),
        },
        // From outside nobody knows whether it was tried.
        _ if booted == Running::Outside => Outcome::Unfinished,
        // Not next, and we are still in the boot that armed it: somebody chose another slot.
        _ if job.boot_id == boot_id => Outcome::Unfinished,
        _ => Outcome::FellBack { reason: None },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Release;
    use super::*;
    use crate::slot::{Access, BootName, Evidence, Slot, SlotKind, SlotName, SlotOptions};

    fn layout() -> Layout {
        let slot = |name: &str, boot: &str| Slot {
            name: SlotName::parse(name).unwrap(),
            device: format!("/dev/{boot}").into(),
            kind: SlotKind::Raw,
            boot_name: Some(BootName::parse(boot).unwrap()),
            parent: None,
            access: Access::Writable,
            options: SlotOptions::default(),
        };
        Layout::new(vec![slot("rootfs.0", "A"), slot("rootfs.1", "B")]).unwrap()
    }

    /// The last installation went into B.
    fn become_of(
        stage: JobStage,
        running: &str,
        b: Standing,
        order: [usize; 2],
        boot: &str,
    ) -> Outcome {
        let layout = layout();
        let ids: Vec<_> = layout.iter().map(|(id, _)| id).collect();
        let evidence = Evidence {
            chosen: Some(running.into()),
            ..Evidence::default()
        };
        let booted = layout.booted(&evidence).unwrap();
        let state = BootState {
            order: order.iter().map(|i| ids[*i]).collect(),
            standings: BTreeMap::from([(ids[0], Standing::Good), (ids[1], b)]),
        };
        let job = Job {
            transaction: String::new(),
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
        };
        outcome(Some(&job), &layout, booted, &state, boot)
    }

    #[test]
    fn one_row_for_each_state_that_a_crash_can_leave() {
        use Standing::{Bad, Good, Trial};
        let armed = || JobStage::Armed { tries: 2 };
        let unhealthy = || JobStage::Unhealthy {
            reason: "check app".into(),
        };
        let fell_back = |reason: Option<&str>| Outcome::FellBack {
            reason: reason.map(Into::into),
        };
        let table = [
            (
                JobStage::Installing,
                "A",
                Bad,
                [0, 1],
                "boot-1",
                Outcome::Unfinished,
            ),
            (
                JobStage::Installing,
                "A",
                Bad,
                [0, 1],
                "boot-2",
                Outcome::Unfinished,
            ),
            (
                JobStage::Installing,
                "A",
                Trial { left: 2 },
                [1, 0],
                "boot-1",
                Outcome::Waiting,
            ),
            (
                JobStage::Installing,
                "B",
                Trial { left: 1 },
                [1, 0],
                "boot-2",
                Outcome::OnTrial,
            ),
            (
                armed(),
                "A",
                Trial { left: 2 },
                [1, 0],
                "boot-1",
                Outcome::Waiting,
            ),
            (
                armed(),
                "A",
                Trial { left: 2 },
                [0, 1],
                "boot-1",
                Outcome::Unfinished,
            ),
            (
                armed(),
                "B",
                Trial { left: 1 },
                [1, 0],
                "boot-2",
                Outcome::OnTrial,
            ),
            (
                armed(),
                "B",
                Trial { left: 0 },
                [1, 0],
                "boot-2",
                Outcome::OnTrial,
            ),
            (armed(), "B", Good, [1, 0], "boot-2", Outcome::Confirmed),
            (
                armed(),
                "A",
                Trial { left: 0 },
                [1, 0],
                "boot-2",
                fell_back(None),
            ),
            (armed(), "A", Bad, [1, 0], "boot-2", fell_back(None)),
            (
                unhealthy(),
                "B",
                Trial { left: 1 },
                [1, 0],
                "boot-1",
                Outcome::OnTrial,
            ),
            (
                unhealthy(),
                "A",
                Trial { left: 1 },
                [1, 0],
                "boot-2",
                Outcome::Waiting,
            ),
            (
                unhealthy(),
                "A",
                Trial { left: 0 },
                [1, 0],
                "boot-2",
                fell_back(Some("check app")),
            ),
            (
                JobStage::Confirmed,
                "B",
                Good,
                [1, 0],
                "boot-2",
                Outcome::Confirmed,
            ),
            (
                JobStage::Failed {
                    reason: "no".into(),
                },
                "A",
                Bad,
                [0, 1],
                "boot-1",
                Outcome::Failed {
                    reason: "no".into(),
                },
            ),
        ];
        for (number, (stage, running, b, order, boot, expected)) in table.into_iter().enumerate() {
            assert_eq!(
                become_of(stage, running, b, order, boot),
                expected,
                "row {number}"
            );
        }
    }
}
