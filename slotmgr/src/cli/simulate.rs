//! `slotmgr simulate`

use std::process::ExitCode;

use anyhow::Result;

use super::args::{Options, Simulate};
use super::install::Wishes;
use super::render::Output;
use super::session::{Session, Surroundings};
use super::{exit, install, preflight, signals};
use crate::install::simulate;
use crate::program::Stop;
use crate::storage::device::Mode;

pub(super) fn run(
    options: &Options,
    verb: &Simulate,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let stop = Stop::default();
    signals::ask_to_stop(&stop)?;
    let mut session = Session::open(options, around, Mode::ReadOnly)?;
    let opened = install::open(options, &session, &verb.bundle, &stop)?;
    let findings = preflight::look(&mut session);
    install::refuse_fallen(&mut session, around, &opened)?;
    let wishes = Wishes {
        ignore_compatible: verb.ignore_compatible,
        ignore_version_limit: verb.ignore_version_limit,
        stop,
        ..Wishes::default()
    };
    let policy = install::policy(&session, around, opened.place, &wishes)?;
    let mut progress = output.progress();
    let simulated = simulate(
        &mut session.machine(),
        &opened.bundle,
        &policy,
        &mut progress,
    );
    progress.finish();
    let wrong = findings.iter().any(|finding| finding.found.is_err());
    output.bundle_accepted(opened.manifest());
    output.simulated(&session.conf.layout, &findings, &simulated?);
    Ok(ExitCode::from(if wrong {
        exit::PREFLIGHT
    } else {
        exit::DONE
    }))
}
