//! The trial of a new system: checks, then a confirmation, or the way back.
//!
//! Whether the system is on trial is known from the bootloader, never from a file of ours. When it
//! is not, nothing is written; but an old system that finds itself back notes that, once.

pub mod check;
pub mod directory;
pub mod examine;
pub mod hooks;
pub mod notify;
pub mod preflight;
pub mod probation;
pub mod probe;
pub mod rack;
mod restart;
mod systemd;
pub mod traces;
pub mod vote;
pub mod watchdog;
pub mod window;

pub use check::{Report, Verdict};
pub use examine::{Examination, Failure};
pub use restart::restart;

use crate::boot::{self, BootError, BootState, Mark, Standing, Tries};
use crate::config::LateFallback;
use crate::install::Machine;
use crate::slot::{Booted, SlotId};
use crate::state::{CheckWords, Job, JobStage, Outcome, Release, Traces, When, outcome};

/// How a trial ended.
#[derive(Debug)]
pub enum TrialEnd {
    /// There was none: the running system is confirmed, or not under our control.
    NotOnTrial {
        /// How the bootloader stands to the running slot.
        standing: Standing,
    },
    /// All required checks passed; the bootloader starts this system from now on.
    Confirmed {
        /// What each check said.
        reports: Vec<Report>,
    },
    /// The system is not kept. Unless a check asked to give up, the bootloader's count is left
    /// alone: this try is paid.
    Failed {
        /// Why.
        reason: String,
        /// What each check said.
        reports: Vec<Report>,
        /// How many further tries the bootloader will give.
        left: u8,
    },
}

/// What a trial asks of the world.
pub trait Examiner {
    /// Runs the checks. Called only on trial.
    fn examine(&mut self) -> Examination;
    /// Looks for what a system left that did not come back. Called only by an old system that
    /// finds itself back for the first time.
    fn traces(&mut self) -> Traces;
}

/// Runs the trial of the system in `booted`, if it is on one. A failed trial is recorded; restarting
/// the machine is left to the caller ([`restart`]).
///
/// # Errors
/// When the bootloader's memory cannot be read: then nobody knows whether this is a trial.
pub fn trial(
    m: &mut Machine<'_>,
    booted: Booted,
    when: When<'_>,
    late_fallback: LateFallback,
    examiner: &mut dyn Examiner,
) -> Result<TrialEnd, BootError> {
    let state = m.env.read(m.disks)?;
    let standing = state.standing(booted.id());
    let Standing::Trial { left } = standing else {
        note_confirmation(m, &state, when);
        note_fall(m, &state, when, &mut || examiner.traces());
        return Ok(TrialEnd::NotOnTrial { standing });
    };
    let Examination { reports, failed } = examiner.examine();
    let failed = failed.or_else(|| {
        let confirm = match late_fallback {
            LateFallback::Allowed => boot::confirm,
            LateFallback::Prevented => boot::confirm_alone,
        };
        let error = confirm(m.env, m.disks, booted).err()?;
        Some(Failure::TryAgain(format!(
            "it could not be confirmed: {error}"
        )))
    });
    if let Some(failure) = failed {
        m.record
            .unhealthy(m.disks, failure.reason(), words(&reports), when);
        let left = match failure {
            Failure::TryAgain(_) => left,
            Failure::GiveUp(_) => give_up(m, booted, &state, left),
        };
        let reason = failure.reason().to_owned();
        return Ok(TrialEnd::Failed {
            reason,
            reports,
            left,
        });
    }
    // The commit is done. Nothing from here on can undo it.
    m.record.confirmed(m.disks, when);
    Ok(TrialEnd::Confirmed { reports })
}

/// On the new system, confirmed by somebody else, or by one of us that was cut off before it could
/// write that down: notes it. Once; on every other boot nothing is written.
fn note_confirmation(m: &mut Machine<'_>, state: &BootState, when: When<'_>) {
    let noted = |job: &Job| job.stage == JobStage::Confirmed;
    let found = outcome(m.record.job(), m.layout, m.booted, state, when.boot_id);
    if found == Outcome::Confirmed && !m.record.job().is_some_and(noted) {
        m.record.confirmed(m.disks, when);
    }
}

/// On the old system: notes that the new one did not stay, with what it left. Once; on every
/// other boot nothing is written.
pub fn note_fall(
    m: &mut Machine<'_>,
    state: &BootState,
    when: When<'_>,
    traces: &mut dyn FnMut() -> Traces,
) {
    if let Some(reason) = unnoted_fall(m, state, when.boot_id) {
        m.record
            .note_fall(m.disks, reason.as_deref(), traces(), when);
    }
}

/// How often a release did not stay; a fall that nobody has noted yet counts.
#[must_use]
pub fn falls(m: &Machine<'_>, state: &BootState, boot_id: &str, release: &Release) -> u32 {
    let job = m.record.job();
    let this = job.is_some_and(|job| job.release.manifest_sha256 == release.manifest_sha256);
    let unnoted = this && unnoted_fall(m, state, boot_id).is_some();
    m.record.falls(release).saturating_add(u32::from(unnoted))
}

/// The last update did not stay, and that is not in the record; why, where that is known.
fn unnoted_fall(m: &Machine<'_>, state: &BootState, boot_id: &str) -> Option<Option<String>> {
    match outcome(m.record.job(), m.layout, m.booted, state, boot_id) {
        Outcome::FellBack { reason } if m.record.fell_back().is_none() => Some(reason),
        _ => None,
    }
}

/// No further try, in one transaction; but never when nothing else could be started. Returns the
/// tries that are left.
fn give_up(m: &mut Machine<'_>, booted: Booted, state: &BootState, left: u8) -> u8 {
    let booted = booted.id();
    let other = others(booted, state).next().is_some();
    if !other {
        tracing::warn!("no other system could be started: this one keeps its tries");
        return left;
    }
    match boot::mark(
        m.env,
        m.disks,
        m.layout,
        booted,
        (Mark::Bad, Tries::DEFAULT),
    ) {
        Ok(()) => 0,
        Err(error) => {
            tracing::warn!(%error, "the tries could not be taken away; they are used up one by one");
            left
        }
    }
}

/// Slots beside the running one that the bootloader would start.
fn others(booted: SlotId, state: &BootState) -> impl Iterator<Item = SlotId> {
    let order = state.order.iter().copied();
    order.filter(move |id| *id != booted && state.standing(*id).can_start())
}

fn words(reports: &[Report]) -> Vec<CheckWords> {
    let failed = reports.iter().filter(|report| report.failed());
    failed
        .map(|report| CheckWords {
            name: report.name.clone(),
            verdict: report.verdict.to_string(),
            output: report.output.clone(),
        })
        .collect()
}
