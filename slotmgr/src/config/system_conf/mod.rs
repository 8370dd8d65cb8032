//! `system.conf` as RAUC defines it, strict: what is not known is an error with file and line.
//!
//! The names of sections and keys are one table ([`known`]), the values are read by a file per section.

mod known;
mod sections;
mod slot;
mod system;
#[cfg(test)]
mod tests;

pub use sections::{
    Casync, Encryption, EventKind, EventLog, Handlers, InfoHeader, LogFormat, Repository,
    RepositoryKind, Streaming,
};
pub use system::{Activation, LateFallback, System};

use std::io;
use std::path::{Path, PathBuf};

use bundle_format::keyfile::{KeyFile, KeyFileError, Place};

use super::{Keyring, Setting};
use crate::boot::Tries;
use crate::boot::efi::Activate;
use crate::slot::{Layout, LayoutError, NameError, Slot};

/// Largest `system.conf` that is read, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// `bootloader=`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootloader {
    /// GRUB and its environment block.
    Grub {
        /// `grubenv=`
        grubenv: PathBuf,
    },
    /// U-Boot; `fw_env.config` says where its environment is.
    UBoot {
        /// `boot-attempts=`: what a confirmed slot is given.
        attempts: Tries,
        /// `boot-attempts-primary=`: what a new system is given.
        primary: Option<Tries>,
    },
    /// barebox, by its program `barebox-state`.
    Barebox {
        /// `barebox-statename=`
        state: Option<String>,
        /// `barebox-dtbpath=`
        dtb: Option<PathBuf>,
        /// `boot-attempts=`: what a confirmed slot is given.
        attempts: Tries,
        /// `boot-attempts-primary=`: what a new system is given.
        primary: Option<Tries>,
    },
    /// UEFI's boot manager.
    Efi {
        /// `efi-use-bootnext=`
        activate: Activate,
    },
    /// A program of the integrator's: `bootloader-custom-backend` in `[handlers]`.
    Custom,
    /// None that could be told anything.
    Noop,
    /// Priority bits in the partition table; RAUC does not have it.
    GptPriority {
        /// `gpt-disk=`: the whole disk.
        disk: PathBuf,
    },
    /// The Raspberry Pi's firmware; RAUC does not have it.
    Tryboot {
        /// `tryboot-config=`: `autoboot.txt`.
        config: PathBuf,
    },
    /// systemd-boot's counted entries; RAUC's backend of that name refuses them.
    SystemdBoot {
        /// `systemd-boot-entries=`: the folder `loader/entries`.
        entries: PathBuf,
    },
}

impl Bootloader {
    /// Its name in `bootloader=`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Bootloader::Grub { .. } => "grub",
            Bootloader::UBoot { .. } => "uboot",
            Bootloader::Barebox { .. } => "barebox",
            Bootloader::Efi { .. } => "efi",
            Bootloader::Custom => "custom",
            Bootloader::Noop => "noop",
            Bootloader::GptPriority { .. } => "gpt-priority",
            Bootloader::Tryboot { .. } => "tryboot",
            Bootloader::SystemdBoot { .. } => "systemd-boot",
        }
    }
}

/// Which variant of the machine this is: images may be for one variant only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VariantSource {
    /// There are no variants.
    None,
    /// `variant-name=`
    Name(String),
    /// `variant-file=`: the content of this file.
    File(PathBuf),
    /// `variant-dtb=true`: the first `compatible` of the device tree.
    DeviceTree,
}

/// Where RAUC's slot status is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusPlace {
    /// In this file.
    Central(PathBuf),
    /// In `slot.raucs` in each slot.
    PerSlot,
}

/// A checked `system.conf`.
#[derive(Debug, Clone)]
pub struct SystemConf {
    /// `[system]`
    pub system: System,
    /// `[keyring]`
    pub keyring: Keyring,
    /// `[handlers]`
    pub handlers: Handlers,
    /// `[encryption]`
    pub encryption: Encryption,
    /// `[casync]`
    pub casync: Casync,
    /// `[streaming]`
    pub streaming: Streaming,
    /// `[log.NAME]`
    pub logs: Vec<EventLog>,
    /// `[artifacts.NAME]`
    pub repositories: Vec<Repository>,
    /// The slots.
    pub layout: Layout,
    /// Sections that are understood and not acted upon.
    pub idle: Vec<Place>,
}

