//! The one installation that may run at a time, and how its progress is told.
//!
//! RAUC's clients are strict about the order of what they hear: `Operation`, then `Progress` again
//! and again, then `LastError` in a signal of its own, then `Completed`, and only then `Operation`
//! back at idle. A client that was told `Completed` may ask at once, so everything is in place by
//! then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zbus::Variant;
use zbus::fdo::Properties;
use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;

use crate::install::{Progress, Stage};

pub(super) const INTERFACE: &str = "de.pengutronix.rauc.Installer";

/// Percent, what is done, and how deep that is nested.
pub(super) type Step = (i32, String, i32);

/// What can be read at any time.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub busy: bool,
    pub last_error: String,
    pub last_bundle: String,
    pub last_transaction: String,
    pub progress: Step,
}

/// The state of the installation, if there is or was one.
#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<State>);

impl Jobs {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the only place; `false` when it is taken.
    pub fn begin(&self, bundle: &str, transaction: &str) -> bool {
        let mut state = self.state();
        if state.busy {
            return false;
        }
        *state = State {
            busy: true,
            last_bundle: bundle.to_owned(),
            last_transaction: transaction.to_owned(),
            ..State::default()
        };
        true
    }
}

/// Tells the bus about one installation, from the thread that installs.
pub(super) struct Teller<'j> {
    jobs: &'j Jobs,
    emitter: SignalEmitter<'static>,
    told: i32,
}

impl<'j> Teller<'j> {
    pub fn new(jobs: &'j Jobs, emitter: SignalEmitter<'static>) -> Self {
        Self {
            jobs,
            emitter,
            told: -1,
        }
    }

    /// The first signals of an installation.
    pub fn started(&mut self) {
        self.changed([("Operation", Variant::from("installing"))]);
        let step = (0, "Installing".to_owned(), 1);
        self.jobs.state().progress = step.clone();
        self.changed([
            ("Progress", Variant::from(step)),
            ("LastError", Variant::from("")),
        ]);
    }

    /// The last signals of an installation.
    pub fn ended(&mut self, result: &Result<(), String>) {
        let (text, code) = match result {
            Ok(()) => ("Installing done.", 0),
            Err(_) => ("Installing failed.", 1),
        };
        self.step((100, text.to_owned(), 1));
        if let Err(error) = result {
            self.jobs.state().last_error.clone_from(error);
            self.changed([("LastError", Variant::from(error.clone()))]);
        }
        let done = zbus::block_on(super::installer::Installer::completed(&self.emitter, code));
        report(done);
        self.jobs.state().busy = false;
        self.changed([("Operation", Variant::from("idle"))]);
    }

    fn step(&mut self, step: Step) {
        self.told = step.0;
        self.jobs.state().progress = step.clone();
        self.changed([("Progress", Variant::from(step))]);
    }

    /// Values always travel along: clients take a list of names without values for the end of the
    /// service.
    fn changed<const N: usize>(&self, values: [(&str, Variant<'_>); N]) {
        let sent = zbus::block_on(Properties::properties_changed(
            &self.emitter,
            InterfaceName::from_static_str_unchecked(INTERFACE),
            HashMap::from(values),
            (&[]).into(),
        ));
        report(sent);
    }
}

/// A bus that does not listen is no reason to stop an installation.
fn report(sent: zbus::Result<()>) {
    if let Err(error) = sent {
        tracing::warn!("the bus was not told: {error}");
    }
}

impl Progress for Teller<'_> {
    fn at(&mut self, stage: Stage, done: u64, total: u64) {
        let (from, to, text) = match stage {
            Stage::Check => (1, 20, "Checking bundle"),
            Stage::Write => (20, 80, "Writing images"),
            Stage::Sync => (80, 81, "Waiting for the disk"),
            Stage::ReadBack => (81, 99, "Reading back"),
        };
        let share = done
            .saturating_mul(to - from)
            .checked_div(total)
            .unwrap_or(0);
        // At most 99: the whole is done only when the bootloader knows of it.
        let percent = i32::try_from((from + share).min(99)).unwrap_or(99);
        if percent > self.told {
            self.step((percent, text.to_owned(), 2));
        }
    }
}
