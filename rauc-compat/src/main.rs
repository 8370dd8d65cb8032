//! The program `rauc`: everything is in the library.

use std::process::ExitCode;

use bundle_tool::cli::Environment;
use rauc_compat::DeviceEnvironment;

fn main() -> ExitCode {
    rauc_compat::main(
        std::env::args_os(),
        &Environment::of_process(),
        &DeviceEnvironment::of_process(),
    )
}
