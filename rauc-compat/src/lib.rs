//! The `rauc` command line as a thin face over `bundle-tool` and `slotmgr`: RAUC's arguments,
//! output formats and exit codes, and no logic of its own.
//!
//! The commands of the build machine work on files; those of the device ([`device`]) through the
//! service on D-Bus, or here where none answers. `docs/rauc-command.md` says what is the same and
//! what differs on purpose.

pub mod arguments;
mod bundle;
mod config;
mod device;
mod info;
mod report;
mod rewrite;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use bundle_tool::cli::Environment;

use arguments::{Command, HostCommand};
pub use device::DeviceEnvironment;
use report::Output;

/// The version of RAUC whose bundles and options are understood here.
pub const RAUC_VERSION: &str = "1.15.2";

/// Runs the program. Exit codes are RAUC's: 0 done, 1 failed; of `install` also 2 and 3.
pub fn main(
    arguments: impl Iterator<Item = OsString>,
    environment: &Environment,
    device: &DeviceEnvironment,
) -> ExitCode {
    let command = match usage::parse(arguments) {
        Ok(command) => command,
        Err(refusal) => return refusal.print(),
    };
    let mut output = Output::new(command.global());
    let done = match &command {
        Command::Device(command) => device::run(command, device, environment.no_color, &output),
        Command::Host(command) => {
            run(command, environment, &mut output).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        report::print_error(&error);
        ExitCode::FAILURE
    })
}

/// Does what the arguments say.
///
/// # Errors
/// Whatever failed.
fn run(
    command: &HostCommand,
    environment: &Environment,
    output: &mut Output,
) -> anyhow::Result<()> {
    match command {
        HostCommand::Bundle(arguments) => bundle::create(arguments, environment, output),
        HostCommand::Resign(arguments) => rewrite::resign(arguments, environment, output),
        HostCommand::Convert(arguments) => bundle::convert(arguments, environment, output),
        HostCommand::Encrypt(arguments) => rewrite::encrypt(arguments, environment, output),
        HostCommand::ReplaceSignature(arguments) => {
            rewrite::replace_signature(arguments, environment, output)
        }
        HostCommand::ExtractSignature(arguments) => {
            rewrite::extract_signature(arguments, environment, output)
        }
        HostCommand::Extract(arguments) => rewrite::extract(arguments, environment, output),
        HostCommand::Info(arguments) => info::show(arguments, environment, output),
    }
}
