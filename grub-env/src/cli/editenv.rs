//! `grub-editenv`: the same commands, the same exit codes, but a write that GRUB sees.
//!
//! Where it differs on purpose:
//! - A write is in place, at once, and under a lock; the original truncates the file first, so
//!   that a power cut leaves it empty and GRUB sees the old place.
//! - Names that GRUB would not read back (empty, with a leading `#`) are refused.
//! - Of a name that is there twice, the value that GRUB reads is changed.
//! - `list` of a missing file prints nothing and does not create it.
//! - A file whose place is unfit is written all the same, with a warning.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use super::args::DEFAULT_SIZE;
use super::editenv_args::{Command, Misuse, Request, parse};
use super::{chain, render};
use crate::block::{BadVariable, Block};
use crate::file::{EnvFile, FileError, Placement, create, read_file};

const USAGE: &str = "Usage: grub-editenv [OPTION...] FILENAME COMMAND";

const HELP: &str = "
Change the environment block of GRUB, in place, so that GRUB sees it even if power fails.

 Commands:
  create                     make a blank environment block file
  list                       print the variables
  set [NAME=VALUE ...]       set variables
  unset [NAME ...]           remove variables

 Options:
  -?, -h, --help             print this
      --usage                print one line of usage
  -v, --verbose              accepted, without effect
  -V, --version              print the version

'-' as FILENAME, or no FILENAME, means /boot/grub/grubenv. More: grub-env --help";

/// sysexits' EX_USAGE, as the original has it.
const EX_USAGE: u8 = 64;

#[derive(Debug, thiserror::Error)]
enum EditError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Variable(#[from] BadVariable),
    #[error("cannot print")]
    Output(#[from] io::Error),
}

/// Runs `grub-editenv`.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let done = match parse(argv) {
        Ok(Request::Help) => print(&format!("{USAGE}\n{HELP}\n")),
        Ok(Request::Usage) => print(&format!("{USAGE}\n")),
        Ok(Request::Version) => print(concat!(
            "grub-editenv (slotmgr grub-env) ",
            env!("CARGO_PKG_VERSION"),
            "\n"
        )),
        Ok(Request::Run { file, command }) => run(&file, &command),
        Err(Misuse::Usage(what)) => {
            eprintln!("grub-editenv: {what}\n{USAGE}");
            return ExitCode::from(EX_USAGE);
        }
        Err(Misuse::Command(what)) => {
            eprintln!("grub-editenv: {what}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("grub-editenv: error: {}", chain(&e));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> Result<(), EditError> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn run(path: &Path, command: &Command) -> Result<(), EditError> {
    match command {
        Command::Create => Ok(create(path, &Block::with_warning(), DEFAULT_SIZE)?),
        Command::List => {
            let bytes = match read_file(path) {
                Ok(bytes) => bytes,
                Err(FileError::Missing { .. }) => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            let block = Block::parse(&bytes).map_err(|source| FileError::Block {
                path: path.to_owned(),
                source,
            })?;
            let mut out = Vec::new();
            render::variables(&mut out, &block, render::Format::Text)?;
            Ok(io::stdout().write_all(&out)?)
        }
        Command::Set(assignments) => edit(path, |block| {
            assignments
                .iter()
                .try_for_each(|a| block.set(&a.name, &a.value).map(|_| ()))
        }),
        Command::Unset(names) => edit(path, |block| {
            for name in names {
                block.unset(name.as_bytes());
            }
            Ok(())
        }),
    }
}

fn edit(
    path: &Path,
    change: impl FnOnce(&mut Block) -> Result<(), BadVariable>,
) -> Result<(), EditError> {
    let file = match open(path) {
        Err(FileError::Missing { .. }) => {
            create(path, &Block::with_warning(), DEFAULT_SIZE)?;
            open(path)?
        }
        opened => opened?,
    };
    let mut block = file.read()?;
    change(&mut block)?;
    file.write(&block)?;
    Ok(())
}

fn open(path: &Path) -> Result<EnvFile, FileError> {
    // The original follows links, so scripts rely on it; the file behind it is what is checked.
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(_) => path.to_owned(),
    };
    match EnvFile::open(&real, Placement::Checked) {
        Err(e @ FileError::Unfit { .. }) => {
            eprintln!("grub-editenv: warning: {e}");
            EnvFile::open(&real, Placement::Unchecked)
        }
        opened => opened,
    }
}
