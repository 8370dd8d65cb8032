//! `slotmgr daemon`

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::args::Options;
use super::session::Surroundings;
use super::signals;
use crate::dbus::{self, Bus};
use crate::service::{Local, Service};

pub(super) fn run(options: &Options, around: &Surroundings) -> Result<ExitCode> {
    // Before there are other threads.
    let until = signals::until_asked()?;
    let machine = Local::new(options.clone(), Box::new(Surroundings::of_this_machine));
    // Asked before the name is taken: a service that cannot answer must not be there.
    let identity = machine.identity()?;
    machine.publish_links()?;
    let bus = Bus::from_starter(around.starter_bus.as_deref());
    let ready = || tracing::info!("{} is ready", dbus::NAME);
    dbus::serve(bus, identity, Arc::new(machine), until, ready).with_context(|| {
        format!(
            "cannot answer as {} on the {bus}. Is the bus running, may this user have the name, \
             and is RAUC's own service stopped?",
            dbus::NAME
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
