//! `slotmgr trial`

use std::process::ExitCode;

use anyhow::{Context, Result};

use super::args::{Options, Trial};
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::health::{self, TrialEnd, examine};
use crate::storage::device::Mode;

pub(super) fn run(
    options: &Options,
    verb: &Trial,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let mut session = Session::open(options, around, Mode::ReadWrite)?;
    let own = session.own.clone();
    let mut checks = || {
        let mut surroundings = examine::Surroundings {
            now: &examine::monotonic,
            told: &mut |report| output.check_ended(report),
        };
        examine::examine(&own.trial, &own.checks, &mut surroundings)
    };
    let end = health::trial(&mut session.machine(), &around.boot_id, &mut checks)?;
    output.trial_ended(&session.conf.layout, session.booted, &end);
    if !matches!(end, TrialEnd::Failed { .. }) {
        return Ok(ExitCode::SUCCESS);
    }
    if verb.no_reboot {
        return Ok(ExitCode::FAILURE);
    }
    let error = health::restart(own.reboot_command.as_deref());
    Err(error).context(
        "the new system did not prove itself, and the machine cannot be restarted. It stays on \
         trial: the next start counts as a try, however it comes about",
    )
}
