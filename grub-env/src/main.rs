//! `grub-env`, and `grub-editenv` when called by that name.

use std::process::ExitCode;

fn main() -> ExitCode {
    grub_env::cli::main(std::env::args_os().collect())
}
