//! The answers, from the machine that this process runs on.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bundle_format::VerifiedManifest;

use super::installing::{self, Workplace};
use super::links;
use super::{
    Happening, Heard, Identity, InstallRequest, InstallResult, JobState, JobStatus, Marked, Origin,
    RepositoryStatus, Service, SlotStatus, TrialStatus, jobs_of,
};
use crate::boot::Mark;
use crate::cli::Surroundings;
use crate::cli::args::Options;
use crate::cli::install::Opening;
use crate::cli::lock::{LockError, Patience};
use crate::cli::machine_facts::MachineFacts;
use crate::cli::session::Session;
use crate::cli::{mark, write_slot};
use crate::events::{Entry, Events, Facts, Listener, What};
use crate::health::probation::Place;
use crate::install::{InstallError, Progress};
use crate::program::Stop;
use crate::slot::{OUTSIDE, Slot, SlotId, role};
use crate::state::{Outcome, RaucStatus, outcome};
use crate::storage::device::Mode;
use crate::storage::mounts::Mounts;

/// What a system-info handler tells of the system's version.
const SYSTEM_VERSION: &str = "RAUC_SYSTEM_VERSION";

/// What the program finds around it, asked anew for each call.
type Around = dyn Fn() -> Result<Surroundings> + Send + Sync;

/// This machine. Nothing is kept between two calls but what the command line said.
pub struct Local {
    options: Options,
    around: Box<Around>,
    heard: Mutex<Option<Arc<Heard>>>,
}

/// Somebody in this process who gets to know what happens.
struct Inside(Arc<Heard>);

impl Listener for Inside {
    fn name(&self) -> String {
        "the bus".to_owned()
    }

    fn tell(&mut self, entry: &Entry) -> std::io::Result<()> {
        (self.0)(entry);
        Ok(())
    }
}

impl Local {
    /// The machine that `options` describe.
    #[must_use]
    pub fn new(options: Options, around: Box<Around>) -> Self {
        Self {
            options,
            around,
            heard: Mutex::new(None),
        }
    }

    fn with_events(&self, work: impl FnOnce(&mut Session, &Surroundings, &mut Events)) {
        match self.session(Mode::ReadWrite) {
            Ok((mut session, around)) => {
                let mut events = self.events(&session, &around);
                work(&mut session, &around, &mut events);
            }
            Err(error) => tracing::warn!("nobody is told what happens: {error:#}"),
        }
    }

    /// Everybody who is told what happens.
    fn events(&self, session: &Session, around: &Surroundings) -> Events {
        let mut events = session.events(&self.options, around);
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = heard.as_ref() {
            events.add(Box::new(Inside(Arc::clone(heard))));
        }
        events
    }

    /// Lets RAUC's links in `/run/rauc` lead to what is used. Who serves does it once: until the next
    /// start nothing else runs.
    ///
    /// # Errors
    /// The machine is not configured rightly. A link that cannot be made is only told of.
    pub fn publish_links(&self) -> Result<()> {
        let (session, _) = self.session(Mode::ReadOnly)?;
        let root = self.options.run_directory.with_file_name("rauc");
        let what = (&session.conf.layout, session.booted);
        if let Err(error) = links::write(&root, what, &session.conf.repositories) {
            tracing::warn!("no links in {}: {error}", root.display());
        }
        Ok(())
    }

    /// Writes an image that is in no bundle into the slot of this name. It stays unstarted until it
    /// is marked.
    ///
    /// # Errors
    /// [`crate::slot::SelectError`] inside [`InstallError`] when there is no such slot, or it is not to be written;
    /// else whatever stopped it.
    pub fn write_slot(
        &self,
        slot: &str,
        image: &Path,
        kind: Option<&str>,
        stop: &Stop,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let (mut session, around) = self.session(Mode::ReadWrite)?;
        let image = write_slot::open(image, kind, progress)?;
        let id = session
            .conf
            .layout
            .called(slot)
            .map_err(InstallError::from)?;
        let mut events = self.events(&session, &around);
        let workplace = write_slot::Workplace {
            session: &mut session,
            around: &around,
            events: &mut events,
        };
        workplace.write((id, &image), stop, progress)
    }

