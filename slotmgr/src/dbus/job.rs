//! The one installation that may run at a time, and how its progress is told.
//!
//! RAUC's clients are strict about the order of what they hear: `Operation`, then `Progress` again
//! and again, then `LastError` in a signal of its own, then `Completed`, and only then `Operation`
//! back at idle. A client that was told `Completed` may ask at once, so everything is in place by
//! then.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bundle_format::VerifiedManifest;
use zbus::Variant;
use zbus::fdo::Properties;
use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;

use super::failure::Failure;
use super::installer::Installer;
use super::manager::Manager;
use super::{MANAGER_PATH, PATH, rest, wire_job};
use crate::events::{Entry, without_secrets};
use crate::install::{Message, Progress, Stage};
use crate::program::Stop;
use crate::service::{InstallRequest, JobState, JobStatus, Meter, Service, Step, Steps};
use crate::state::Release;

pub(super) const INTERFACE: &str = "de.pengutronix.rauc.Installer";

/// The text that RAUC's own service answers with; scripts look for it.
pub(super) const BUSY: &str = "already processing a different method";

/// Jobs of this service that are remembered; older ones are in the journal.
const REMEMBERED: usize = 32;

/// What can be read at any time.
#[derive(Debug, Default)]
pub(super) struct State {
    pub last_error: String,
    pub last_bundle: String,
    pub last_transaction: String,
    pub progress: Step,
    /// The installation that runs.
    running: Option<Running>,
    /// The last jobs of this service, the running one at the end.
    known: Vec<JobStatus>,
}

#[derive(Debug)]
struct Running {
    job: String,
    stop: Stop,
}

impl State {
    pub fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    fn job(&mut self, id: &str) -> Option<&mut JobStatus> {
        self.known.iter_mut().rfind(|job| job.id == id)
    }
}

/// The state of the installation, if there is or was one.
#[derive(Default)]
pub(super) struct Jobs {
    state: Mutex<State>,
    ended: Condvar,
}

impl Jobs {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the only place; `None` when it is taken.
    fn begin(&self, request: &InstallRequest) -> Option<Stop> {
        let mut state = self.state();
        if state.is_busy() {
            return None;
        }
        let stop = Stop::default();
        let transaction = request.transaction.clone().unwrap_or_default();
        state.running = Some(Running {
            job: request.job.clone(),
            stop: stop.clone(),
        });
        state.last_bundle = without_secrets(&request.origin.source);
        state.last_transaction.clone_from(&transaction);
        state.last_error.clear();
        state.progress = Step::default();
        let job = JobStatus {
            id: request.job.clone(),
            transaction,
            source: state.last_bundle.clone(),
            ..JobStatus::default()
        };
        let surplus = (state.known.len() + 1).saturating_sub(REMEMBERED);
        state.known.drain(..surplus);
        state.known.push(job);
        Some(stop)
    }

    fn end(&self) {
        self.state().running = None;
        self.ended.notify_all();
    }

    /// The jobs of this service.
    pub fn known(&self) -> Vec<JobStatus> {
        self.state().known.clone()
    }

    /// Asks a job to stop; gives how it stands then.
    pub fn cancel(&self, id: &str) -> Result<JobStatus, Failure> {
        let mut state = self.state();
        let stop = match &state.running {
            Some(running) if running.job == id => running.stop.clone(),
            _ => {
                let said = match state.job(id) {
                    Some(job) => format!("job {id} is over: {}", job.state.word()),
                    None => format!("no job of this service is called {id}"),
                };
                return Err(Failure::Failed(said));
            }
        };
        stop.now();
        let job = state.job(id).map(|job| {
            job.state = JobState::Stopping;
            job.clone()
        });
        job.ok_or_else(|| Failure::Failed(format!("no job of this service is called {id}")))
    }

