//! `slotmgr history`

use std::process::ExitCode;

use anyhow::Result;

use super::args::Options;
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::storage::device::Mode;

pub(super) fn run(options: &Options, around: &Surroundings, output: &Output) -> Result<ExitCode> {
    let session = Session::open(options, around, Mode::ReadOnly)?;
    output.history(&session.chronicle(), session.record.fell_back());
    Ok(ExitCode::SUCCESS)
}
