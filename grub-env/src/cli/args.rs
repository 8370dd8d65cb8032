//! The command line of `grub-env`, as values that compare.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use super::render::Format;
use crate::file::Placement;
use crate::paired::{BadName, Name};

/// The file that GRUB's own tools use when none is named.
pub const DEFAULT_FILE: &str = "/boot/grub/grubenv";

/// Size of a new block unless told otherwise, in bytes: what GRUB's own editor makes.
pub const DEFAULT_SIZE: usize = 1024;

/// Read and change the environment block of GRUB so that GRUB sees the change even if power fails.
#[derive(Debug, Parser)]
#[command(name = "grub-env", version, max_term_width = 100)]
pub struct Args {
    /// The environment file, if it is not named behind the command [default: /boot/grub/grubenv]
    #[arg(short, long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: RawVerb,
}

#[derive(Debug, Subcommand)]
enum RawVerb {
    /// Show the variables, one name=value a line
    List {
        /// The environment file
        #[arg(value_name = "FILE")]
        named: Option<PathBuf>,
    },
    /// Set variables, all of them in one write
    Set {
        /// Do not ask whether GRUB could see the write; follow symbolic links
        #[arg(long)]
        unchecked: bool,
        /// What to set; a first word without '=' is the file
        #[arg(required = true, value_name = "NAME=VALUE")]
        words: Vec<OsString>,
    },
    /// Remove variables, all of them in one write
    Unset {
        /// Do not ask whether GRUB could see the write; follow symbolic links
        #[arg(long)]
        unchecked: bool,
        /// What to remove (the file is named by --file here)
        #[arg(required = true, value_name = "NAME")]
        names: Vec<OsString>,
    },
    /// Make a new, empty block, in the place of an old one if there is one
    Create {
        /// Bytes; 512 makes every write one sector
        #[arg(long, default_value_t = DEFAULT_SIZE)]
        size: usize,
        /// The environment file
        #[arg(value_name = "FILE")]
        named: Option<PathBuf>,
    },
    /// The paired files ab1, ab2, ab3: two copies written in turn, and GRUB's own counter
    Pair {
        #[command(subcommand)]
        verb: RawPair,
    },
    /// Say in words whether GRUB and Linux can rely on the file
    Doctor {
        /// The environment file
        #[arg(value_name = "FILE")]
        named: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
enum RawPair {
    /// Make the files that are missing or do not count; a state that is in force stays
    Create {
        /// The slot that GRUB starts
        #[arg(long, value_name = "NAME", value_parser = name)]
        primary: Name,
        /// The slot that it starts when that one is not confirmed
        #[arg(long, value_name = "NAME", value_parser = name)]
        fallback: Option<Name>,
        /// Their directory
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
    },
    /// Show both copies, and what GRUB does at the next start
    Show {
        /// The slot that grub.cfg names for the case that neither copy counts
        #[arg(long, value_name = "NAME", value_parser = name)]
        default: Name,
        /// Their directory
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
    },
    /// Print the part of grub.cfg that reads them
    Cfg {
        /// Their directory as GRUB names it
        #[arg(long, value_name = "PATH", default_value = "$prefix")]
        directory: String,
        /// The slot to start when neither copy counts
        #[arg(long, value_name = "NAME", value_parser = name)]
        default: Name,
    },
}

fn name(text: &str) -> Result<Name, BadName> {
    Name::new(text)
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The environment file.
    pub file: PathBuf,
    /// How to answer.
    pub format: Format,
    /// What to do.
    pub verb: Verb,
}

/// What to do with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Show the variables.
    List,
    /// Set variables.
    Set(Placement, Vec<Assignment>),
    /// Remove variables.
    Unset(Placement, Vec<OsString>),
    /// Make a new file of so many bytes.
    Create(usize),
    /// Judge the file.
    Doctor,
    /// Something with the paired files.
    Pair(PairVerb),
}

/// What to do with the paired files; the file of the [`Request`] is their directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairVerb {
    /// Make what is missing.
    Create {
        /// Started.
        primary: Name,
        /// Started when that one is not confirmed.
        fallback: Option<Name>,
    },
    /// Show what they say; the slot is the default of `grub.cfg`.
    Show(Name),
    /// Print the script.
    Cfg {
        /// As GRUB names it.
        directory: String,
        /// Started when neither copy counts.
        default: Name,
    },
}

/// A `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Before the first `=`.
    pub name: Vec<u8>,
    /// After it.
    pub value: Vec<u8>,
}

impl Assignment {
    /// Splits at the first `=`; `None` if there is none.
    pub fn parse(text: &OsStr) -> Option<Self> {
        let bytes = text.as_bytes();
        let at = bytes.iter().position(|b| *b == b'=')?;
        let (name, rest) = bytes.split_at_checked(at)?;
        Some(Self {
            name: name.to_vec(),
            value: rest.get(1..)?.to_vec(),
        })
    }
}

