//! `slotmgr restore-data`

use std::process::ExitCode;

use anyhow::Result;

use super::args::{Options, RestoreData};
use super::render::Output;
use super::session::{Session, Surroundings};
use super::signals;
use crate::data::snapshot::Snapshots;
use crate::program::Stop;
use crate::storage::device::Mode;

pub(super) fn run(
    options: &Options,
    verb: &RestoreData,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let stop = Stop::default();
    signals::ask_to_stop(&stop)?;
    let session = Session::open(options, around, Mode::ReadOnly)?;
    let running = &session.conf.layout.slot(session.running_slot()?.id()).name;
    let home = session.conf.system.data_directory.as_deref();
    let snapshots = Snapshots::new(&session.own, home, running, &stop);
    if verb.list {
        output.snapshots(&snapshots.numbers());
    } else {
        output.restored(snapshots.restore(verb.snapshot)?);
    }
    Ok(ExitCode::SUCCESS)
}
