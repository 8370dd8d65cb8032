//! `system.conf` as RAUC defines it, strict: what is not known is an error with file and line.
//!
//! Every section and key of RAUC is known here. Some are not acted upon yet. Where leaving them out
//! would change what an installation does or whom it trusts, they are collected in
//! [`SystemConf::not_yet`], and `slotmgr install` refuses to run; the others (mount options for
//! things that we do not mount, the cache of a download that we do not make) have no effect here.

mod slot;
mod system;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use bundle_format::keyfile::{KeyFile, KeyFileError, Place, SectionReader};
use bundle_format::manifest::Format;

use super::Keyring;
use crate::boot::Tries;
use crate::slot::{Layout, LayoutError, NameError};

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
    /// One that RAUC knows and that this version does not drive yet.
    Other(String),
}

/// A setting that is understood but not acted upon yet, and that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotYet {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub what: String,
}

/// A checked `system.conf`.
#[derive(Debug, Clone)]
pub struct SystemConf {
    /// `compatible=`
    pub compatible: String,
    /// `bootloader=`
    pub bootloader: Bootloader,
    /// `data-directory=`: where our record is kept.
    pub data_directory: Option<PathBuf>,
    /// `bundle-formats=`: those that may be installed.
    pub formats: Vec<Format>,
    /// `perform-pre-check=`: read everything before the first write, always.
    pub pre_check: bool,
    /// `max-bundle-signature-size=`, in bytes.
    pub max_signature_size: Option<u64>,
    /// `[keyring]`
    pub keyring: Keyring,
    /// The slots.
    pub layout: Layout,
    /// Settings that keep `slotmgr install` from running.
    pub not_yet: Vec<NotYet>,
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

/// Sections whose keys have no effect on what this version does.
const WITHOUT_EFFECT: [&str; 5] = [
    "casync",
    "encryption",
    "autoinstall",
    "streaming",
    "polling",
];

impl SystemConf {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// With file and line where there is one.
    pub fn load(path: &Path) -> Result<SystemConf, ConfigError> {
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
        let base = path.parent().unwrap_or(Path::new("/"));
        SystemConf::parse(&bytes, &path.display().to_string(), base)
    }

    /// Checks `bytes`; `file` names them in errors, relative paths start at `base`.
    ///
    /// # Errors
    /// With file and line where there is one.
    pub fn parse(bytes: &[u8], file: &str, base: &Path) -> Result<SystemConf, ConfigError> {
        let keys = KeyFile::parse(bytes, file)?;
        let mut not_yet = Vec::new();
        let mut slots = Vec::new();
        let mut keyring = Keyring::default();
        for section in keys.sections() {
            let reader = keys.read(section);
            match section.name.split('.').next().unwrap_or_default() {
                "system" if section.name == "system" => {}
                "keyring" if section.name == "keyring" => {
                    keyring = Keyring::read(reader, base)?;
                }
                "handlers" if section.name == "handlers" => read_handlers(reader, &mut not_yet)?,
                "slot" => slots.push(slot::read(&keys, section, base, &mut not_yet)?),
                "log" | "artifacts" => {}
                name if WITHOUT_EFFECT.contains(&name) && name == section.name => {}
                _ => return Err(keys.unknown(section).into()),
            }
        }
        let layout = Layout::new(slots).map_err(|source| ConfigError::Layout {
            file: file.to_owned(),
            source,
        })?;
        let system = keys.required("system")?;
        system::read(system, base, SystemConf::empty(layout, keyring, not_yet))
    }

    fn empty(layout: Layout, keyring: Keyring, not_yet: Vec<NotYet>) -> SystemConf {
        SystemConf {
            compatible: String::new(),
            bootloader: Bootloader::Other(String::new()),
            data_directory: None,
            formats: system::ALL_FORMATS.to_vec(),
            pre_check: false,
            max_signature_size: None,
            keyring,
            layout,
            not_yet,
        }
    }
}

fn read_handlers(
    mut section: SectionReader<'_>,
    list: &mut Vec<NotYet>,
) -> Result<(), ConfigError> {
    for key in ["pre-install", "post-install"] {
        block_if_present(&mut section, key, list);
    }
    for key in ["system-info", "bootloader-custom-backend"] {
        section.take(key);
    }
    section.finish()?;
    Ok(())
}

fn block_if(section: &mut SectionReader<'_>, key: &str, value: &str, list: &mut Vec<NotYet>) {
    if let Some(entry) = section.take(key)
        && (entry.raw.trim() == value || !matches!(entry.raw.trim(), "true" | "false"))
    {
        not_yet(
            list,
            section,
            entry.line,
            &format!("{key}={}", entry.raw.trim()),
        );
    }
}

fn block_if_present(section: &mut SectionReader<'_>, key: &str, list: &mut Vec<NotYet>) {
    if let Some(entry) = section.take(key) {
        not_yet(list, section, entry.line, key);
    }
}

fn not_yet(list: &mut Vec<NotYet>, section: &SectionReader<'_>, line: u64, what: &str) {
    let place = Place {
        line,
        ..section.place_of_header()
    };
    list.push(NotYet {
        place,
        what: what.to_owned(),
    });
}
