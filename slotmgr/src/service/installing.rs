//! An installation from the request to its end, told to everybody whom it concerns.

use anyhow::{Context as _, Result, bail};
use bundle_format::VerifiedManifest;

use super::{InstallEnd, InstallRequest, InstallResult};
use crate::cli::Surroundings;
use crate::cli::args::Options;
use crate::cli::install::{self, Fallen, Opening, Wishes};
use crate::cli::lock::Patience;
use crate::cli::session::Session;
use crate::events::{Events, Facts, What, without_secrets};
use crate::install::{InstallError, Installed, Message, Progress, Stage};
use crate::program::Stop;
use crate::slot::{Layout, SlotName};
use crate::state::{EventKind, Release, Repair, missing_ends, outcome, repair};

/// What an installation works with.
pub(super) struct Workplace<'w> {
    pub options: &'w Options,
    pub around: Surroundings,
    pub session: Session,
    pub events: Events,
    pub stop: &'w Stop,
}

impl Workplace<'_> {
    /// Installs what `request` asks for.
    ///
    /// # Errors
    /// Whatever stopped it; the running system is untouched.
    pub fn install(
        &mut self,
        request: &InstallRequest,
        progress: &mut dyn Progress,
    ) -> Result<InstallResult> {
        let _alone = self.session.lock(Patience::ToWrite)?;
        reconcile(&mut self.session, &self.around, &mut self.events);
        let transaction = match &request.transaction {
            Some(transaction) => transaction,
            None => &request.job,
        };
        self.around.transaction.clone_from(transaction);
        let mut teller = Teller {
            events: &mut self.events,
            progress,
            facts: Facts {
                job: Some(request.job.clone()),
                transaction: Some(transaction.clone()),
                source: Some(without_secrets(&request.origin.source)),
                ..Facts::default()
            },
            stage: None,
        };
        teller.tell(What::InstallStarted, |_| {});
        let done = (self.options, &self.around, &mut self.session);
        let result = open_and_perform(done, request, self.stop, &mut teller);
        teller.ended(&result);
        pass_news(&mut self.session, &mut self.events);
        result
    }
}

fn open_and_perform(
    (options, around, session): (&Options, &Surroundings, &mut Session),
    request: &InstallRequest,
    stop: &Stop,
    teller: &mut Teller<'_>,
) -> Result<InstallResult> {
    let opening = Opening {
        options,
        around,
        stop,
    };
    let opened = opening.open(session, &request.origin)?;
    let manifest = opened.manifest();
    teller.accepted(manifest);
    refuse_other_manifest(request, manifest)?;
    let wishes = Wishes {
        ignore_compatible: request.ignore_compatible,
        ignore_version_limit: request.ignore_version_limit,
        fallen: if request.try_again {
            Fallen::TriedAgain
        } else {
            Fallen::Refused
        },
        handler_arguments: options.handler_arguments.clone(),
        stop: stop.clone(),
    };
    let installed = install::perform(session, around, &opened, &wishes, teller)?;
    Ok(result(&session.conf.layout, opened.manifest(), &installed))
}

fn refuse_other_manifest(request: &InstallRequest, manifest: &VerifiedManifest) -> Result<()> {
    let found = manifest.hash().to_string();
    match &request.manifest_hash {
        Some(wanted) if !wanted.eq_ignore_ascii_case(&found) => bail!(
            "the manifest has the hash {found}, and {wanted} is asked for: this is not the \
             bundle that was looked at. Nothing was written"
        ),
        _ => Ok(()),
    }
}

fn result(layout: &Layout, manifest: &VerifiedManifest, installed: &Installed) -> InstallResult {
    let (end, target, tries) = match installed {
        Installed::Armed(armed) => (
            InstallEnd::Armed,
            Some(armed.target()),
            Some(armed.tries().count()),
        ),
        Installed::Waiting(target) => (InstallEnd::Waiting, Some(*target), None),
        Installed::Artifacts => (InstallEnd::Artifacts, None, None),
        Installed::ByHandler => (InstallEnd::ByHandler, None, None),
    };
    let slot = target.map(|target| layout.slot(target.id()));
    let bootname = slot.and_then(|slot| slot.boot_name.as_ref());
    InstallResult {
        end,
        slot: slot.map(|slot| slot.name.to_string()),
        bootname: bootname.map(ToString::to_string),
        release: Release::of(manifest),
        tries,
    }
}