/// What is wrong with a `system.conf`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not understood.
    #[error(transparent)]
    Syntax(#[from] KeyFileError),
    /// A section that nobody knows.
    #[error("{place}: unknown section [{section}]{hint}")]
    UnknownSection {
        /// Where.
        place: Place,
        /// The section.
        section: String,
        /// What was probably meant, as the end of the sentence.
        hint: String,
    },
    /// A key that nobody knows.
    #[error("{place}: unknown key '{key}' in [{section}]{hint}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// Its section.
        section: String,
        /// The key.
        key: String,
        /// What was probably meant, as the end of the sentence.
        hint: String,
    },
    /// `bootloader=custom` without a program.
    #[error("{file}: bootloader=custom needs bootloader-custom-backend in [handlers]")]
    NoBackend {
        /// The file.
        file: String,
    },
    /// A manifest could mean either.
    #[error("{file}: [artifacts.{name}] has the name of a slot class")]
    ClassAndRepository {
        /// The file.
        file: String,
        /// The name.
        name: String,
    },
    /// A slot without a valid name.
    #[error("{place}: section [{section}] does not name a slot")]
    SlotName {
        /// Where.
        place: Place,
        /// The section.
        section: String,
        /// What is wrong with it.
        #[source]
        source: NameError,
    },
    /// The slots do not fit together.
    #[error("{file}: the slots do not fit together")]
    Layout {
        /// The file.
        file: String,
        /// How.
        #[source]
        source: LayoutError,
    },
}

impl SystemConf {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// With file and line where there is one.
    pub fn load(path: &Path) -> Result<SystemConf, ConfigError> {
        Self::load_with(path, &[])
    }

    /// The same with `settings` in the place of the file's own.
    ///
    /// # Errors
    /// As [`SystemConf::load`].
    pub fn load_with(path: &Path, settings: &[Setting]) -> Result<SystemConf, ConfigError> {
        let read = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > MAX_SIZE {
            return Err(read(io::Error::other(format!(
                "it has {size} bytes, more than {MAX_SIZE}"
            ))));
        }
        let bytes = std::fs::read(path).map_err(read)?;
        let bytes = settings
            .iter()
            .fold(bytes, |conf, setting| setting.replace(&conf));
        // Paths go to clients, who may be somewhere else.
        let whole = std::path::absolute(path).map_err(read)?;
        let base = whole.parent().unwrap_or(Path::new("/"));
        SystemConf::parse(&bytes, &path.display().to_string(), base)
    }

    /// Checks `bytes`; `file` names them in errors, relative paths start at `base`.
    ///
    /// # Errors
    /// With file and line where there is one.
    pub fn parse(bytes: &[u8], file: &str, base: &Path) -> Result<SystemConf, ConfigError> {
        let keys = KeyFile::parse(bytes, file)?;
        known::check_names(&keys)?;
        let system = system::read(keys.required("system")?, base)?;
        let mut rest = Rest::default();
        for section in keys.sections() {
            let reader = keys.read(section);
            match section.name.split('.').next().unwrap_or_default() {
                "system" => {}
                "keyring" => rest.keyring = Keyring::read(reader, base)?,
                "handlers" => rest.handlers = sections::handlers(reader, base)?,
                "encryption" => rest.encryption = sections::encryption(reader, base)?,
                "casync" => rest.casync = sections::casync(reader, base)?,
                "streaming" => rest.streaming = sections::streaming(reader, base)?,
                "log" => rest
                    .logs
                    .push(sections::log(reader, system.data_directory.as_deref())?),
                "artifacts" => rest.repositories.push(sections::artifacts(reader, base)?),
                "slot" => rest.slots.push(slot::read(&keys, section, base)?),
                _ => {
                    rest.idle.push(keys.place(section.line));
                    sections::without_effect(reader)?;
                }
            }
        }
        if system.bootloader == Bootloader::Custom && rest.handlers.bootloader.is_none() {
            return Err(ConfigError::NoBackend {
                file: file.to_owned(),
            });
        }
        let layout = Layout::new(rest.slots).map_err(|source| ConfigError::Layout {
            file: file.to_owned(),
            source,
        })?;
        for repository in &rest.repositories {
            if layout
                .iter()
                .any(|(_, slot)| slot.name.class() == repository.name)
            {
                return Err(ConfigError::ClassAndRepository {
                    file: file.to_owned(),
                    name: repository.name.clone(),
                });
            }
        }
        Ok(SystemConf {
            system,
            keyring: rest.keyring,
            handlers: rest.handlers,
            encryption: rest.encryption,
            casync: rest.casync,
            streaming: rest.streaming,
            logs: rest.logs,
            repositories: rest.repositories,
            layout,
            idle: rest.idle,
        })
    }
}

/// What stands beside `[system]`, while it is being read.
#[derive(Default)]
struct Rest {
    keyring: Keyring,
    handlers: Handlers,
    encryption: Encryption,
    casync: Casync,
    streaming: Streaming,
    logs: Vec<EventLog>,
    repositories: Vec<Repository>,
    slots: Vec<Slot>,
    idle: Vec<Place>,
}