    /// Stops what runs, and comes back when it has ended.
    pub fn stop_and_wait(&self) {
        let mut state = self.state();
        if let Some(running) = &state.running {
            running.stop.now();
        }
        while state.is_busy() {
            let waited = self.ended.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Starts an installation on a thread of its own, and comes back at once.
pub(super) fn start(
    jobs: &Arc<Jobs>,
    service: &Arc<dyn Service>,
    request: InstallRequest,
    bus: &zbus::Connection,
) -> Result<(), Failure> {
    let teller = Teller::new(jobs, bus, &request.job)?;
    let Some(stop) = jobs.begin(&request) else {
        return Err(Failure::Failed(BUSY.to_owned()));
    };
    let service = Arc::clone(service);
    let started = std::thread::Builder::new()
        .name("install".into())
        .spawn(move || {
            teller.started();
            let mut steps = Steps::new(|step| teller.step(step));
            steps.begin();
            let mut told = Told {
                steps,
                teller: &teller,
                meter: Meter::default(),
                begun: Instant::now(),
            };
            let result = service.install(&request, &stop, &mut told);
            told.steps.end(result.is_ok());
            teller.ended(&result.map(drop).map_err(|error| format!("{error:#}")));
            rest();
        });
    if let Err(error) = started {
        jobs.end();
        return Err(Failure::Failed(format!("cannot start a thread: {error}")));
    }
    Ok(())
}

/// Percents for RAUC's clients, bytes for ours.
struct Told<'t, F> {
    steps: Steps<F>,
    teller: &'t Teller,
    meter: Meter,
    begun: Instant,
}

impl<F: FnMut(Step)> Progress for Told<'_, F> {
    fn at(&mut self, stage: Stage, done: u64, total: u64) {
        self.steps.at(stage, done, total);
        if let Some(pace) = self.meter.at(self.begun.elapsed(), stage, done, total) {
            self.teller.change(|job| job.pace = Some(pace));
        }
    }

    fn accepted(&mut self, manifest: &VerifiedManifest) {
        let release = Release::of(manifest);
        self.teller.change(|job| job.release = Some(release));
    }

    fn said(&mut self, message: &Message) {
        self.steps.said(message);
    }
}

/// Tells the bus about one installation, from the thread that installs.
struct Teller {
    jobs: Arc<Jobs>,
    job: String,
    /// RAUC's object, and ours.
    installer: SignalEmitter<'static>,
    manager: SignalEmitter<'static>,
}

impl Teller {
    fn new(jobs: &Arc<Jobs>, bus: &zbus::Connection, job: &str) -> Result<Self, Failure> {
        Ok(Self {
            jobs: Arc::clone(jobs),
            job: job.to_owned(),
            installer: SignalEmitter::new(bus, PATH)?.into_owned(),
            manager: SignalEmitter::new(bus, MANAGER_PATH)?.into_owned(),
        })
    }

    /// The first signals of an installation.
    fn started(&self) {
        self.changed([("Operation", Variant::from("installing"))]);
        self.change(|_| {});
    }

    fn step(&self, step: Step) {
        self.jobs.state().progress.clone_from(&step);
        let first = step.0 == 0;
        let progress = ("Progress", Variant::from(step));
        if first {
            // Together: by itself, a client would show the empty text as an error.
            self.changed([progress, ("LastError", Variant::from(""))]);
        } else {
            self.changed([progress]);
        }
    }

    /// The last signals of an installation.
    fn ended(&self, result: &Result<(), String>) {
        if let Err(error) = result {
            self.jobs.state().last_error.clone_from(error);
            self.changed([("LastError", Variant::from(error.clone()))]);
        }
        self.change(|job| {
            // It never came so far that anybody was told of its end.
            if !job.state.is_over() {
                job.state = JobState::Failed;
                job.error = result.clone().err();
                job.pace = None;
            }
        });
        let code = i32::from(result.is_err());
        report(zbus::block_on(Installer::completed(&self.installer, code)));
        self.jobs.end();
        self.changed([("Operation", Variant::from("idle"))]);
    }

    fn change(&self, change: impl FnOnce(&mut JobStatus)) {
        let job = {
            let mut state = self.jobs.state();
            let Some(job) = state.job(&self.job) else {
                return;
            };
            change(job);
            job.clone()
        };
        tell_job(&self.manager, &job);
    }

    /// Values always travel along: clients take a list of names without values for the end of the
    /// service.
    fn changed<const N: usize>(&self, values: [(&str, Variant<'_>); N]) {
        let sent = zbus::block_on(Properties::properties_changed(
            &self.installer,
            InterfaceName::from_static_str_unchecked(INTERFACE),
            HashMap::from(values),
            (&[]).into(),
        ));
        report(sent);
    }
}

/// Takes in what the service did, and passes it on.
pub(super) fn heard(jobs: &Jobs, emitter: &SignalEmitter<'_>, entry: &Entry) {
    if let Some(id) = &entry.facts.job
        && let Some(job) = jobs.state().job(id)
    {
        job.hear(entry);
    }
    match wire_job::event(entry) {
        Ok(dict) => report(zbus::block_on(Manager::happened(emitter, dict))),
        Err(error) => tracing::warn!("the bus was not told: {error:?}"),
    }
}

/// `JobChanged`.
pub(super) fn tell_job(emitter: &SignalEmitter<'_>, job: &JobStatus) {
    match wire_job::job(job) {
        Ok(dict) => report(zbus::block_on(Manager::job_changed(emitter, &job.id, dict))),
        Err(error) => tracing::warn!("the bus was not told: {error:?}"),
    }
}

/// A bus that does not listen is no reason to stop an installation.
fn report(sent: zbus::Result<()>) {
    if let Err(error) = sent {
        tracing::warn!("the bus was not told: {error}");
    }
}
