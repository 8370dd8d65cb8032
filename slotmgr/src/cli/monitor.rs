//! `slotmgr monitor`: what is being installed, and what happens.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::args::{Monitor, Options};
use super::render::Output;
use super::session::{Session, Surroundings};
#[cfg(feature = "dbus")]
use crate::dbus::{Bus, Remote, RemoteError, Told};
use crate::events::Journal;
use crate::service::{Local, Service as _};
use crate::storage::device::Mode;

/// How often the journal is looked at where no service tells.
const LOOK: Duration = Duration::from_millis(250);

pub(super) fn run(
    options: &Options,
    verb: &Monitor,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    #[cfg(feature = "dbus")]
    if !options.says_its_own_machine()
        && let Some(remote) = Remote::running(Bus::from_starter(around.starter_bus.as_deref()))
        && remote.has_jobs()
    {
        output.jobs(&remote.jobs()?);
        return match verb.follow {
            true => Err(follow(&remote, output)),
            false => Ok(ExitCode::SUCCESS),
        };
    }
    let local = Local::new(options.clone(), Box::new(Surroundings::of_this_machine));
    output.jobs(&local.jobs()?);
    if !verb.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let session = Session::open(options, around, Mode::ReadOnly)?;
    match session.journal() {
        Some(journal) => tail(&journal, output),
        None => bail!(
            "there is nothing to follow: no service answers, and system.conf has no \
             data-directory for a journal"
        ),
    }
}

/// Comes back only when the service goes.
#[cfg(feature = "dbus")]
fn follow(remote: &Remote, output: &Output) -> anyhow::Error {
    let ended = remote.follow(&mut |told| -> Result<(), RemoteError> {
        match told {
            Told::Job(job) => output.job(&job),
            Told::Event(entry) => output.event(&entry),
        }
        Ok(())
    });
    match ended {
        Err(error) => anyhow::Error::new(error).context("what happens cannot be followed any more"),
        Ok(()) => anyhow::anyhow!("the service tells no more"),
    }
}

/// Without a service, by looking at the file again and again; until somebody ends it.
fn tail(journal: &Journal, output: &Output) -> ! {
    let last = |entries: &[(u64, _)]| entries.last().map_or(0, |(seq, _)| *seq);
    let mut told = last(&journal.read().entries);
    let mut len = journal.len();
    loop {
        thread::sleep(LOOK);
        let now = journal.len();
        if now == len {
            continue;
        }
        len = now;
        let entries = journal.read().entries;
        for (_, entry) in entries.iter().filter(|(seq, _)| *seq > told) {
            output.event(entry);
        }
        told = last(&entries).max(told);
    }
}
