//! The two programs: `grub-env`, and `grub-editenv` by name.
//!
//! Exit codes of `grub-env`: 0 done, 1 failed (or, for `doctor`, not fit), 2 wrong usage.
//! `grub-editenv` has those of the program that it stands in for: 0, 1, and 64 for wrong usage.

mod args;
pub mod doctor;
mod editenv;
mod editenv_args;
mod pair;
mod rauc;
mod render;
mod run;

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Runs the program that `argv[0]` names.
#[must_use]
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let called = argv.first().and_then(|name| Path::new(name).file_name());
    if called.is_some_and(|name| name == "grub-editenv") {
        editenv::main(argv.into_iter().skip(1).collect())
    } else {
        run::main(argv)
    }
}

/// The command line of `grub-env`, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    <args::Args as clap::CommandFactory>::command()
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
