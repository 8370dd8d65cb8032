//! The command line of `grub-env`, as values that compare.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};

use super::render::Format;
use crate::file::Placement;

/// The file that GRUB's own tools use when none is named.
pub const DEFAULT_FILE: &str = "/boot/grub/grubenv";

/// Size of a new block unless told otherwise, in bytes: what GRUB's own editor makes.
pub const DEFAULT_SIZE: usize = 1024;

/// Read and change the environment block of GRUB so that GRUB sees the change even if power fails.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "grub-env", version, max_term_width = 100)]
pub struct Args {
    /// The environment file
    #[arg(short, long, global = true, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with the file.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Show the variables, one name=value a line
    List,
    /// Set variables, all of them in one write
    Set {
        /// Do not ask whether GRUB could see the write; follow symbolic links
        #[arg(long)]
        unchecked: bool,
        /// What to set
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = assignment())]
        assignments: Vec<Assignment>,
    },
    /// Remove variables, all of them in one write
    Unset {
        /// Do not ask whether GRUB could see the write; follow symbolic links
        #[arg(long)]
        unchecked: bool,
        /// What to remove
        #[arg(required = true, value_name = "NAME")]
        names: Vec<OsString>,
    },
    /// Make a new, empty block, in the place of an old one if there is one
    Create {
        /// Bytes; 512 makes every write one sector
        #[arg(long, default_value_t = DEFAULT_SIZE)]
        size: usize,
    },
    /// Say in words whether GRUB and Linux can rely on the file
    Doctor,
}

impl Args {
    /// How to answer.
    pub(super) fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Text
        }
    }

    /// How well the file must be placed for this verb.
    pub(super) fn placement(&self) -> Placement {
        match self.verb {
            Verb::Set {
                unchecked: true, ..
            }
            | Verb::Unset {
                unchecked: true, ..
            } => Placement::Unchecked,
            _ => Placement::Checked,
        }
    }
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

fn assignment() -> impl TypedValueParser<Value = Assignment> {
    // Not the parser for text: a value may be any bytes.
    OsStringValueParser::new().try_map(|text| Assignment::parse(&text).ok_or("expected NAME=VALUE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_command_lines() {
        let parse = |line: &str| Args::try_parse_from(line.split(' '));
        let args = parse("grub-env set -f /x --unchecked a=1 b=c=d e=").unwrap();
        assert_eq!(args.file, PathBuf::from("/x"));
        let a = |name: &str, value: &str| Assignment {
            name: name.into(),
            value: value.into(),
        };
        let assignments = vec![a("a", "1"), a("b", "c=d"), a("e", "")];
        assert_eq!(
            args.verb,
            Verb::Set {
                unchecked: true,
                assignments
            }
        );
        let args = parse("grub-env --json create --size 512").unwrap();
        assert_eq!(args.file, PathBuf::from(DEFAULT_FILE));
        assert_eq!((args.json, args.verb), (true, Verb::Create { size: 512 }));
        for bad in [
            "grub-env",
            "grub-env set",
            "grub-env set a",
            "grub-env unset",
            "grub-env x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
