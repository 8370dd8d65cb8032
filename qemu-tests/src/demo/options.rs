//! The command line of the demo program.

use std::path::PathBuf;

use crate::http::RELAY_COMMAND;

/// How to use the program.
pub const USAGE: &str = "\
Usage: cargo demo [--bad] [--programs DIR]

Without options: a machine in QEMU updates itself from version 1 to version 2.

--bad           then it installs version 3, which is broken, and must come back
                to version 2 by itself
--programs DIR  use DIR/slotmgr (statically linked) and DIR/bundle-tool instead
                of building them
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Run the demo.
    Demo(Options),
    /// Be the relay between QEMU and a server on this port of the loopback address.
    Relay(u16),
    /// Print the usage.
    Help,
}

/// How to run the demo.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Install the broken version.
    pub bad: bool,
    /// Where built programs lie; otherwise they are built.
    pub programs: Option<PathBuf>,
}

/// Reads the command line, without the name of the program.
///
/// # Errors
/// It makes no sense; the text says why.
pub fn parse(arguments: &[String]) -> Result<Task, String> {
    let mut words = arguments.iter().map(String::as_str);
    let mut options = Options::default();
    while let Some(word) = words.next() {
        match word {
            "--bad" => options.bad = true,
            "--programs" => {
                options.programs = Some(words.next().ok_or("--programs needs a folder")?.into());
            }
            "--help" | "-h" => return Ok(Task::Help),
            RELAY_COMMAND => {
                let port = words.next().and_then(|port| port.parse().ok());
                return port
                    .map(Task::Relay)
                    .ok_or_else(|| "relay needs a port".to_owned());
            }
            other => return Err(format!("there is no option {other:?}")),
        }
    }
    Ok(Task::Demo(options))
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
        assert_eq!(parsed(""), Ok(Task::Demo(Options::default())));
        let all = Options {
            bad: true,
            programs: Some("/x".into()),
        };
        assert_eq!(parsed("--programs /x --bad"), Ok(Task::Demo(all)));
        assert_eq!(parsed("relay 8000"), Ok(Task::Relay(8000)));
        assert_eq!(parsed("--help"), Ok(Task::Help));
        for wrong in ["--good", "--programs", "relay", "relay 70000", "x"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
