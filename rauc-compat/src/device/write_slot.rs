//! `rauc write-slot`: done here, never by a service, as with RAUC.

use std::process::ExitCode;

use anyhow::{Result, bail};
use slotmgr::install::{InstallError, Silent};
use slotmgr::service::{Local, Stop, ask_to_stop, was_stopped};
use slotmgr::slot::SelectError;

use super::face::{Own, here};
use super::{DeviceEnvironment, exit};
use crate::arguments::WriteSlotArguments;
use crate::report::Output;

pub(super) fn run(
    arguments: &WriteSlotArguments,
    around: &DeviceEnvironment,
    output: &Output,
) -> Result<ExitCode> {
    let Some(slot) = &arguments.slotname else {
        bail!("A target slot name must be provided");
    };
    let Some(image) = &arguments.image else {
        bail!("An image must be provided");
    };
    if let Some(excess) = arguments.excess.first() {
        bail!("Excess argument: {excess}");
    }
    let own = Own::booted(arguments.override_boot_slot.as_deref());
    let local: Local = here(&arguments.global, own, around)?;
    let stop = Stop::default();
    ask_to_stop(&stop)?;
    let kind = arguments.image_type.as_deref();
    match local.write_slot(slot, image, kind, &stop, &mut Silent) {
        Ok(()) => {
            output.line("Slot written successfully");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if was_stopped(&error) => {
            eprintln!("{error:#}");
            Ok(ExitCode::from(exit::INTERRUPTED))
        }
        Err(error) => match error.downcast_ref() {
            Some(InstallError::Select(SelectError::NoSlot { .. })) => {
                bail!("No matching slot found for given slot name")
            }
            Some(InstallError::Select(SelectError::ReadOnly(_))) => {
                bail!("Reject writing to readonly slot")
            }
            _ => Err(error),
        },
    }
}
