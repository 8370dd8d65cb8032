//! `slotmgr trial`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use super::args::{Options, Trial};
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::config::{CheckConfig, SlotmgrToml, TrialConfig};
use crate::data::folders::OnDisk;
use crate::data::migrate::{self, Boot, Migration, Systems};
use crate::health::hooks::{self, Occasion};
use crate::health::notify::Notify;
use crate::health::probation::Place;
use crate::health::rack::Kernel;
use crate::health::watchdog::Guard;
use crate::health::{
    self, Examination, Examiner, Failure, TrialEnd, directory, examine, probe, traces,
};
use crate::slot::{Booted, SlotName};
use crate::state::{Baseline, Traces, When};
use crate::storage::device::Mode;

/// A loop that says nothing for so long is taken for hung by the service manager.
const SILENCE: Duration = Duration::from_secs(30);

/// More than all means of restarting the machine take together.
const RESTART: Duration = Duration::from_secs(60);

pub(super) fn run(
    options: &Options,
    verb: &Trial,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let mut session = Session::open(options, around, Mode::ReadWrite)?;
    let own = session.own.clone();
    let notify = Notify::new(around.notify_socket.as_ref());
    let Some(booted) = session.booted.slot() else {
        output.nothing_to_try();
        notify.ready();
        return Ok(ExitCode::SUCCESS);
    };
    let place = Place::new(&options.run_directory, &around.boot_id);
    let migration = migration(&mut session, booted, (options, around))?;
    let slot = session.conf.layout.slot(booted.id()).name.clone();
    let lead = || lead_to_data(&own, &slot, options);
    let mut doctor = Doctor {
        own: &own,
        migration,
        lead: &lead,
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
    let end = health::trial(
        &mut session.machine(),
        booted,
        when,
        late_fallback,
        &mut doctor,
    )?;
    session.pass_news(options, around);
    let guard = doctor.guard.take();
    if !matches!(end, TrialEnd::Failed { .. }) {
        lead();
    }
    output.trial_ended(&session.conf.layout, booted, &end);
    let TrialEnd::Failed { reason, .. } = &end else {
        // First: systemd goes on with the boot, and there may be no bus before it has.
        notify.ready();
        stays(&own, &end, guard, (&place, output));
        return Ok(ExitCode::SUCCESS);
    };
    notify.status(&format!("not kept: {reason}"));
    notify.alive(own.trial.hooks.saturating_add(SILENCE));
    let _ = hooks::run(&own.trial, Occasion::Failed, &[("SLOTMGR_REASON", reason)]);
    if verb.no_reboot {
        return Ok(ExitCode::FAILURE);
    }
    notify.alive(RESTART);
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

/// How the data of a system on trial comes about: from the system that would be fallen back to.
fn migration(
    session: &mut Session,
    booted: Booted,
    (options, around): (&Options, &Surroundings),
) -> Result<Result<Option<Migration>, String>> {
    let booted = booted.id();
    let old = match session.own.data.directory {
        None => None,
        Some(_) => {
            let state = session.machine_state()?;
            let mut order = state.order.iter().copied();
            order.find(|id| *id != booted && state.standing(*id).can_start())
        }
    };
    let with_version = |id| {
        let name = &session.conf.layout.slot(id).name;
        let known = session.record.slot(&name.to_string());
        (
            name,
            known.and_then(|known| known.release.version.as_deref()),
        )
    };
    let systems = Systems {
        new: with_version(booted),
        old: old.map(with_version),
    };
    let boot = Boot {
        id: &around.boot_id,
        run: &options.run_directory,
    };
    Ok(Migration::plan(&session.own, systems, boot))
}

/// Applications wait for this link. Without it they do not start, which their checks tell.
fn lead_to_data(own: &SlotmgrToml, slot: &SlotName, options: &Options) {
    let Some(home) = &own.data.directory else {
        return;
    };
    if let Err(error) = migrate::lead(home, slot, &options.run_directory) {
        tracing::error!(%error, "the applications are not led to their data");
    }
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
    /// Or why it cannot be.
    migration: Result<Option<Migration>, String>,
    /// Leads the applications to the data, once there is some.
    lead: &'d dyn Fn(),
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
            None => self.migrate_and_check(&mut guard, probation.deadline),
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
    /// Checks look at a system that has its data.
    fn migrate_and_check(&self, guard: &mut Guard, deadline: u64) -> Examination {
        match &self.migration {
            Err(why) => return failed(why.clone()),
            Ok(None) => {}
            Ok(Some(migration)) => {
                self.notify.status("on trial: migrating the data");
                let migrated = self.migrate(migration, guard, deadline);
                if migrated.failed.is_some() {
                    return migrated;
                }
            }
        }
        (self.lead)();
        self.run_checks(guard, deadline)
    }

    /// One step after the other, each like a required check that passes once.
    fn migrate(&self, migration: &Migration, guard: &mut Guard, deadline: u64) -> Examination {
        let once = TrialConfig {
            soak: Duration::ZERO,
            min_uptime: Duration::ZERO,
            ..self.own.trial.clone()
        };
        for step in &migration.steps {
            let step = std::slice::from_ref(step);
            let examination = self.examine(&once, step, guard, deadline);
            if examination.failed.is_some() {
                return examination;
            }
        }
        match migration.publish(&mut OnDisk) {
            Ok(()) => Examination::default(),
            Err(error) => failed(format!("the migrated data cannot be used: {error}")),
        }
    }

    fn run_checks(&self, guard: &mut Guard, deadline: u64) -> Examination {
        let mut checks = directory::checks(&self.own.trial);
        checks.extend(probe::against(
            &self.probes.baseline,
            self.own.checks.clone(),
        ));
        self.notify.status("on trial: checking the new system");
        self.examine(&self.own.trial, &checks, guard, deadline)
    }

    fn examine(
        &self,
        trial: &TrialConfig,
        checks: &[CheckConfig],
        guard: &mut Guard,
        deadline: u64,
    ) -> Examination {
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
        examine::examine(trial, checks, &mut surroundings)
    }
}

fn failed(why: String) -> Examination {
    Examination {
        reports: Vec::new(),
        failed: Some(Failure::TryAgain(why)),
    }
}
