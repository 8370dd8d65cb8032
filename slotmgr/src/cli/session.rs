//! What every verb needs: the configuration, the running slot, the bootloader, the disks.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::time::{ClockId, clock_gettime};
use token_key::TokenAccess;

use super::args::Options;
use super::lock::{LockError, MachineLock, Patience};
use super::{bootloader, evidence};
use crate::artifact::{self, Stock};
use crate::boot::{BootEnv, BootError, BootState, Tries};
use crate::config::{
    Bootloader, Repository, SlotmgrToml, StatusPlace, SystemConf, find_system_conf,
};
use crate::events::{Entry, Events, Facts, Journal, Journald, LogFile, Moment, What, chronicle};
use crate::install::Machine;
use crate::service::pass_news;
use crate::slot::{Booted, Layout, Running, Slot, SlotId};
use crate::state::{RaucStatus, Record, StatusFiles};
use crate::storage::device::{DeviceDisks, Mode};
use crate::storage::ways::Ways;
use crate::writer::unmount_leftovers;

/// What the program finds around it. `main` asks for it, once for each request; nothing else
/// does.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The kernel command line.
    pub cmdline: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// An id for a new installation.
    pub transaction: String,
    /// Seconds since 1970.
    pub now: i64,
    /// `DBUS_STARTER_BUS_TYPE`: the bus that started this program, or whose name is to be used.
    pub starter_bus: Option<String>,
    /// `$NOTIFY_SOCKET`: where the service manager listens.
    pub notify_socket: Option<OsString>,
    /// `RAUC_PKCS11_MODULE` and `RAUC_PKCS11_PIN`.
    pub token: TokenAccess,
}

impl Surroundings {
    /// Asks the kernel, the clock and the environment.
    ///
    /// # Errors
    /// There is no /proc.
    pub fn of_this_machine() -> Result<Surroundings> {
        let kernel = |path: &str| fs_err::read_to_string(path).map(|text| text.trim().to_owned());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Surroundings {
            cmdline: kernel("/proc/cmdline")?,
            boot_id: kernel("/proc/sys/kernel/random/boot_id")?,
            transaction: kernel("/proc/sys/kernel/random/uuid")?,
            now: i64::try_from(now.as_secs())?,
            starter_bus: std::env::var("DBUS_STARTER_BUS_TYPE").ok(),
            notify_socket: std::env::var_os("NOTIFY_SOCKET"),
            token: TokenAccess::from_variables(|name| std::env::var(name).ok()),
        })
    }
}

/// A configured machine.
pub(crate) struct Session {
    pub path: PathBuf,
    pub conf: SystemConf,
    pub own: SlotmgrToml,
    pub booted: Running,
    pub env: Box<dyn BootEnv>,
    disks: DeviceDisks,
    pub record: Record,
    run_directory: PathBuf,
}

impl Session {
    pub fn open(options: &Options, around: &Surroundings, mode: Mode) -> Result<Session> {
        let path = conf_path(options)?;
        let conf = SystemConf::load_with(&path, &options.confopt)?;
        let mut own = SlotmgrToml::load(&path.with_file_name("slotmgr.toml"))?;
        let (env, place) = bootloader::of(&conf, &own, &options.fw_env_config)?;
        if let Bootloader::UBoot {
            primary: Some(primary),
            ..
        }
        | Bootloader::Barebox {
            primary: Some(primary),
            ..
        } = conf.system.bootloader
            && own.tries == Tries::DEFAULT
        {
            own.tries = primary;
        }
        refuse_shared_devices(&conf.layout)?;
        let chosen = options.override_boot_slot.clone();
        let evidence = evidence::gather(&conf.layout, env.as_ref(), &around.cmdline, chosen);
        let booted = conf.layout.booted(&evidence)?;
        let disks = |mode| {
            DeviceDisks::new(
                &conf.layout,
                place.clone(),
                conf.system.data_directory.clone(),
                mode,
            )
        };
        // Reading must not make the files: on an ordinary boot nothing is written.
        let record = Record::load(&mut disks(Mode::ReadOnly));
        let disks = disks(mode);
        Ok(Session {
            path,
            conf,
            own,
            booted,
            env,
            disks,
            record,
            run_directory: options.run_directory.clone(),
        })
    }

    /// Keeps everybody else from working on the slots, and unmounts what one who was killed has left.
    pub fn lock(&self, patience: Patience) -> Result<MachineLock, LockError> {
        let lock = MachineLock::take(&self.run_directory, &self.path, patience)?;
        unmount_leftovers(&self.conf.layout, &self.conf.system.mount_prefix);
        Ok(lock)
    }

