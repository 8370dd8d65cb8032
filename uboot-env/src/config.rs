//! Where the environment is: `fw_env.config` and libubootenv's YAML, read strictly.
//!
//! Both peers skip lines that they do not understand. A spoilt second line then turns a redundant
//! environment into a single one, the CRC no longer fits, and the default environment is written
//! over the first copy. Here every line that is not understood is an error with its place.

mod legacy;
mod number;
mod yaml;

use crate::access::Rule;
use crate::codec::{ImageError, Layout, check_size};
use crate::limits::MAX_SYSFS_BYTES;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where one copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyConfig {
    /// Device or file; for UBI also `/dev/ubi0:name` or `/dev/mtd3:name`.
    pub path: PathBuf,
    /// Offset in bytes; negative: from the end of the device.
    pub offset: i64,
    /// Erase block (sector) size in bytes, if stated.
    pub sector_size: Option<u64>,
    /// Number of erase blocks that belong to this copy, if stated.
    pub sectors: Option<u64>,
    /// Do not unlock and lock flash blocks.
    pub lock: FlashLock,
    /// Line in the configuration, from 1.
    pub line: usize,
}

/// Whether flash blocks are unlocked before, and locked again after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlashLock {
    /// Locked blocks are unlocked for the write, then locked again.
    #[default]
    Respect,
    /// No lock calls at all (`disable_lock`).
    Ignore,
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvConfig {
    /// Its name in a YAML file; `None` from `fw_env.config`.
    pub namespace: Option<String>,
    /// Size of each copy in bytes (`CONFIG_ENV_SIZE`).
    pub size: u64,
    /// The first copy.
    pub first: CopyConfig,
    /// The second copy of a redundant environment.
    pub second: Option<CopyConfig>,
    /// Lock file that replaces libubootenv's.
    pub lockfile: Option<PathBuf>,
    /// If present, only these variables may be written.
    pub writelist: Option<Vec<Rule>>,
    /// Things that are allowed and probably not meant.
    pub hints: Vec<Hint>,
}

impl EnvConfig {
    /// Two copies mean flags bytes.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        if self.second.is_some() {
            Layout::Redundant
        } else {
            Layout::Single
        }
    }

    /// The copies in order.
    pub fn copies(&self) -> impl Iterator<Item = &CopyConfig> {
        std::iter::once(&self.first).chain(&self.second)
    }
}

/// A remark about a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {text}")]
pub struct Hint {
    /// From 1.
    pub line: usize,
    /// What is remarkable and what to do.
    pub text: String,
}

/// Why a configuration is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", place(file, *line))]
pub struct ConfigError {
    /// Name of the configuration as given by the caller.
    pub file: String,
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub what: Problem,
}

/// `file:line`, or the file alone where it is about the whole of it.
fn place(file: &str, line: usize) -> String {
    match line {
        0 => file.to_owned(),
        line => format!("{file}:{line}"),
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// Not a single environment.
    #[error("no environment is described here")]
    Empty,
    /// Not text.
    #[error("is not UTF-8 text")]
    NotText,
    /// A field too few.
    #[error(
        "has {have} of the three fields needed: device, offset, environment size. The other tools \
         would silently skip this line"
    )]
    TooFewFields {
        /// Fields on the line.
        have: usize,
    },
    /// A field too many.
    #[error("has more than six fields: device offset size [sector-size [sectors [disable-lock]]]")]
    TooManyFields,
    /// A field that is no number.
    #[error("{field} {text:?} is no number (sizes are hexadecimal, offsets decimal, 0x… or 0…)")]
    Number {
        /// Which field.
        field: &'static str,
        /// As written.
        text: String,
    },
    /// A third copy.
    #[error("a third copy is described, but an environment has one or two")]
    ThirdCopy,
    /// Size out of range.
    #[error("the environment size cannot be right")]
    Size(#[source] ImageError),
    /// The copies differ in size.
    #[error("this copy is {second:#x} bytes, the first one is {first:#x}: both must be equal")]
    UnequalSizes {
        /// Of the first copy.
        first: u64,
        /// Of this copy.
        second: u64,
    },
    /// Offset not on a sector boundary.
    #[error("offset {offset:#x} is not a multiple of the sector size {sector:#x}")]
    Unaligned {
        /// In bytes.
        offset: i64,
        /// In bytes.
        sector: u64,
    },
    /// The environment is larger than its sectors.
    #[error("{size:#x} bytes do not fit into {sectors} sectors of {sector:#x} bytes")]
    DoesNotFit {
        /// Environment size.
        size: u64,
        /// Number of sectors.
        sectors: u64,
        /// Sector size.
        sector: u64,
    },
    /// Both copies in the same place.
    #[error("both copies overlap: a write of one would destroy the other")]
    Overlap,
    /// A key that libubootenv does not know either.
    #[error("unknown key {key:?}; {help}")]
    Key {
        /// As written.
        key: String,
        /// What could be meant.
        help: &'static str,
    },
    /// A key occurs twice.
    #[error("{key:?} is given twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// Something is missing in a namespace or device.
    #[error("{what} is missing")]
    Missing {
        /// The missing part.
        what: &'static str,
    },
    /// Not of the subset of YAML that this file needs.
    #[error("{what}")]
    Syntax {
        /// What was expected.
        what: &'static str,
    },
    /// `-m NAME` or the device tree names something that is not here.
    #[error("there is no namespace {name:?}; known: {known}")]
    Namespace {
        /// The wanted one.
        name: String,
        /// Those in the file.
        known: String,
    },
}

