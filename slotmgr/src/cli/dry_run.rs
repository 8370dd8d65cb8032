//! `slotmgr install --dry-run`: what an installation would fetch and write.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use super::args::{Install, Options};
use super::install::{Opening, Wishes};
use super::remote::Remote;
use super::render::Output;
use super::session::{Session, Surroundings};
use super::signals;
use crate::install::estimate;
use crate::program::Stop;
use crate::storage::device::Mode;

pub(super) fn run(
    options: &Options,
    verb: &Install,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let stop = Stop::default();
    signals::ask_to_stop(&stop)?;
    let mut session = Session::open(options, around, Mode::ReadOnly)?;
    let opening = Opening {
        options,
        around,
        stop: &stop,
    };
    let opened = opening.open(&session, &verb.source.origin())?;
    output.bundle_accepted(opened.manifest());
    let wishes = Wishes {
        ignore_compatible: verb.ignore_compatible,
        ignore_version_limit: verb.ignore_version_limit,
        stop: stop.clone(),
        ..Wishes::default()
    };
    let policy = opened.policy(&session, around, &wishes)?;
    let begin = Instant::now();
    let before = opened.remote.as_ref().map_or(0, Remote::received);
    let estimate = estimate(&mut session.machine(), &opened.bundle, &policy)?;
    let remote = opened.remote.as_ref();
    let seconds = remote.and_then(|remote| {
        let sample = remote.received() - before;
        remote.seconds(estimate.total().fetch, (sample, begin.elapsed()))
    });
    output.estimated(&estimate, seconds);
    Ok(ExitCode::SUCCESS)
}