/// Reads the command line, the program's name first.
pub fn parse(argv: Vec<OsString>) -> Result<Request, clap::Error> {
    let args = Args::try_parse_from(argv)?;
    let format = if args.json {
        Format::Json
    } else {
        Format::Text
    };
    let (named, verb) = match args.verb {
        RawVerb::List { named } => (named, Verb::List),
        RawVerb::Doctor { named } => (named, Verb::Doctor),
        RawVerb::Create { size, named } => (named, Verb::Create(size)),
        RawVerb::Pair { verb } => pair(verb),
        RawVerb::Unset { unchecked, names } => (None, Verb::Unset(placement(unchecked), names)),
        RawVerb::Set { unchecked, words } => {
            let (named, assignments) = file_and_assignments(words)?;
            (named, Verb::Set(placement(unchecked), assignments))
        }
    };
    let file = match (named, args.file) {
        (Some(_), Some(_)) => {
            let text = "the file is named twice: behind the command and by --file";
            return Err(Args::command().error(ErrorKind::ArgumentConflict, text));
        }
        (Some(file), None) | (None, Some(file)) => file,
        (None, None) => DEFAULT_FILE.into(),
    };
    Ok(Request { file, format, verb })
}

fn pair(verb: RawPair) -> (Option<PathBuf>, Verb) {
    let (directory, verb) = match verb {
        RawPair::Create {
            primary,
            fallback,
            directory,
        } => (Some(directory), PairVerb::Create { primary, fallback }),
        RawPair::Show { default, directory } => (Some(directory), PairVerb::Show(default)),
        RawPair::Cfg { directory, default } => (None, PairVerb::Cfg { directory, default }),
    };
    (directory, Verb::Pair(verb))
}

fn placement(unchecked: bool) -> Placement {
    if unchecked {
        Placement::Unchecked
    } else {
        Placement::Checked
    }
}

fn file_and_assignments(
    words: Vec<OsString>,
) -> Result<(Option<PathBuf>, Vec<Assignment>), clap::Error> {
    let wrong = |kind, text: String| Args::command().error(kind, text);
    let mut file = None;
    let mut assignments = Vec::new();
    for (index, word) in words.into_iter().enumerate() {
        match Assignment::parse(&word) {
            Some(assignment) => assignments.push(assignment),
            None if index == 0 => file = Some(PathBuf::from(word)),
            None => {
                let text = format!("expected NAME=VALUE, found {}", word.display());
                return Err(wrong(ErrorKind::InvalidValue, text));
            }
        }
    }
    if assignments.is_empty() {
        let text = "nothing to set: expected NAME=VALUE".to_owned();
        return Err(wrong(ErrorKind::MissingRequiredArgument, text));
    }
    Ok((file, assignments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Request, clap::Error> {
        let words = line
            .split(' ')
            .filter(|w| !w.is_empty())
            .map(OsString::from);
        parse(
            std::iter::once(OsString::from("grub-env"))
                .chain(words)
                .collect(),
        )
    }

    fn a(name: &str, value: &str) -> Assignment {
        Assignment {
            name: name.into(),
            value: value.into(),
        }
    }

    #[test]
    fn reads_its_command_lines() {
        let text = |file: &str, verb| Request {
            file: file.into(),
            format: Format::Text,
            verb,
        };
        let set = |p| Verb::Set(p, vec![a("a", "1"), a("b", "c=d"), a("e", "")]);
        for (line, want) in [
            ("list", text(DEFAULT_FILE, Verb::List)),
            ("list x", text("x", Verb::List)),
            ("-f x doctor", text("x", Verb::Doctor)),
            ("create --size 512 x", text("x", Verb::Create(512))),
            (
                "pair show --default A x",
                text("x", Verb::Pair(PairVerb::Show(Name::new("A").unwrap()))),
            ),
            ("create", text(DEFAULT_FILE, Verb::Create(1024))),
            ("set x a=1 b=c=d e=", text("x", set(Placement::Checked))),
            (
                "set a=1 b=c=d e= -f x --unchecked",
                text("x", set(Placement::Unchecked)),
            ),
            (
                "unset -f x a",
                text("x", Verb::Unset(Placement::Checked, vec!["a".into()])),
            ),
        ] {
            assert_eq!(of(line).unwrap(), want, "{line}");
        }
        assert_eq!(of("list --json").unwrap().format, Format::Json);
    }

    #[test]
    fn wrong_usage_is_told() {
        for bad in [
            "",
            "set",
            "set x",
            "set a=1 x",
            "unset",
            "x",
            "-f x list x",
            "create --size y",
            "pair create x",
            "pair cfg --default none",
            "pair create --primary A/B x",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
