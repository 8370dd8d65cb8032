//! `slotmgr simulate`

use std::process::ExitCode;

use anyhow::Result;

use super::args::{Options, Simulate};
use super::install::Wishes;
use super::preview::Preview;
use super::render::Output;
use super::session::Surroundings;
use super::{exit, install, preflight};
use crate::install::simulate;

pub(super) fn run(
    options: &Options,
    verb: &Simulate,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let mut preview = Preview::begin(options, around)?;
    let opened = preview.open(&verb.source)?;
    let findings = preflight::look(&mut preview.session);
    install::refuse_fallen(&mut preview.session, around, &opened)?;
    let wishes = Wishes {
        ignore_compatible: verb.ignore_compatible,
        ignore_version_limit: verb.ignore_version_limit,
        stop: preview.stop.clone(),
        ..Wishes::default()
    };
    let policy = opened.policy(&preview.session, around, &wishes)?;
    let mut progress = output.progress();
    let simulated = simulate(
        &mut preview.session.machine(),
        &opened.bundle,
        &policy,
        &mut progress,
    );
    progress.finish();
    let wrong = findings.iter().any(|finding| finding.found.is_err());
    output.bundle_accepted(opened.manifest());
    output.simulated(&preview.session.conf.layout, &findings, &simulated?);
    Ok(ExitCode::from(if wrong {
        exit::PREFLIGHT
    } else {
        exit::DONE
    }))
}
