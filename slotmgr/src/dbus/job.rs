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

use crate::service::Step;

pub(super) const INTERFACE: &str = "de.pengutronix.rauc.Installer";

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
#[derive(Clone)]
pub(super) struct Teller<'j> {
    jobs: &'j Jobs,
    emitter: SignalEmitter<'static>,
}

impl<'j> Teller<'j> {
    pub fn new(jobs: &'j Jobs, emitter: SignalEmitter<'static>) -> Self {
        Self { jobs, emitter }
    }

    /// The first signals of an installation.
    pub fn started(&self) {
        self.changed([("Operation", Variant::from("installing"))]);
    }

    pub fn step(&self, step: Step) {
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
    pub fn ended(&self, result: &Result<(), String>) {
        if let Err(error) = result {
            self.jobs.state().last_error.clone_from(error);
            self.changed([("LastError", Variant::from(error.clone()))]);
        }
        let code = i32::from(result.is_err());
        let done = zbus::block_on(super::installer::Installer::completed(&self.emitter, code));
        report(done);
        self.jobs.state().busy = false;
        self.changed([("Operation", Variant::from("idle"))]);
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
