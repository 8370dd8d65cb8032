//! `uboot-env set` and `fw_setenv`: all assignments of one call are one environment write.

use super::Console;
use super::args::{DialectArg, FwSetenv, Place, SetArgs};
use super::session::{Purpose, Session, chain, read_capped, take_capped, warn_about};
use crate::codec::Endian;
use crate::env::{Change, Env, VarName, View};
use crate::limits::MAX_SCRIPT_BYTES;
use crate::script::{self, Assignment, Dialect};
use crate::txn::{Outcome, Txn};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What to do, whichever program asks.
struct Job<'a> {
    place: &'a Place,
    endian: Endian,
    view: View,
    assignments: Vec<Assignment>,
    start: Start,
    mode: Mode,
    talk: Talk,
}

/// What holds if no copy is valid.
enum Start {
    /// Nothing is written.
    Refuse,
    /// A new environment, from these variables.
    New(Vec<Assignment>),
}

#[derive(PartialEq)]
enum Mode {
    Write,
    DryRun,
}

#[derive(PartialEq)]
enum Talk {
    /// `fw_setenv` says nothing when all is well.
    Quiet,
    Report,
}

pub(super) fn set(args: &SetArgs, console: &mut Console<'_>) -> Result<u8> {
    let mut assignments = match &args.script {
        Some(path) => read_script(path, Dialect::Both, console)?,
        None => Vec::new(),
    };
    for word in &args.assignments {
        assignments.push(assignment(word)?);
    }
    let job = Job {
        place: &args.place,
        endian: args.bytes.endian.into(),
        view: args.bytes.view.into(),
        assignments,
        start: start(args.init, args.defenv.as_deref(), console)?,
        mode: if args.dry_run {
            Mode::DryRun
        } else {
            Mode::Write
        },
        talk: Talk::Report,
    };
    run(&job, console)
}

pub(super) fn fw_setenv(args: &FwSetenv, console: &mut Console<'_>) -> Result<u8> {
    let dialect = args.dialect;
    let assignments = match (&args.script, args.words.as_slice()) {
        (Some(path), []) => read_script(path, dialect.into(), console)?,
        (Some(_), _) => bail!("give either a script or variables, not both"),
        (None, []) => bail!("the variable name is missing"),
        (None, words) if dialect == DialectArg::Libubootenv => pairs(words)?,
        (None, words) => vec![joined(words)?],
    };
    let job = Job {
        place: &args.place,
        endian: Endian::native(),
        view: View::Raw,
        assignments,
        start: start(args.init, args.defenv.as_deref(), console)?,
        mode: Mode::Write,
        talk: Talk::Quiet,
    };
    run(&job, console)
}

fn run(job: &Job<'_>, console: &mut Console<'_>) -> Result<u8> {
    let mut session = Session::open(job.place, job.endian, Purpose::Write, console)?;
    for hint in &session.config.hints {
        console.warn(&hint.to_string());
    }
    let mut txn = session.load();
    warn_about(txn.snapshot(), console);
    let is_lost = txn.snapshot().env().is_none();
    if let (Start::New(variables), true) = (&job.start, is_lost) {
        txn.replace(from_assignments(variables)?);
    }
    let mut report = Vec::new();
    for a in &job.assignments {
        let stored = a.value.as_ref().map(|v| job.view.encode(v));
        if job.view == View::Raw && stored.as_ref().is_some_and(|v| v.contains(&b'\\')) {
            console.warn(&format!("{}: U-Boot removes one level of backslashes when it loads this (--view uboot adds it)", a.name));
        }
        let change = txn.set(&a.name, stored.as_deref())?;
        report.push((a.name.to_string(), change));
    }
    if job.mode == Mode::DryRun {
        return dry_run(&txn, &report, console);
    }
    let outcome = match job.start {
        Start::Refuse => txn.commit(),
        Start::New(_) => txn.commit_init(),
    };
    finish(&outcome?, &report, job, console)
}

