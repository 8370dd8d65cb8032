//! The programs: `uboot-env print|set|doctor`, and `fw_printenv`/`fw_setenv` by name.
//!
//! Exit codes: 0 done; 1 failed, or (`doctor`) something is wrong; 2 wrong usage of `uboot-env`. The
//! `fw_*` names use 1 for wrong usage, too, as their models do.

mod args;
mod doctor;
mod print;
mod render;
mod session;
mod set;

use anyhow::Result;
use args::{Cli, FwPrintenv, FwSetenv, Verb};
use clap::Parser;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;

/// Version of the JSON that `--json` writes.
pub const JSON_SCHEMA: u32 = 1;

/// The command line's definition, for manual pages.
#[must_use]
pub fn command() -> clap::Command {
    <args::Cli as clap::CommandFactory>::command()
}

/// The three streams. Tests give buffers.
pub struct Console<'a> {
    /// For scripts from `-`.
    pub stdin: &'a mut dyn Read,
    /// Results only.
    pub stdout: &'a mut dyn Write,
    /// Warnings and errors.
    pub stderr: &'a mut dyn Write,
}

impl Console<'_> {
    /// A remark that does not stop anything. A closed stderr does not either.
    fn warn(&mut self, text: &str) {
        drop(writeln!(self.stderr, "warning: {text}"));
    }
}

/// What the program is called as.
enum Face {
    UbootEnv,
    Printenv,
    Setenv,
}

/// Runs the program that `argv[0]` names and returns the exit code.
pub fn run(argv: impl IntoIterator<Item = OsString>, mut console: Console<'_>) -> u8 {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let name = argv
        .first()
        .map(Path::new)
        .and_then(Path::file_name)
        .unwrap_or_default();
    let (face, usage_code) = match name.to_str() {
        Some("fw_printenv") => (Face::Printenv, 1),
        Some("fw_setenv") => (Face::Setenv, 1),
        _ => (Face::UbootEnv, 2),
    };
    match parse_and_run(&face, argv, &mut console) {
        Ok(code) => code,
        Err(e) => match e.downcast_ref::<clap::Error>() {
            Some(usage) => {
                // Help and version are answers, not mistakes.
                let out = if usage.use_stderr() {
                    console.stderr
                } else {
                    console.stdout
                };
                drop(write!(out, "{usage}"));
                if usage.use_stderr() { usage_code } else { 0 }
            }
            None => {
                drop(writeln!(console.stderr, "error: {e:#}"));
                1
            }
        },
    }
}

fn parse_and_run(face: &Face, argv: Vec<OsString>, console: &mut Console<'_>) -> Result<u8> {
    match face {
        Face::Printenv => print::fw_printenv(&FwPrintenv::try_parse_from(argv)?, console),
        Face::Setenv => set::fw_setenv(&FwSetenv::try_parse_from(argv)?, console),
        Face::UbootEnv => match Cli::try_parse_from(argv)?.verb {
            Verb::Print(args) => print::print(&args, console),
            Verb::Set(args) => set::set(&args, console),
            Verb::Doctor(args) => doctor::doctor(&args, console),
        },
    }
}
