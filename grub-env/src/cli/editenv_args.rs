//! The command line of `grub-editenv`, as values that compare.
//!
//! As measured: options may come anywhere; a single word is the command, for the default file;
//! `-` stands for the default file; words behind `list` and `create` are ignored.

use std::ffi::OsString;
use std::path::PathBuf;

use super::args::{Assignment, DEFAULT_FILE};

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// `--help` and the like: print and leave with 0.
    Help,
    /// `--usage`
    Usage,
    /// `--version`
    Version,
    /// A command on a file.
    Run {
        /// The file.
        file: PathBuf,
        /// The command.
        command: Command,
    },
}

/// The commands.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Make a blank block.
    Create,
    /// Print all variables.
    List,
    /// Set variables.
    Set(Vec<Assignment>),
    /// Remove variables.
    Unset(Vec<OsString>),
}

/// Wrong usage, by exit code.
#[derive(Debug, PartialEq, Eq)]
pub enum Misuse {
    /// 64: an unknown option, or no command at all.
    Usage(String),
    /// 1: an unknown command or a bad parameter.
    Command(String),
}

/// Reads the command line without the program's name.
pub fn parse(argv: Vec<OsString>) -> Result<Request, Misuse> {
    let mut words = Vec::new();
    let mut options_end = false;
    for arg in argv {
        let text = arg.to_string_lossy();
        if options_end || text == "-" || !text.starts_with('-') {
            words.push(arg);
            continue;
        }
        match text.as_ref() {
            "--" => options_end = true,
            "-v" | "--verbose" => {}
            "-?" | "-h" | "--help" => return Ok(Request::Help),
            "--usage" => return Ok(Request::Usage),
            "-V" | "--version" => return Ok(Request::Version),
            other => return Err(Misuse::Usage(format!("unrecognized option '{other}'"))),
        }
    }
    let mut words = words.into_iter();
    let Some(first) = words.next() else {
        return Err(Misuse::Usage(
            "You need to specify at least one command.".to_owned(),
        ));
    };
    let (file, command) = match words.next() {
        None => (OsString::from(DEFAULT_FILE), first),
        Some(command) if first == "-" => (OsString::from(DEFAULT_FILE), command),
        Some(command) => (first, command),
    };
    let rest: Vec<OsString> = words.collect();
    let command = match command.to_str() {
        Some("create") => Command::Create,
        Some("list") => Command::List,
        Some("set") => Command::Set(assignments(&rest)?),
        Some("unset") => Command::Unset(rest),
        _ => {
            let shown = command.to_string_lossy();
            return Err(Misuse::Command(format!("Unknown command `{shown}'.")));
        }
    };
    Ok(Request::Run {
        file: file.into(),
        command,
    })
}

fn assignments(words: &[OsString]) -> Result<Vec<Assignment>, Misuse> {
    let bad = |w: &OsString| {
        Misuse::Command(format!("error: invalid parameter {}.", w.to_string_lossy()))
    };
    words
        .iter()
        .map(|w| Assignment::parse(w).ok_or_else(|| bad(w)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Request, Misuse> {
        parse(line.split_ascii_whitespace().map(OsString::from).collect())
    }

    fn run(file: &str, command: Command) -> Result<Request, Misuse> {
        Ok(Request::Run {
            file: file.into(),
            command,
        })
    }

    #[test]
    fn reads_what_the_original_reads() {
        let a = |n: &str, v: &str| Assignment {
            name: n.into(),
            value: v.into(),
        };
        assert_eq!(of("list"), run(DEFAULT_FILE, Command::List));
        assert_eq!(of("- list"), run(DEFAULT_FILE, Command::List));
        assert_eq!(of("f list extra"), run("f", Command::List));
        assert_eq!(of("f -v create"), run("f", Command::Create));
        assert_eq!(
            of("f set a=1 b="),
            run("f", Command::Set(vec![a("a", "1"), a("b", "")]))
        );
        assert_eq!(of("f set"), run("f", Command::Set(Vec::new())));
        assert_eq!(
            of("f unset -- -x"),
            run("f", Command::Unset(vec!["-x".into()]))
        );
        assert_eq!(of("--help"), Ok(Request::Help));
        assert_eq!(of("-V"), Ok(Request::Version));
        assert!(matches!(of(""), Err(Misuse::Usage(_))));
        assert!(matches!(of("--bogus"), Err(Misuse::Usage(_))));
        assert!(matches!(of("f"), Err(Misuse::Command(_))));
        assert!(matches!(of("f foo"), Err(Misuse::Command(_))));
        assert!(matches!(of("f set a=1 noeq"), Err(Misuse::Command(_))));
    }
}
