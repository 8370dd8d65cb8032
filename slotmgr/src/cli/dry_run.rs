//! `slotmgr install --dry-run`: what an installation would fetch and write.

use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Result;

use super::args::{Install, Options};
use super::install::Wishes;
use super::preview::Preview;
use super::render::Output;
use super::session::Surroundings;
use crate::install::estimate;
use crate::source::Location;

pub(super) fn run(
    options: &Options,
    verb: &Install,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let mut preview = Preview::begin(options, around)?;
    let opened = preview.open(&verb.source)?;
    output.bundle_accepted(opened.manifest());
    let wishes = Wishes {
        ignore_compatible: verb.ignore_compatible,
        ignore_version_limit: verb.ignore_version_limit,
        stop: preview.stop.clone(),
        ..Wishes::default()
    };
    let policy = opened.policy(&preview.session, around, &wishes)?;
    let estimate = estimate(&mut preview.session.machine(), &opened.bundle, &policy)?;
    let fetch = estimate.total().fetch;
    let seconds = match (
        &opened.remote,
        Location::parse(&verb.source.origin().source)?,
    ) {
        (Some(remote), Location::Web(bundle)) => remote.seconds(fetch, &bundle, &preview.stop),
        _ => None,
    };
    // Both go on at the same time, on all cores.
    let cores = available_parallelism().map_or(1, |cores| cores.get() as u64);
    let processor = estimate.total().processor.as_secs() / cores;
    let seconds = seconds.map(|seconds| seconds.max(processor));
    output.estimated(&estimate, seconds);
    Ok(ExitCode::SUCCESS)
}
