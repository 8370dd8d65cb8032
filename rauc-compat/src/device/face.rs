//! Whoever answers: a service, or this process.

use anyhow::Result;
use slotmgr::boot::Mark;
use slotmgr::cli::Surroundings;
use slotmgr::cli::args::Options;
use slotmgr::config::Setting;
use slotmgr::dbus::{Bus, Remote};
use slotmgr::service::{Identity, Local, Marked, RepositoryStatus, Service as _, SlotStatus};

use super::DeviceEnvironment;
use crate::arguments::Global;

/// What is said to this process alone: a service knows by itself, or was told when it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Own<'a> {
    /// The slot that is running.
    pub booted: Option<&'a str>,
    /// More arguments for the handler that a bundle brings.
    pub handler_args: Option<&'a str>,
}

impl<'a> Own<'a> {
    /// No more than which slot is running.
    pub fn booted(booted: Option<&'a str>) -> Own<'a> {
        let handler_args = None;
        Own {
            booted,
            handler_args,
        }
    }
}

/// One of the two.
pub(super) enum Face {
    Service(Remote),
    Here(Box<Local>),
}

impl Face {
    /// The service if there is one, and nothing is said to this process.
    pub fn open(global: &Global, own: Own<'_>, around: &DeviceEnvironment) -> Result<Face> {
        let bus = Bus::from_starter(around.starter_bus.as_deref());
        if own == Own::default()
            && let Some(remote) = Remote::find(bus)
        {
            return Ok(Face::Service(remote));
        }
        Ok(Face::Here(Box::new(here(global, own, around)?)))
    }

    pub fn identity(&self) -> Result<Identity> {
        match self {
            Face::Service(remote) => Ok(remote.identity()?),
            Face::Here(local) => local.identity(),
        }
    }

    pub fn slots(&self) -> Result<Vec<SlotStatus>> {
        match self {
            Face::Service(remote) => Ok(remote.slots()?),
            Face::Here(local) => local.slots(),
        }
    }

    pub fn repositories(&self) -> Result<Vec<RepositoryStatus>> {
        match self {
            Face::Service(remote) => Ok(remote.repositories()?),
            Face::Here(local) => local.repositories(),
        }
    }

    /// The slot that is started next; nothing where nobody can tell.
    pub fn primary(&self) -> Option<String> {
        match self {
            Face::Service(remote) => remote.primary().ok(),
            Face::Here(local) => local.primary().ok(),
        }
    }

    pub fn mark(&self, mark: Mark, slot: &str) -> Result<Marked> {
        match self {
            Face::Service(remote) => Ok(remote.mark(mark, slot)?),
            Face::Here(local) => local.mark(mark, slot),
        }
    }
}

/// This machine, as `global` and the environment describe it.
pub(super) fn here(global: &Global, own: Own<'_>, around: &DeviceEnvironment) -> Result<Local> {
    let mut settings = global.confopt.clone();
    if let Some(path) = &global.mount {
        let path = std::path::absolute(path)?.display().to_string();
        settings.push(Setting::new("system", "mountprefix", &path));
    }
    let mut options = Options::for_machine(
        global.conf.clone(),
        settings,
        global.keyring.clone(),
        own.booted.map(ToOwned::to_owned),
    );
    options.handler_arguments = own.handler_args.map(ToOwned::to_owned);
    if let Some(directory) = &around.runtime_directory {
        options.run_directory = directory.join("slotmgr");
    }
    let cmdline = around.cmdline.clone();
    let ask = move || {
        let mut found = Surroundings::of_this_machine()?;
        if let Some(cmdline) = &cmdline {
            found.cmdline.clone_from(cmdline);
        }
        Ok(found)
    };
    Ok(Local::new(options, Box::new(ask)))
}
