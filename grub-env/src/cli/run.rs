//! What the verbs of `grub-env` do.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use clap::Parser;

use super::args::{Args, Verb};
use super::doctor::{self, Health};
use super::{chain, render};
use crate::block::{BadVariable, Block};
use crate::file::{EnvFile, FileError, Written, create, read_file};

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("nothing was changed")]
    Variable(#[from] BadVariable),
    #[error("cannot write the answer")]
    Output(#[from] io::Error),
}

/// Runs `grub-env`.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let args = match Args::try_parse_from(argv) {
        Ok(args) => args,
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
    let done = run(&args, &mut out).and_then(|code| {
        io::stdout().write_all(&out)?;
        Ok(code)
    });
    done.unwrap_or_else(|e| {
        eprintln!("grub-env: error: {}", chain(&e));
        ExitCode::FAILURE
    })
}

fn run(args: &Args, out: &mut Vec<u8>) -> Result<ExitCode, RunError> {
    let path = args.file.as_path();
    match &args.verb {
        Verb::List => {
            let block = parse(args, &read_file(path)?)?;
            render::variables(out, &block, args.format())?;
        }
        Verb::Set { assignments, .. } => {
            let written = edit(args, |block| {
                for a in assignments {
                    block.set(&a.name, &a.value)?;
                }
                Ok(())
            })?;
            render::written(out, path, written, args.format())?;
        }
        Verb::Unset { names, .. } => {
            let written = edit(args, |block| {
                for name in names {
                    block.unset(name.as_bytes());
                }
                Ok(())
            })?;
            render::written(out, path, written, args.format())?;
        }
        Verb::Create { size } => {
            create(path, &Block::new(), *size)?;
            render::created(out, path, *size, args.format())?;
        }
        Verb::Doctor => {
            let report = doctor::examine(path)?;
            let health = report.health();
            render::report(out, &report, args.format())?;
            if health == Health::Unfit {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(args: &Args, bytes: &[u8]) -> Result<Block, RunError> {
    let block = Block::parse(bytes).map_err(|source| FileError::Block {
        path: args.file.clone(),
        source,
    })?;
    Ok(block)
}

fn edit(
    args: &Args,
    change: impl FnOnce(&mut Block) -> Result<(), BadVariable>,
) -> Result<Written, RunError> {
    let file = EnvFile::open(&args.file, args.placement())?;
    let mut block = file.read()?;
    change(&mut block)?;
    Ok(file.write(&block)?)
}
