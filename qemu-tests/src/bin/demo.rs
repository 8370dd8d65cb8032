//! `cargo demo`: a machine updates itself, shown from its first to its last part.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use qemu_tests::demo::{self, Stage, Task};
use qemu_tests::http;
use qemu_tests::workspace::Workspace;
use xtask::progress::{Progress, Style};

fn main() -> ExitCode {
    let result = match demo::parse(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(Task::Demo(options)) => run(&options),
        Ok(Task::Relay(port)) => http::relay(port),
        Ok(Task::Help) => {
            print!("{}", demo::USAGE);
            Ok(())
        }
        Err(problem) => {
            eprint!("demo: {problem}\n{}", demo::USAGE);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &demo::Options) -> Result<()> {
    // As cargo says them now; as at compile time when the program is started by itself.
    let package =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Workspace::of_package(Path::new(&package), cargo);
    let progress = Progress::new(Style::of_stdout());
    let relay = env::current_exe().context("where does this program lie?")?;
    let stage = Stage {
        workspace: &workspace,
        progress: &progress,
        relay,
        show_console: true,
    };
    demo::run(&stage, options)
}