    /// Where RAUC's status is.
    pub fn status_files(&self) -> StatusFiles<'_> {
        StatusFiles {
            place: &self.conf.system.status,
            layout: &self.conf.layout,
            mount_prefix: &self.conf.system.mount_prefix,
        }
    }

    /// What is in the artifact repositories, as far as they can be read.
    pub fn stock(&self) -> Vec<(Repository, Stock)> {
        let mut found = Vec::new();
        for repository in &self.conf.repositories {
            match artifact::stock(repository) {
                Ok(stock) => found.push((repository.clone(), stock)),
                Err(error) => tracing::warn!("{:#}", anyhow::Error::from(error)),
            }
        }
        found
    }

    /// What RAUC's status says. What is in the slots stays unknown as long as somebody else works
    /// on them, and to whoever may not mount them.
    pub fn rauc_status(&self) -> RaucStatus {
        let in_slots = self.conf.system.status == StatusPlace::PerSlot;
        let lock = in_slots.then(|| self.lock(Patience::ToLook)).transpose();
        match lock {
            Ok(_held) => self.status_files().load(),
            Err(error) => {
                tracing::debug!("the slots are not looked into: {error}");
                RaucStatus::default()
            }
        }
    }

    /// The slot that runs, for what means nothing without one.
    pub fn running_slot(&self) -> Result<Booted> {
        self.booted.slot().context(
            "this system was started from outside its slots (rauc.external or root=/dev/nfs on the \
             kernel command line): no slot is the running one. Name the slot that you mean",
        )
    }

    /// What the bootloader would read now.
    pub fn machine_state(&mut self) -> Result<BootState> {
        Ok(self.env.read(&mut self.disks)?)
    }

    /// The same; `None` where nothing is remembered (`bootloader=noop`), which is no failure for
    /// those who only tell of it.
    pub fn known_state(&mut self) -> Result<Option<BootState>> {
        match self.env.read(&mut self.disks) {
            Err(BootError::NoMemory) => Ok(None),
            state => Ok(Some(state?)),
        }
    }

    /// Our journal, if there is a place for one.
    pub fn journal(&self) -> Option<Journal> {
        let directory = self.conf.system.data_directory.as_deref();
        directory.map(Journal::in_directory)
    }

    /// Everybody outside of this process who is told what happens.
    pub fn events(&self, options: &Options, around: &Surroundings) -> Events {
        let boot_id = around.boot_id.clone();
        let mut events = Events::new(Box::new(move || moment(boot_id.clone())));
        if let Some(journal) = self.journal() {
            events.add(Box::new(journal));
        }
        if let Some(journald) = Journald::at(&options.journal_socket) {
            events.add(Box::new(journald));
        }
        for log in &self.conf.logs {
            events.add(Box::new(LogFile::new(log.clone())));
        }
        events
    }

    /// Tells everybody what the record noted.
    pub fn pass_news(&mut self, options: &Options, around: &Surroundings) {
        let mut events = self.events(options, around);
        pass_news(self, &mut events);
    }

    /// Name, boot name and content of a slot.
    pub fn slot_facts(&self, id: SlotId) -> Facts {
        let slot = self.conf.layout.slot(id);
        let name = slot.name.to_string();
        Facts {
            release: self.record.slot(&name).map(|known| known.release.clone()),
            slot: Some(name),
            bootname: slot.boot_name.as_ref().map(ToString::to_string),
            ..Facts::default()
        }
    }

    /// From where the machine was started.
    pub fn start(&self) -> (What, Facts) {
        match self.booted.id() {
            Some(id) => (What::Booted, self.slot_facts(id)),
            None => (What::BootedExternally, Facts::default()),
        }
    }

    /// Everything that is known to have happened, the oldest first.
    pub fn chronicle(&self) -> Vec<Entry> {
        let journal = self.journal().map(|journal| journal.read());
        let told = journal.unwrap_or_default().entries;
        let told = told.into_iter().map(|(_, entry)| entry).collect();
        chronicle(told, self.record.events())
    }

    /// Everything that an installation or a trial works on.
    pub fn machine(&mut self) -> Machine<'_> {
        Machine {
            layout: &self.conf.layout,
            booted: self.booted,
            env: self.env.as_ref(),
            disks: &mut self.disks,
            record: &mut self.record,
        }
    }
}

fn moment(boot_id: String) -> Moment {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    Moment {
        at: now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(0)),
        boot_id,
        uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(0),
    }
}

/// The configuration file that counts.
pub(super) fn conf_path(options: &Options) -> Result<PathBuf> {
    match &options.conf {
        Some(path) => Ok(path.clone()),
        None => find_system_conf(Path::new("/")).context(
            "there is no system.conf in /etc/rauc, /run/rauc or /usr/lib/rauc. Write one, or \
             name it with --conf",
        ),
    }
}

/// Two names of one device, or a loop device over it, would make the running slot a target.
fn refuse_shared_devices(layout: &Layout) -> Result<()> {
    let slots: Vec<_> = layout
        .iter()
        .map(|(_, slot)| (slot, Ways::to(&slot.device)))
        .collect();
    for (number, (slot, ways)) in slots.iter().enumerate() {
        let same = |(earlier, other): &&(&Slot, Ways)| other.meet(ways) && !earlier.is_beside(slot);
        if let Some((earlier, _)) = slots[..number].iter().find(same) {
            bail!(
                "slots {} and {} are the same device, {}: correct system.conf",
                earlier.name,
                slot.name,
                slot.device.display()
            );
        }
    }
    Ok(())
}
