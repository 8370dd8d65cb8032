//! `cargo xtask`: one entrance for everything that developers and CI run.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use xtask::progress::{Progress, Style};
use xtask::suite::{Part, Suite, workspace_root};

const USAGE: &str = "\
Usage: cargo xtask test [--no-qemu] [--only fmt|clippy|unit|qemu]
       cargo xtask packages

test      install the Debian packages that the tests need, then run them all:
          formatting, clippy, unit and peer tests, machines in QEMU
packages  install these packages only
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Test(Vec<Part>),
    Packages,
    Help,
}

fn parse(arguments: &[String]) -> Result<Task, String> {
    let mut words = arguments.iter().map(String::as_str);
    match words.next() {
        Some("test") => {}
        Some("packages") if arguments.len() == 1 => return Ok(Task::Packages),
        Some("help" | "--help" | "-h") => return Ok(Task::Help),
        Some(other) => return Err(format!("there is no task {other:?}")),
        None => return Err("no task was named".to_owned()),
    }
    let mut parts = Part::ALL.to_vec();
    while let Some(word) = words.next() {
        match word {
            "--no-qemu" => parts.retain(|part| *part != Part::Qemu),
            "--only" => {
                let name = words.next().unwrap_or_default();
                parts.retain(|part| part.name() == name);
            }
            other => return Err(format!("there is no option {other:?}")),
        }
    }
    if parts.is_empty() {
        return Err("these options leave nothing to run".to_owned());
    }
    Ok(Task::Test(parts))
}

fn main() -> ExitCode {
    let task = match parse(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(task) => task,
        Err(problem) => {
            eprint!("xtask: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let progress = Progress::new(Style::of_stdout());
    // As cargo says it now; as it was at compile time when the program is started by itself.
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let suite = Suite {
        cargo: env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        root: workspace_root(Path::new(&manifest_dir)),
        progress: &progress,
    };
    let result = match task {
        Task::Help => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Task::Packages => suite.install(&Part::ALL),
        Task::Test(parts) => suite.run(&parts),
    };
    println!("\n{}", progress.table());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn command_lines() {
        assert_eq!(parsed("test"), Ok(Task::Test(Part::ALL.to_vec())));
        let without = vec![Part::Fmt, Part::Clippy, Part::Unit];
        assert_eq!(parsed("test --no-qemu"), Ok(Task::Test(without)));
        assert_eq!(parsed("test --only qemu"), Ok(Task::Test(vec![Part::Qemu])));
        assert_eq!(parsed("packages"), Ok(Task::Packages));
        for wrong in [
            "",
            "tset",
            "test --fast",
            "test --only",
            "test --only x",
            "packages x",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        assert!(parsed("test --no-qemu --only qemu").is_err());
    }
}
