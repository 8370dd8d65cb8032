//! The commands of the device: through a service on the bus where one answers, else done here, as
//! RAUC does that was built without a service.

mod face;
mod install;
mod mark;
mod mount;
mod service;
mod status;
mod write_slot;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::arguments::DeviceCommand;
use crate::report::Output;

/// RAUC's exit codes beside 0 and 1.
mod exit {
    /// The service cannot be reached.
    pub const NO_SERVICE: u8 = 2;
    /// Stopped by Ctrl-C or SIGTERM.
    pub const INTERRUPTED: u8 = 3;
}

/// What test rigs that people have built around RAUC tell it, and where the service is looked for.
#[derive(Debug, Clone, Default)]
pub struct DeviceEnvironment {
    /// `DBUS_STARTER_BUS_TYPE`: `session` or `system`.
    pub starter_bus: Option<String>,
    /// `RAUC_TEST_CMDLINE`: in the place of the kernel's command line.
    pub cmdline: Option<String>,
    /// `RAUC_TEST_RUNTIME_DIRECTORY`: in the place of /run.
    pub runtime_directory: Option<PathBuf>,
}

impl DeviceEnvironment {
    /// Reads the environment of the process.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name: &str| std::env::var(name).ok();
        Self {
            starter_bus: text("DBUS_STARTER_BUS_TYPE"),
            cmdline: text("RAUC_TEST_CMDLINE"),
            runtime_directory: std::env::var_os("RAUC_TEST_RUNTIME_DIRECTORY")
                .map(|path: OsString| path.into()),
        }
    }
}

/// Does what the arguments say.
///
/// # Errors
/// Whatever failed.
pub(crate) fn run(
    command: &DeviceCommand,
    around: &DeviceEnvironment,
    no_color: bool,
    output: &Output,
) -> Result<ExitCode> {
    match command {
        DeviceCommand::Install(arguments) => install::run(arguments, around, output),
        DeviceCommand::Status(arguments) => match &arguments.mark {
            Some(mark) => mark::run(arguments, mark, around, output),
            None => status::run(arguments, around, no_color),
        },
        DeviceCommand::Service(arguments) => service::run(arguments, around),
        DeviceCommand::Mount(arguments) => mount::run(arguments, output),
        DeviceCommand::WriteSlot(arguments) => write_slot::run(arguments, around, output),
    }
}