    fn session(&self, mode: Mode) -> Result<(Session, Surroundings)> {
        let around = (self.around)()?;
        Ok((Session::open(&self.options, &around, mode)?, around))
    }
}

/// Whether an installation ended because somebody asked it to.
#[must_use]
pub fn was_stopped(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<InstallError>()
        .is_some_and(InstallError::was_stopped)
}

impl Service for Local {
    fn identity(&self) -> Result<Identity> {
        let (session, _) = self.session(Mode::ReadOnly)?;
        let facts = MachineFacts::gather(&session.conf, &session.path, &Stop::default())?;
        let version = facts.told.iter().find(|(name, _)| name == SYSTEM_VERSION);
        let booted = session.booted.id().map(|id| session.conf.layout.slot(id));
        let boot_slot = booted.map_or_else(
            || OUTSIDE.to_owned(),
            |slot| match &slot.boot_name {
                Some(name) => name.to_string(),
                None => slot.name.to_string(),
            },
        );
        Ok(Identity {
            compatible: session.conf.system.compatible.clone(),
            system_version: version.map(|(_, text)| text.clone()).unwrap_or_default(),
            variant: facts.variant.unwrap_or_default(),
            boot_slot,
        })
    }

    fn slots(&self) -> Result<Vec<SlotStatus>> {
        let (mut session, _) = self.session(Mode::ReadOnly)?;
        let state = session.known_state()?;
        let (known, mounts) = (session.rauc_status(), Mounts::now());
        let slots = session.conf.layout.iter();
        Ok(slots
            .map(|(id, slot)| SlotStatus {
                boot_status: match (&state, &slot.boot_name) {
                    (Some(state), Some(_)) if state.standing(id).can_start() => Some("good".into()),
                    (Some(_), Some(_)) => Some("bad".into()),
                    _ => None,
                },
                mountpoint: mounts.of(&slot.device).map(|at| at.display().to_string()),
                ..status(&session, &known, id, slot)
            })
            .collect())
    }

    fn repositories(&self) -> Result<Vec<RepositoryStatus>> {
        let (session, _) = self.session(Mode::ReadOnly)?;
        let stock = session.stock().into_iter();
        Ok(stock
            .map(|(repository, stock)| RepositoryStatus::new(repository, stock))
            .collect())
    }

    fn primary(&self) -> Result<String> {
        let (mut session, _) = self.session(Mode::ReadOnly)?;
        let primary = session.machine_state()?.primary();
        let primary = primary.context("no slot is left that the bootloader would start")?;
        Ok(session.conf.layout.slot(primary).name.to_string())
    }

    fn trial(&self) -> Result<TrialStatus> {
        let (mut session, around) = self.session(Mode::ReadOnly)?;
        let state = session.machine_state()?;
        let (record, layout) = (&session.record, &session.conf.layout);
        let job = record.job();
        let found = outcome(job, layout, session.booted, &state, &around.boot_id);
        let known = Place::new(&self.options.run_directory, &around.boot_id).known();
        let known = known.filter(|_| found == Outcome::OnTrial);
        Ok(TrialStatus {
            state: found.word().to_owned(),
            slot: job.map(|job| job.target.clone()),
            release: job.map(|job| job.release.label()),
            deadline: known.as_ref().map(|known| known.deadline / 1_000),
            reason: match found.reason() {
                Some(reason) => Some(reason.to_owned()),
                None => known.and_then(|known| known.failed),
            },
        })
    }

