//! `slotmgr rollback`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::args::{Options, Rollback};
use super::mark;
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::boot::{self, Mark, Standing};
use crate::health;
use crate::install::CHUNK;
use crate::slot::SlotId;
use crate::state::{JobStage, SlotStatus, When};
use crate::storage::Area;
use crate::storage::device::Mode;
use crate::writer;

pub(super) fn run(
    options: &Options,
    verb: &Rollback,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let mode = if verb.dry_run {
        Mode::ReadOnly
    } else {
        Mode::ReadWrite
    };
    let mut session = Session::open(options, around, mode)?;
    let to = mark::find(&session, "other")?;
    refuse_unproven(&mut session, to)?;
    if !verb.changed {
        refuse_changed(&mut session, to)?;
    }
    if verb.dry_run {
        output.would_roll_back(&session.conf.layout, to);
        return Ok(ExitCode::SUCCESS);
    }
    let tries = session.own.tries;
    let booted = session.running_slot()?.id();
    let m = session.machine();
    let when = When {
        boot_id: &around.boot_id,
        now: around.now,
    };
    let on_trial = m.env.read(m.disks)?.standing(booted) != Standing::Good;
    boot::mark(m.env, m.disks, m.layout, to, (Mark::Active, tries))?;
    if on_trial {
        let reason = "it was rolled back by hand";
        m.record.unhealthy(m.disks, reason, Vec::new(), when);
    } else {
        m.record.rolled_back_by_hand(m.disks, when);
    }
    session.pass_news(options, around);
    output.rolled_back(&session.conf.layout, to);
    if !verb.now {
        return Ok(ExitCode::SUCCESS);
    }
    let error = health::restart(session.own.reboot_command.as_deref());
    Err(error).context("the machine cannot be restarted; it rolls back at its next start")
}

/// Only a system that has proved itself once is gone back to.
fn refuse_unproven(session: &mut Session, to: SlotId) -> Result<()> {
    let standing = session.machine_state()?.standing(to);
    if standing == Standing::Good {
        return Ok(());
    }
    bail!(
        "{} has not proved itself (the bootloader has it as {standing}): going back to it could \
         leave the machine without a system. Nothing was changed; `slotmgr mark active` does it \
         all the same",
        session.conf.layout.slot(to).name
    );
}

/// What was installed there must still be there, as far as that is known.
fn refuse_changed(session: &mut Session, to: SlotId) -> Result<()> {
    let name = session.conf.layout.slot(to).name.clone();
    let Some(known) = session.record.slot(&name.to_string()).cloned() else {
        // The factory's system: the bootloader has it good, and nothing more is known.
        return Ok(());
    };
    let unfinished = session
        .record
        .job()
        .is_some_and(|job| job.target == name.to_string() && job.stage == JobStage::Installing);
    if known.status != SlotStatus::Ok || unfinished {
        bail!("the last installation into {name} did not end well. Nothing was changed");
    }
    if !known.image.as_it_is {
        // What it held at its end is not known byte by byte; that it was written well is.
        return Ok(());
    }
    let mut storage = session.machine().disks.open(Area::Slot(to))?;
    let mut read = |piece: &mut [u8], offset| storage.read_at(piece, offset);
    let found = writer::hash(known.image.size, CHUNK, &mut read, &mut |_| {})
        .map_err(|(offset, error)| anyhow::Error::new(error).context(format!("at byte {offset}")))
        .with_context(|| format!("cannot read {name}. Nothing was changed"))?;
    if found.to_string() == known.image.sha256 {
        return Ok(());
    }
    bail!(
        "{name} does not hold any more what was installed into it. Nothing was changed. That is \
         as it should be if that system writes to its own root file system: then say --changed"
    );
}
