//! `rauc service`

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use slotmgr::dbus::{self, Bus};
use slotmgr::service::{Service as _, until_asked};

use super::DeviceEnvironment;
use super::face::{Own, here};
use crate::arguments::ServiceArguments;

pub(super) fn run(arguments: &ServiceArguments, around: &DeviceEnvironment) -> Result<ExitCode> {
    // Before there are other threads.
    let until = until_asked()?;
    let own = Own {
        booted: arguments.override_boot_slot.as_deref(),
        handler_args: arguments.handler_args.as_deref(),
    };
    let machine = here(&arguments.global, own, around)?;
    let identity = machine.identity()?;
    machine.publish_links()?;
    let bus = Bus::from_starter(around.starter_bus.as_deref());
    dbus::serve(bus, identity, Arc::new(machine), until, || {})
        .with_context(|| format!("cannot answer as {} on the {bus}", dbus::NAME))?;
    Ok(ExitCode::SUCCESS)
}