/// Tells the journals what the caller's progress is told, and the end.
struct Teller<'t> {
    events: &'t mut Events,
    progress: &'t mut dyn Progress,
    facts: Facts,
    stage: Option<Stage>,
}

impl Teller<'_> {
    fn tell(&mut self, what: What, more: impl FnOnce(&mut Facts)) {
        let mut facts = self.facts.clone();
        more(&mut facts);
        self.events.tell(what, facts);
    }

    fn ended(&mut self, result: &Result<InstallResult>) {
        let error = match result {
            Ok(result) => {
                let what = match result.end {
                    InstallEnd::Armed | InstallEnd::Artifacts | InstallEnd::ByHandler => {
                        What::Installed
                    }
                    InstallEnd::Waiting => What::Written,
                };
                return self.tell(what, |facts| {
                    facts.slot.clone_from(&result.slot);
                    facts.bootname.clone_from(&result.bootname);
                    facts.tries = result.tries;
                });
            }
            Err(error) => error,
        };
        let what = match error.downcast_ref::<InstallError>() {
            Some(error) if error.was_stopped() => What::InstallStopped,
            Some(error) if error.was_rejected() => What::InstallRejected,
            _ => What::InstallFailed,
        };
        self.tell(what, |facts| facts.why = Some(format!("{error:#}")));
    }
}

impl Progress for Teller<'_> {
    fn at(&mut self, stage: Stage, done: u64, total: u64) {
        if self.stage != Some(stage) {
            self.stage = Some(stage);
            self.tell(What::of_stage(stage), |_| {});
        }
        self.progress.at(stage, done, total);
    }

    fn accepted(&mut self, manifest: &VerifiedManifest) {
        self.facts.release = Some(Release::of(manifest));
        self.progress.accepted(manifest);
    }

    fn slot(&mut self, slot: &SlotName) {
        self.tell(What::SlotWriting, |facts| {
            facts.slot = Some(slot.to_string());
        });
        self.progress.slot(slot);
    }

    fn said(&mut self, message: &Message) {
        self.progress.said(message);
    }
}

/// Puts right what a crash left. Only under the lock: then nothing that is unfinished still runs.
pub(super) fn reconcile(session: &mut Session, around: &Surroundings, events: &mut Events) {
    match session.known_state() {
        Ok(Some(state)) => {
            let (layout, booted) = (&session.conf.layout, session.booted);
            let job = session.record.job();
            let found = outcome(job, layout, booted, &state, &around.boot_id);
            let (repair, tries) = (repair(job, &found), session.own.tries);
            let m = session.machine();
            match repair {
                Repair::Nothing => {}
                Repair::Armed => m.record.armed(m.disks, tries),
                Repair::CutOff => m.record.cut_off(m.disks),
            }
        }
        // The record has nothing to be held against.
        Ok(None) => {}
        // Whoever needs the bootloader's memory says so better than we could.
        Err(error) => return tracing::warn!("the record is not compared: {error:#}"),
    }
    // The journal gets these with the names of their jobs.
    session.record.take_news();
    let Some(journal) = session.journal() else {
        return;
    };
    for (what, facts) in missing_ends(&journal.read().entries, session.record.job()) {
        tracing::warn!(
            "an earlier installation did not come to its end ({})",
            what.word()
        );
        events.tell(what, facts);
    }
}

/// Passes on what the record noted besides installations, which are told by who does them.
pub(crate) fn pass_news(session: &mut Session, events: &mut Events) {
    for event in session.record.take_news() {
        // Installations are told by who does them, with the names of their jobs.
        if !matches!(event.what, EventKind::Installed | EventKind::InstallFailed) {
            events.tell_of(event.at, event.what.into(), event.into());
        }
    }
}

/// Reconciles if nothing is being installed now.
pub(super) fn reconcile_when_idle(
    session: &mut Session,
    around: &Surroundings,
    events: &mut Events,
) {
    if let Ok(_alone) = session.lock(Patience::ToLook) {
        reconcile(session, around, events);
    }
}

/// A name for a new job.
pub(super) fn new_job() -> Result<String> {
    let around = Surroundings::of_this_machine().context("a job needs a name")?;
    Ok(around.transaction)
}
