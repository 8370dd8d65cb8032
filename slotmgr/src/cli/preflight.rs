//! `slotmgr preflight`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use super::args::Options;
use super::exit;
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::health::preflight::{Finding, Look, preflight};
use crate::storage::device::Mode;

pub(super) fn run(options: &Options, around: &Surroundings, output: &Output) -> Result<ExitCode> {
    let mut session = Session::open(options, around, Mode::ReadOnly)?;
    let findings = look(&mut session);
    output.preflight(&findings);
    let wrong = findings.iter().any(|finding| finding.found.is_err());
    Ok(ExitCode::from(if wrong {
        exit::PREFLIGHT
    } else {
        exit::DONE
    }))
}

/// What there is to find out before an installation.
pub(super) fn look(session: &mut Session) -> Vec<Finding> {
    let checks = session.own.checks.clone();
    let data_directory = session.conf.system.data_directory.clone();
    let status = session.rauc_status();
    let look = Look {
        status: &status,
        data_directory: data_directory.as_deref(),
        checks: &checks,
        power_supplies: Path::new("/sys/class/power_supply"),
    };
    preflight(&mut session.machine(), &look)
}
