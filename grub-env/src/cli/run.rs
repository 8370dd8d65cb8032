//! What the verbs of `grub-env` do.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use super::args::{Request, Verb, parse};
use super::doctor::{self, Health};
use super::{chain, pair, render};
use crate::block::{BadVariable, Block};
use crate::file::{EnvFile, FileError, Placement, Written, create, read_file};

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("nothing was changed")]
    Variable(#[from] BadVariable),
    #[error(transparent)]
    Pair(#[from] pair::PairFault),
    #[error("cannot write the answer")]
    Output(#[from] io::Error),
}

/// Runs `grub-env`.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let request = match parse(argv) {
        Ok(request) => request,
        Err(e) => {
            // A closed pipe must not turn help into a failure.
            let _ = e.print();
            return if e.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let mut out = Vec::new();
    let done = run(&request, &mut out).and_then(|code| {
        io::stdout().write_all(&out)?;
        Ok(code)
    });
    done.unwrap_or_else(|e| {
        eprintln!("grub-env: error: {}", chain(&e));
        ExitCode::FAILURE
    })
}

fn run(request: &Request, out: &mut Vec<u8>) -> Result<ExitCode, RunError> {
    let Request {
        file: path,
        format,
        verb,
    } = request;
    match verb {
        Verb::List => {
            let block = Block::parse(&read_file(path)?).map_err(|source| FileError::Block {
                path: path.clone(),
                source,
            })?;
            render::variables(out, &block, *format)?;
        }
        Verb::Set(placement, assignments) => {
            let written = edit(path, *placement, |block| {
                assignments
                    .iter()
                    .try_for_each(|a| block.set(&a.name, &a.value).map(|_| ()))
            })?;
            render::written(out, path, written, *format)?;
        }
        Verb::Unset(placement, names) => {
            let written = edit(path, *placement, |block| {
                for name in names {
                    block.unset(name.as_bytes());
                }
                Ok(())
            })?;
            render::written(out, path, written, *format)?;
        }
        Verb::Create(size) => {
            create(path, &Block::new(), *size)?;
            render::created(out, path, *size, *format)?;
        }
        Verb::Pair(verb) => pair::run(path, verb, *format, out)?,
        Verb::Doctor => {
            let report = doctor::examine(path)?;
            render::report(out, &report, *format)?;
            if report.health() == Health::Unfit {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn edit(
    path: &Path,
    placement: Placement,
    change: impl FnOnce(&mut Block) -> Result<(), BadVariable>,
) -> Result<Written, RunError> {
    let file = EnvFile::open(path, placement)?;
    let mut block = file.read()?;
    change(&mut block)?;
    Ok(file.write(&block)?)
}
