//! From words to a command, with RAUC's manners: options may stand before the command, and
//! whatever is wrong gives exit code 1.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory as _, Parser as _};

use crate::arguments::{Arguments, Command};
use crate::{RAUC_VERSION, report};

/// How RAUC's answer to an unknown option begins.
const UNKNOWN_OPTION: &str = "Unknown option";

/// Why there is no command to run.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The user asked for help or the version: goes to standard output.
    Answer(String),
    /// No command, or an unknown one: what RAUC answers with help.
    NoCommand(String),
    /// Words that make no sense.
    Wrong(Box<clap::Error>),
}

impl Refusal {
    /// Prints it; gives the exit code.
    pub(crate) fn print(&self) -> ExitCode {
        match self {
            Self::Answer(text) => report::print(text),
            Self::NoCommand(text) => {
                report::print(text);
                ExitCode::FAILURE
            }
            Self::Wrong(error) => {
                // As RAUC does: the list of options to standard output, the reason to the other.
                let reason = reason(error);
                if reason.starts_with(UNKNOWN_OPTION) {
                    report::print(&error.render().to_string());
                }
                eprintln!("{reason}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Reads the arguments of the process; the first is its name.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, Refusal> {
    let mut words: Vec<OsString> = arguments.skip(1).collect();
    let definition = Arguments::command();
    let Some(at) = position_of_command(&definition, &words) else {
        return Err(without_command(definition, &words));
    };
    let verb = words.remove(at);
    if words.iter().any(|word| word == "--version") {
        return Err(Refusal::Answer(version()));
    }
    let line = [OsString::from("rauc"), verb].into_iter().chain(words);
    match Arguments::try_parse_from(line) {
        Ok(arguments) => Ok(arguments.command),
        Err(error) => Err(match error.kind() {
            ErrorKind::DisplayHelp => Refusal::Answer(error.render().to_string()),
            ErrorKind::InvalidSubcommand => {
                let help = Arguments::command().render_help();
                Refusal::NoCommand(format!("{}\n{help}", reason(&error)))
            }
            _ => Refusal::Wrong(error.into()),
        }),
    }
}

fn version() -> String {
    format!(
        "rauc {RAUC_VERSION} (slotmgr {})\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn without_command(mut definition: clap::Command, words: &[OsString]) -> Refusal {
    let asked = |names: &[&str]| {
        words
            .iter()
            .any(|word| names.iter().any(|name| word == name))
    };
    let help = definition.render_help().to_string();
    if asked(&["--version"]) {
        Refusal::Answer(version())
    } else if asked(&["--help", "-h"]) {
        Refusal::Answer(help)
    } else {
        Refusal::NoCommand(help)
    }
}

/// Where the command stands: the first word that is neither an option nor the value of one.
fn position_of_command(definition: &clap::Command, words: &[OsString]) -> Option<usize> {
    let mut skip = false;
    words.iter().position(|word| {
        if std::mem::take(&mut skip) {
            return false;
        }
        skip = is_followed_by_value(definition, word);
        !word.as_encoded_bytes().starts_with(b"-")
    })
}

/// Whether `word` is an option of any command that takes the next word as its value.
fn is_followed_by_value(definition: &clap::Command, word: &OsStr) -> bool {
    let Some(word) = word.to_str() else {
        return false;
    };
    let named = |argument: &clap::Arg| match word.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        None => {
            let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
            let (first, rest) = (letters.next(), letters.next());
            first.is_some() && argument.get_short() == first && rest.is_none()
        }
    };
    definition
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .any(|argument| named(argument) && argument.get_action().takes_values())
}

/// What is wrong, in one line.
fn reason(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(ToString::to_string);
    let named = context(ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if !named.starts_with('-') => {
            format!("Excess argument: {named}")
        }
        ErrorKind::UnknownArgument => format!("{UNKNOWN_OPTION} {named}"),
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).as_deref() == Some("") => {
            format!("Missing argument for {named}")
        }
        ErrorKind::MissingRequiredArgument => format!("Missing: {named}. See --help."),
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("There is no command '{word}'.")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::HostCommand;

    fn command(line: &str) -> Result<Command, Refusal> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn info(line: &str) -> crate::arguments::InfoArguments {
        match command(line).unwrap() {
            Command::Host(HostCommand::Info(arguments)) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_stand_on_either_side_of_the_command() {
        let after = info("rauc info -c a.conf --keyring k.pem --dump-cert b.raucb");
        for line in [
            "rauc -c a.conf --keyring k.pem info b.raucb --dump-cert",
            "rauc --keyring=k.pem --conf=a.conf --dump-cert info b.raucb",
            "rauc -ca.conf info --keyring k.pem b.raucb --dump-cert",
        ] {
            assert_eq!(info(line), after, "{line}");
        }
    }

    #[test]
    fn a_value_that_looks_like_a_command_is_none() {
        let arguments = info("rauc --keyring bundle info b.raucb");
        assert_eq!(arguments.global.keyring, Some("bundle".into()));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (line, text) in [
            ("rauc info --frob b", "Unknown option --frob"),
            ("rauc info b c", "Excess argument: c"),
            (
                "rauc info b --keyring",
                "Missing argument for --keyring <PEMFILE>",
            ),
            ("rauc info", "Missing: <FILE>. See --help."),
        ] {
            match command(line).unwrap_err() {
                Refusal::Wrong(error) => assert_eq!(reason(&error), text, "{line}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }
}