fn finish(
    outcome: &Outcome,
    report: &[(String, Change)],
    job: &Job<'_>,
    console: &mut Console<'_>,
) -> Result<u8> {
    if let Outcome::Written {
        not_repaired: Some(e),
        ..
    } = outcome
    {
        console.warn(&format!(
            "the new environment is in use, but the other copy could not be put in order: {}",
            chain(e)
        ));
    }
    if job.talk == Talk::Quiet {
        return Ok(0);
    }
    changes(report, console)?;
    match outcome {
        Outcome::Unchanged => writeln!(
            console.stdout,
            "nothing to write: the environment already says so"
        )?,
        Outcome::Written { current, .. } => {
            writeln!(
                console.stdout,
                "written, read back and found right: {current} is in use now"
            )?;
        }
    }
    Ok(0)
}

fn dry_run(txn: &Txn<'_>, report: &[(String, Change)], console: &mut Console<'_>) -> Result<u8> {
    changes(report, console)?;
    let plan = txn.plan()?;
    for step in &plan.steps {
        writeln!(
            console.stdout,
            "would write {}, {} bytes",
            step.copy,
            step.image.len()
        )?;
    }
    writeln!(console.stdout, "nothing was written (--dry-run)")?;
    Ok(0)
}

fn changes(report: &[(String, Change)], console: &mut Console<'_>) -> Result<()> {
    for (name, change) in report {
        let what = match change {
            Change::Created => "is new",
            Change::Overwritten => "is changed",
            Change::Deleted => "is deleted",
            Change::Equal => "stays as it is",
        };
        writeln!(console.stdout, "{name} {what}")?;
    }
    Ok(())
}

fn start(init: bool, defenv: Option<&Path>, console: &mut Console<'_>) -> Result<Start> {
    match (init, defenv) {
        (false, _) => Ok(Start::Refuse),
        (true, None) => Ok(Start::New(Vec::new())),
        (true, Some(path)) => Ok(Start::New(read_script(
            path,
            Dialect::Libubootenv,
            console,
        )?)),
    }
}

fn from_assignments(variables: &[Assignment]) -> Result<Env> {
    let mut env = Env::new();
    for a in variables {
        if let Some(value) = &a.value {
            env.set(&a.name, value)?;
        }
    }
    Ok(env)
}

fn read_script(
    path: &Path,
    dialect: Dialect,
    console: &mut Console<'_>,
) -> Result<Vec<Assignment>> {
    let shown = if path == Path::new("-") {
        Path::new("standard input")
    } else {
        path
    };
    let text = if path == Path::new("-") {
        take_capped(console.stdin, MAX_SCRIPT_BYTES)
    } else {
        read_capped(path, MAX_SCRIPT_BYTES)
    };
    let text = text.with_context(|| format!("cannot read {}", shown.display()))?;
    script::parse(&text, dialect)
        .with_context(|| format!("{}: nothing was written", shown.display()))
}

/// `name=value`, `name=` or `name`.
fn assignment(word: &OsString) -> Result<Assignment> {
    let bytes = word.as_bytes();
    let end = bytes.iter().position(|&b| b == b'=').unwrap_or(bytes.len());
    let (name, value) = bytes.split_at(end);
    Ok(one(name, value.get(1..).unwrap_or_default())?)
}

/// U-Boot's: the words after the name are one value, with blanks between them.
fn joined(words: &[OsString]) -> Result<Assignment> {
    let (name, rest) = words
        .split_first()
        .context("the variable name is missing")?;
    let rest: Vec<Vec<u8>> = rest.iter().cloned().map(OsString::into_vec).collect();
    Ok(one(name.as_bytes(), &rest.join(&b' '))?)
}

/// libubootenv's: `name value name value …`, a last name alone is deleted.
fn pairs(words: &[OsString]) -> Result<Vec<Assignment>> {
    let value = |pair: &[OsString]| pair.get(1).cloned().unwrap_or_default();
    let pair = |pair: &[OsString]| {
        let name = pair.first().cloned().unwrap_or_default();
        Ok(one(name.as_bytes(), value(pair).as_bytes())?)
    };
    words.chunks(2).map(pair).collect()
}

fn one(name: &[u8], value: &[u8]) -> Result<Assignment, crate::env::VarError> {
    let value = (!value.is_empty()).then(|| value.to_vec());
    Ok(Assignment {
        name: VarName::new(name)?,
        value,
        line: 0,
    })
}
