//! The command line: arguments, one file per verb, all printing in [`render`].

pub mod args;
mod bootloader;
mod check_config;
#[cfg(feature = "dbus")]
mod daemon;
mod dry_run;
mod evidence;
mod history;
pub(crate) mod install;
mod installation;
mod key_review;
pub(crate) mod lock;
pub(crate) mod machine_facts;
pub(crate) mod mark;
mod monitor;
mod preflight;
mod preview;
pub(crate) mod remote;
mod render;
mod restore_data;
mod rollback;
pub(crate) mod session;
pub(crate) mod signals;
mod simulate;
mod status;
mod trial;
mod vote;
pub(crate) mod write_slot;

use std::process::ExitCode;

pub use session::Surroundings;

use args::{Options, Verb};
use lock::LockError;
use render::Output;

#[cfg(feature = "dbus")]
use crate::dbus::RemoteError;
use crate::service::was_stopped;

/// Exit codes. They are stable; scripts may rely on them.
pub mod exit {
    /// Done, or nothing to do.
    pub const DONE: u8 = 0;
    /// Failed; the message says why and what to do.
    pub const FAILED: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// Another installation, mark or write-slot is running.
    pub const BUSY: u8 = 6;
    /// An installation had better not begin; the list says why.
    pub const PREFLIGHT: u8 = 9;
    /// The installation was stopped: by Ctrl-C, SIGTERM, or `Cancel` of the service. The running
    /// system is untouched.
    pub const STOPPED: u8 = 130;
}

/// Says what went wrong, as the command line wants to hear it; gives the exit code.
#[must_use]
pub fn failed(options: &Options, error: &anyhow::Error) -> ExitCode {
    let code = code_of(error);
    Output::new(options.format()).failed(&format!("{error:#}"), code);
    ExitCode::from(code)
}

fn code_of(error: &anyhow::Error) -> u8 {
    #[cfg(feature = "dbus")]
    if let Some(RemoteError::Busy) = error.downcast_ref() {
        return exit::BUSY;
    }
    if was_stopped(error) {
        return exit::STOPPED;
    }
    match error.downcast_ref() {
        Some(LockError::Busy) => exit::BUSY,
        _ => exit::FAILED,
    }
}

/// Does what the command line asks for.
///
/// # Errors
/// With everything that a person needs to know in the chain of causes.
pub fn run(options: &Options, surroundings: &Surroundings) -> anyhow::Result<ExitCode> {
    let output = Output::new(options.format());
    match &options.verb {
        Verb::Install(verb) if verb.dry_run => dry_run::run(options, verb, surroundings, &output),
        Verb::Install(verb) => installation::install(options, verb, surroundings, &output),
        #[cfg(feature = "dbus")]
        Verb::Cancel(verb) => installation::cancel(options, verb, surroundings, &output),
        Verb::Monitor(verb) => monitor::run(options, verb, surroundings, &output),
        #[cfg(feature = "dbus")]
        Verb::Daemon => daemon::run(options, surroundings),
        Verb::Status => status::run(options, surroundings, &output),
        Verb::Trial(verb) => trial::run(options, verb, surroundings, &output),
        Verb::CheckConfig => check_config::run(options, &surroundings.token, &output),
        Verb::Mark(verb) => mark::run(options, verb, surroundings, &output),
        Verb::Vote(verb) => vote::run(options, verb, surroundings, &output),
        Verb::Rollback(verb) => rollback::run(options, verb, surroundings, &output),
        Verb::RestoreData(verb) => restore_data::run(options, verb, surroundings, &output),
        Verb::Preflight => preflight::run(options, surroundings, &output),
        Verb::Simulate(verb) => simulate::run(options, verb, surroundings, &output),
        Verb::WriteSlot(verb) => write_slot::run(options, verb, surroundings, &output),
        Verb::History => history::run(options, surroundings, &output),
    }
}
