//! `slotmgr status`

use std::process::ExitCode;

use anyhow::Result;

use super::args::Options;
use super::render::{Output, StatusView};
use super::session::{Session, Surroundings};
use crate::health::probation::Place;
use crate::state::outcome;
use crate::storage::device::Mode;

pub(super) fn run(options: &Options, around: &Surroundings, output: &Output) -> Result<ExitCode> {
    let mut session = Session::open(options, around, Mode::ReadOnly)?;
    let state = session.machine_state()?;
    let layout = &session.conf.layout;
    let outcome = outcome(
        session.record.job(),
        layout,
        session.booted,
        &state,
        &around.boot_id,
    );
    let bootloader = session.env.name();
    let rauc = session.rauc_status();
    let repositories = session.stock();
    let known = Place::new(&options.run_directory, &around.boot_id).known();
    output.status(&StatusView {
        compatible: &session.conf.system.compatible,
        bootloader,
        layout,
        booted: session.booted,
        state: &state,
        record: &session.record,
        outcome: &outcome,
        rauc: &rauc,
        repositories: &repositories,
        watchdog: known.as_ref().and_then(|known| known.watchdog.as_deref()),
    });
    Ok(ExitCode::SUCCESS)
}
