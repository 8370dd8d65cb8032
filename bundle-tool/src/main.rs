//! The program: everything is in the library.

use std::process::ExitCode;

use bundle_tool::cli::{self, Environment};
use clap::Parser as _;

fn main() -> ExitCode {
    cli::main(&cli::Args::parse(), &Environment::of_process())
}