    fn history(&self) -> Result<Vec<Happening>> {
        let (session, _) = self.session(Mode::ReadOnly)?;
        let happening = |entry: Entry| Happening {
            what: entry.what.word().to_owned(),
            at: entry.moment.at,
            slot: entry.facts.slot,
            release: entry.facts.release.map(|release| release.label()),
            job: entry.facts.job,
            why: entry.facts.why,
        };
        Ok(session.chronicle().into_iter().map(happening).collect())
    }

    fn new_job(&self) -> Result<String> {
        installing::new_job()
    }

    fn jobs(&self) -> Result<Vec<JobStatus>> {
        let (session, _) = self.session(Mode::ReadOnly)?;
        let entries = session.journal().map(|journal| journal.read().entries);
        let entries = entries.unwrap_or_default();
        let mut jobs = jobs_of(entries.iter().map(|(_, entry)| entry));
        if !matches!(session.lock(Patience::ToLook), Err(LockError::Busy)) {
            // Written down by the next installation; known already.
            for job in jobs.iter_mut().filter(|job| !job.state.is_over()) {
                job.state = JobState::Interrupted;
            }
        }
        Ok(jobs)
    }

    fn listen(&self, listener: Arc<Heard>) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    fn begin(&self) {
        self.with_events(|session, around, events| {
            installing::reconcile_when_idle(session, around, events);
            if is_first_of_boot(&self.options.run_directory) {
                let (what, facts) = session.start();
                events.tell(what, facts);
            }
            events.tell(What::ServiceStarted, Facts::default());
        });
    }

    fn end(&self) {
        self.with_events(|_, _, events| events.tell(What::ServiceStopped, Facts::default()));
    }

    fn mark(&self, mark: Mark, slot: &str) -> Result<Marked> {
        let (mut session, around) = self.session(Mode::ReadWrite)?;
        let mut events = self.events(&session, &around);
        let id = mark::apply(&mut session, mark, slot, around.now, &mut events)?;
        let slot = session.conf.layout.slot(id).name.to_string();
        let message = match mark {
            Mark::Good => format!("marked slot {slot} as good"),
            Mark::Bad => format!("marked slot {slot} as bad"),
            Mark::Active => format!("activated slot {slot}"),
        };
        Ok(Marked { slot, message })
    }

    fn inspect(&self, origin: &Origin) -> Result<VerifiedManifest> {
        let (session, around) = self.session(Mode::ReadOnly)?;
        let stop = Stop::default();
        let opening = Opening {
            options: &self.options,
            around: &around,
            stop: &stop,
        };
        let bundle = opening.open(&session, origin)?;
        Ok(bundle.manifest().clone())
    }

    fn install(
        &self,
        request: &InstallRequest,
        stop: &Stop,
        progress: &mut dyn Progress,
    ) -> Result<InstallResult> {
        let (session, around) = self.session(Mode::ReadWrite)?;
        let events = self.events(&session, &around);
        let mut workplace = Workplace {
            options: &self.options,
            around,
            session,
            events,
            stop,
        };
        workplace.install(request, progress)
    }
}

/// Whether no service has begun since the machine was started: its folder in memory says so.
fn is_first_of_boot(run_directory: &Path) -> bool {
    let mark = run_directory.join("boot-told");
    let made = fs_err::create_dir_all(run_directory)
        .and_then(|()| File::options().write(true).create_new(true).open(mark));
    made.is_ok()
}

fn status(session: &Session, known: &RaucStatus, id: SlotId, slot: &Slot) -> SlotStatus {
    let name = slot.name.to_string();
    let content = known.slot(&name);
    SlotStatus {
        class: slot.name.class().to_owned(),
        device: slot.device.display().to_string(),
        kind: slot.kind.to_string(),
        bootname: slot.boot_name.as_ref().map(ToString::to_string),
        parent: slot.parent.as_ref().map(ToString::to_string),
        state: role(&session.conf.layout, session.booted, id).to_string(),
        description: slot.options.description.clone(),
        content: content
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        name,
        ..SlotStatus::default()
    }
}