/// Reads a configuration of either kind and returns the environments in it: one from
/// `fw_env.config`, one per namespace from YAML. `file` is used in errors only.
///
/// # Errors
/// [`ConfigError`] with the line, for anything not understood.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Vec<EnvConfig>, ConfigError> {
    let error = |(line, what)| ConfigError {
        file: file.to_owned(),
        line,
        what,
    };
    let text = std::str::from_utf8(bytes).map_err(|_| error((0, Problem::NotText)))?;
    let envs = if yaml::looks_like_yaml(text) {
        yaml::parse(text)
    } else {
        legacy::parse(text).map(|env| vec![env])
    };
    let envs = envs.map_err(error)?;
    for env in &envs {
        check(env).map_err(error)?;
    }
    if envs.is_empty() {
        Err(error((0, Problem::Empty)))
    } else {
        Ok(envs)
    }
}

/// Where the boot loader can name the namespace of a YAML configuration.
pub const DEVICE_TREE_NAMESPACE: &str = "/proc/device-tree/chosen/u-boot,env-config";

/// The namespace that the device tree names in the property `path`, if there is one, and if `envs`
/// have names at all.
#[must_use]
pub fn namespace_of_device_tree(envs: &[EnvConfig], path: &Path) -> Option<String> {
    if envs.iter().all(|env| env.namespace.is_none()) {
        return None;
    }
    let mut text = String::new();
    let property = File::open(path).ok()?;
    let mut capped = property.take(MAX_SYSFS_BYTES);
    capped.read_to_string(&mut text).ok()?;
    let name = text.trim_end_matches('\0').trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Picks a namespace: the named one, or the first.
///
/// # Errors
/// [`Problem::Namespace`] if there is none of that name.
pub fn select(
    file: &str,
    envs: Vec<EnvConfig>,
    namespace: Option<&str>,
) -> Result<EnvConfig, ConfigError> {
    let error = |what| ConfigError {
        file: file.to_owned(),
        line: 0,
        what,
    };
    let Some(name) = namespace else {
        return envs.into_iter().next().ok_or_else(|| error(Problem::Empty));
    };
    let known: Vec<String> = envs.iter().filter_map(|e| e.namespace.clone()).collect();
    let found = envs
        .into_iter()
        .find(|e| e.namespace.as_deref() == Some(name));
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    found.ok_or_else(|| {
        error(Problem::Namespace {
            name: name.to_owned(),
            known,
        })
    })
}

type Located = (usize, Problem);

/// The rules that hold for both kinds of file.
fn check(env: &EnvConfig) -> Result<(), Located> {
    check_size(env.size).map_err(|e| (env.first.line, Problem::Size(e)))?;
    for copy in env.copies() {
        check_sectors(env.size, copy).map_err(|p| (copy.line, p))?;
    }
    let Some(second) = &env.second else {
        return Ok(());
    };
    let first = &env.first;
    // A negative and a positive offset on one device are compared when its size is known.
    let comparable = first.path == second.path && (first.offset < 0) == (second.offset < 0);
    if comparable && first.offset.abs_diff(second.offset) < env.size && !is_ubi(&first.path) {
        return Err((second.line, Problem::Overlap));
    }
    if is_ubi(&first.path) && first.path == second.path {
        return Err((second.line, Problem::Overlap));
    }
    Ok(())
}

fn check_sectors(size: u64, copy: &CopyConfig) -> Result<(), Problem> {
    let Some(sector) = copy.sector_size else {
        return Ok(());
    };
    if !copy.offset.unsigned_abs().is_multiple_of(sector) {
        return Err(Problem::Unaligned {
            offset: copy.offset,
            sector,
        });
    }
    let Some(sectors) = copy.sectors else {
        return Ok(());
    };
    match sectors.checked_mul(sector) {
        Some(room) if room >= size => Ok(()),
        _ => Err(Problem::DoesNotFit {
            size,
            sectors,
            sector,
        }),
    }
}

/// Whether a path names a UBI volume, as the peers decide it.
pub(crate) fn is_ubi(path: &std::path::Path) -> bool {
    let text = path.to_string_lossy();
    text.starts_with("/dev/ubi") || (text.starts_with("/dev/mtd") && text.contains(':'))
}

#[cfg(test)]
mod tests;
