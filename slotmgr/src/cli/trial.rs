//! `slotmgr trial`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use super::args::{Options, Trial};
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::config::SlotmgrToml;
use crate::health::hooks::{self, Occasion};
use crate::health::notify::Notify;
use crate::health::probation::Place;
use crate::health::rack::Kernel;
use crate::health::watchdog::Guard;
use crate::health::{
    self, Examination, Examiner, Failure, TrialEnd, directory, examine, probe, traces,
};
use crate::state::{Baseline, Traces, When};
use crate::storage::device::Mode;

/// A loop that says nothing for so long is taken for hung by the service manager.
const SILENCE: Duration = Duration::from_secs(30);

pub(super) fn run(
    options: &Options,
    verb: &Trial,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let mut session = Session::open(options, around, Mode::ReadWrite)?;
    let own = session.own.clone();
    let notify = Notify::new(around.notify_socket.as_ref());
    let place = Place::new(&options.run_directory, &around.boot_id);
    let mut doctor = Doctor {
        own: &own,
        output,
        notify: &notify,
        place: &place,
        probes: probes(&session.record.baseline().clone(), options, around),
        guard: None,
    };
    let when = When {
        boot_id: &around.boot_id,
        now: around.now,
    };
    let late_fallback = session.conf.system.late_fallback;
    let end = health::trial(&mut session.machine(), when, late_fallback, &mut doctor)?;
    let guard = doctor.guard.take();
    output.trial_ended(&session.conf.layout, session.booted, &end);
    let TrialEnd::Failed { reason, .. } = &end else {
        stays(&own, &end, guard, (&place, output));
        notify.ready();
        return Ok(ExitCode::SUCCESS);
    };
    notify.status(&format!("not kept: {reason}"));
    notify.alive(own.trial.hooks.saturating_add(SILENCE));
    let _ = hooks::run(&own.trial, Occasion::Failed, &[("SLOTMGR_REASON", reason)]);
    if verb.no_reboot {
        return Ok(ExitCode::FAILURE);
    }
    // The guard lives on, unfed: the last of the harder means.
    let error = health::restart(own.reboot_command.as_deref());
    Err(error).with_context(|| {
        let watched = guard.filter(Guard::is_on);
        let rest = watched.map_or("nothing else restarts it".to_owned(), |guard| {
            guard.to_string()
        });
        format!(
            "the new system did not prove itself, and the machine cannot be restarted; {rest}. It \
             stays on trial: the next start counts as a try, however it comes about"
        )
    })
}

/// What probes compare with.
pub(super) fn probes(
    baseline: &Baseline,
    options: &Options,
    around: &Surroundings,
) -> probe::Around {
    probe::Around {
        run: options.run_directory.clone(),
        boot_id: around.boot_id.clone(),
        baseline: baseline.clone(),
    }
}

/// The system stays. The watchdog goes to whoever feeds it from now on.
fn stays(
    own: &SlotmgrToml,
    end: &TrialEnd,
    guard: Option<Guard>,
    (place, output): (&Place, &Output),
) {
    if let Some(guard) = guard {
        let told = guard.release(own.watchdog.afterwards, &mut Kernel);
        output.watchdog(&told);
        place.watched(&told);
    }
    if matches!(end, TrialEnd::Confirmed { .. }) {
        let _ = hooks::run(&own.trial, Occasion::Confirmed, &[]);
    }
}

/// Examines a system on trial with the machine's own means.
struct Doctor<'d> {
    own: &'d SlotmgrToml,
    output: &'d Output,
    notify: &'d Notify,
    place: &'d Place,
    probes: probe::Around,
    /// Held from the beginning of the examination on.
    guard: Option<Guard>,
}

impl Examiner for Doctor<'_> {
    fn examine(&mut self) -> Examination {
        // First of all: whatever hangs from here on, the machine restarts.
        let mut guard = match Guard::take(&self.own.watchdog, &mut Kernel) {
            Ok(guard) => guard,
            Err(why) => return failed(why),
        };
        let told = guard.to_string();
        self.output.watchdog(&told);
        let window = examine::millis(self.own.trial.window);
        let probation = self.place.begin(examine::since_start(), window);
        self.place.watched(&told);
        let examination = match &probation.failed {
            // One of us was killed after it had judged and before the machine restarted.
            Some(reason) => failed(reason.clone()),
            None => self.run_checks(&mut guard, probation.deadline),
        };
        if let Some(failure) = &examination.failed {
            self.place.failed(failure.reason());
        }
        self.guard = Some(guard);
        examination
    }

    fn traces(&mut self) -> Traces {
        traces::collect()
    }
}

impl Doctor<'_> {
    fn run_checks(&self, guard: &mut Guard, deadline: u64) -> Examination {
        let mut checks = directory::checks(&self.own.trial);
        checks.extend(probe::against(
            &self.probes.baseline,
            self.own.checks.clone(),
        ));
        self.notify.status("on trial: checking the new system");
        let mut surroundings = examine::Surroundings {
            now: &examine::since_start,
            deadline,
            probes: &self.probes,
            alive: &mut || {
                guard.feed();
                self.notify.alive(SILENCE);
            },
            told: &mut |report| self.output.check_ended(report),
        };
        examine::examine(&self.own.trial, &checks, &mut surroundings)
    }
}

fn failed(why: String) -> Examination {
    Examination {
        reports: Vec::new(),
        failed: Some(Failure::TryAgain(why)),
    }
}
