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

/// One of the two.
pub(super) enum Face {
    Service(Remote),
    Here(Box<Local>),
}

impl Face {
    /// The service if there is one. A slot that the user says is running is said to this process:
    /// a service knows by itself.
    pub fn open(global: &Global, booted: Option<&str>, around: &DeviceEnvironment) -> Result<Face> {
        let bus = Bus::from_starter(around.starter_bus.as_deref());
        if booted.is_none()
            && let Some(remote) = Remote::find(bus)
        {
            return Ok(Face::Service(remote));
        }
        Ok(Face::Here(Box::new(here(global, booted, around)?)))
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
pub(super) fn here(
    global: &Global,
    booted: Option<&str>,
    around: &DeviceEnvironment,
) -> Result<Local> {
    let mut settings = global.confopt.clone();
    if let Some(path) = &global.mount {
        let path = std::path::absolute(path)?.display().to_string();
        settings.push(Setting::new("system", "mountprefix", &path));
    }
    let mut options = Options::for_machine(
        global.conf.clone(),
        settings,
        global.keyring.clone(),
        booted.map(ToOwned::to_owned),
    );
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
