//! The `rauc` command line as a thin face over `bundle-tool` and `slotmgr`: RAUC's arguments,
//! output formats and exit codes, and no logic of its own.
//!
//! The commands of the build machine are here. Those of the device (`install`, `status`, `service`,
//! …) are refused with a text until they do what RAUC's do. `docs/rauc-command.md` says what is the
//! same and what differs on purpose.

pub mod arguments;
mod bundle;
mod config;
mod info;
mod report;
mod rewrite;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use bundle_tool::cli::Environment;

use arguments::Command;
use report::Output;

/// The version of RAUC whose bundles and options are understood here.
pub const RAUC_VERSION: &str = "1.15.2";

/// Runs the program. Exit codes are RAUC's: 0 done, 1 for everything else.
pub fn main(arguments: impl Iterator<Item = OsString>, environment: &Environment) -> ExitCode {
    let command = match usage::parse(arguments) {
        Ok(command) => command,
        Err(refusal) => return refusal.print(),
    };
    let mut output = Output::new(command.global());
    match run(&command, environment, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Does what the arguments say.
///
/// # Errors
/// Whatever failed.
fn run(command: &Command, environment: &Environment, output: &mut Output) -> anyhow::Result<()> {
    match command {
        Command::Bundle(arguments) => bundle::create(arguments, environment, output),
        Command::Resign(arguments) => rewrite::resign(arguments, environment, output),
        Command::Convert(arguments) => bundle::convert(arguments, environment, output),
        Command::Encrypt(arguments) => rewrite::encrypt(arguments, environment, output),
        Command::ReplaceSignature(arguments) => {
            rewrite::replace_signature(arguments, environment, output)
        }
        Command::ExtractSignature(arguments) => {
            rewrite::extract_signature(arguments, environment, output)
        }
        Command::Extract(arguments) => rewrite::extract(arguments, environment, output),
        Command::Info(arguments) => info::show(arguments, environment, output),
        Command::Device(arguments) => Err(arguments.refusal().into()),
    }
}
