//! What `cargo demo` shows: a machine updates itself; with `--bad`, a machine that refuses to stay
//! on a broken system.

mod bad;
mod good;
mod options;
mod parts;
mod session;
mod transcript;

use std::path::PathBuf;

use anyhow::{Context, Result};
use xtask::debian::Debian;
use xtask::packages;
use xtask::progress::{Progress, Style};

pub use options::{Options, Task, USAGE, parse};
use parts::Parts;

use crate::workspace::Workspace;

/// How many tries a new system has; as `guest/slotmgr.toml` says.
const TRIES: usize = 2;

/// All that a run of the demo works with.
pub struct Stage<'a> {
    /// The checkout.
    pub workspace: &'a Workspace,
    /// Where people see what happens.
    pub progress: &'a Progress,
    /// The program that relays the guest's HTTP connections.
    pub relay: PathBuf,
    /// What a machine's console prints is shown.
    pub show_console: bool,
}

impl Stage<'_> {
    /// Tells a paragraph to people.
    fn tell(&self, text: &str) {
        self.progress.say(&format!("\n{text}"));
    }
}

/// Runs the demo.
///
/// # Errors
/// A part cannot be made, or what happened in the machine is not what should happen.
pub fn run(stage: &Stage<'_>, options: &Options) -> Result<()> {
    stage.tell(if options.bad {
        "slotmgr demo: a machine installs a broken system, and comes back by itself."
    } else {
        "slotmgr demo: a machine updates itself."
    });
    check_host()?;
    let debian = Debian {
        log: stage.workspace.log("apt.log"),
        progress: stage.progress,
    };
    debian.ensure(&[packages::BUILD, packages::MACHINES])?;
    let parts = Parts::prepare(stage, &debian, options)?;
    let words = if options.bad {
        let before = match good::finished(stage, &parts)? {
            Some(disk) => disk,
            None => good_run_unseen(stage, &parts)?,
        };
        bad::run(stage, &parts, &before)?
    } else {
        good::run(stage, &parts)?.words
    };
    stage.tell(&format!("Times:\n{}", stage.progress.table()));
    stage.progress.say(&words);
    Ok(())
}

/// The good run, told in one line: the bad one needs the machine that it leaves behind.
fn good_run_unseen(stage: &Stage<'_>, parts: &Parts<'_>) -> Result<crate::disk::Disk> {
    let quiet = Progress::new(Style::Silent);
    let unseen = Stage {
        workspace: stage.workspace,
        progress: &quiet,
        relay: stage.relay.clone(),
        show_console: false,
    };
    let what = "first the good update, from version 1 to version 2";
    Ok(stage
        .progress
        .step(what, || good::run(&unseen, &parts.on(&unseen)))?
        .disk)
}

fn check_host() -> Result<()> {
    (std::env::consts::ARCH == "x86_64").then_some(()).context(
        "the demo machine is a PC, and the programs for it are built natively: this needs an \
         x86_64 computer",
    )
}
