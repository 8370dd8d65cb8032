//! `rauc status mark-good`, `mark-bad` and `mark-active`

use std::process::ExitCode;

use anyhow::{Result, bail};
use slotmgr::boot::Mark;

use super::DeviceEnvironment;
use super::face::{Face, Own};
use crate::arguments::StatusArguments;
use crate::report::Output;

pub(super) fn run(
    arguments: &StatusArguments,
    word: &str,
    around: &DeviceEnvironment,
    output: &Output,
) -> Result<ExitCode> {
    let mark = match word {
        "mark-good" => Mark::Good,
        "mark-bad" => Mark::Bad,
        "mark-active" => Mark::Active,
        other => bail!("unknown subcommand {other}"),
    };
    let own = Own::booted(arguments.override_boot_slot.as_deref());
    let face = Face::open(&arguments.global, own, around)?;
    let slot = arguments.slot.as_deref().unwrap_or("booted");
    match face.mark(mark, slot) {
        Ok(marked) => {
            output.line(&format!("rauc status: {}", marked.message));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("rauc mark: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}
