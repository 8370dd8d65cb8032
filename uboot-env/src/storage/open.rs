//! From a configuration to open storage: finds out what each device is.

use super::emmc::force_ro_of;
use super::file::{FileCopy, Replace};
use super::media::{Backend, Media, missing};
use super::{CopyError, EnvStorage, Op};
use crate::codec::Endian;
use crate::config::{CopyConfig, EnvConfig, is_ubi};
use crate::select::{CopyId, FlagScheme};
use crate::snapshot::Shape;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where the kernel describes its devices. Tests put a directory of their own here.
#[derive(Debug, Clone)]
pub struct SysPaths {
    /// `/sys/class/block`.
    pub block: PathBuf,
    /// `/sys/class/ubi`.
    pub ubi: PathBuf,
}

impl Default for SysPaths {
    fn default() -> Self {
        Self {
            block: "/sys/class/block".into(),
            ubi: "/sys/class/ubi".into(),
        }
    }
}

/// Why a configuration does not fit the devices.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Not a file, block device, MTD or UBI volume.
    #[error("{} (line {line} of the configuration) is {what}, which cannot hold an environment", path.display())]
    Unsuitable {
        /// The device.
        path: PathBuf,
        /// In the configuration.
        line: usize,
        /// What it is.
        what: &'static str,
    },
    /// The copies use their flags byte differently.
    #[error("the copies are on different kinds of media, so their flags bytes cannot be compared")]
    MixedMedia,
    /// The copies share bytes, or a flash block that is erased as a whole.
    #[error(
        "both copies lie in the same {unit} of {}: writing one would destroy the other",
        path.display()
    )]
    Shared {
        /// The device.
        path: PathBuf,
        /// What they share.
        unit: &'static str,
    },
    /// The copy is not inside the device, or not on its block boundaries.
    #[error("line {line} of the configuration: {what} ({})", path.display())]
    Misplaced {
        /// The device.
        path: PathBuf,
        /// In the configuration.
        line: usize,
        /// What is wrong, with numbers.
        what: String,
    },
    /// No device at all can be opened.
    #[error("the environment cannot be reached")]
    Unreachable(#[source] CopyError),
}

/// The storage that a configuration describes.
#[derive(Debug)]
pub struct Devices {
    media: Media,
    shape: Shape,
}

impl Devices {
    /// Looks at every device and prepares it. Nothing is written, and flash is not unlocked.
    ///
    /// One copy whose device is missing is no error here.
    ///
    /// # Errors
    /// [`OpenError`] if the configuration cannot be right for these devices, or no device is there.
    pub fn open(config: &EnvConfig, endian: Endian, sys: &SysPaths) -> Result<Self, OpenError> {
        let probe = |copy, other| probe(config, copy, other, sys);
        let first = probe(&config.first, config.second.as_ref())?;
        let second = config
            .second
            .as_ref()
            .map(|c| probe(c, Some(&config.first)))
            .transpose()?;
        let schemes = || {
            std::iter::once(&first)
                .chain(&second)
                .filter_map(Backend::scheme)
        };
        let Some(scheme) = schemes().next() else {
            return Err(OpenError::Unreachable(missing(&config.first)));
        };
        if schemes().any(|s| s != scheme) {
            return Err(OpenError::MixedMedia);
        }
        if let Some(second) = &second {
            check_apart(&first, second, config.size)?;
        }
        let shape = Shape {
            layout: config.layout(),
            size: config.size,
            endian,
            scheme,
        };
        Ok(Self {
            media: Media {
                first,
                second,
                scheme,
            },
            shape,
        })
    }

    /// The shape of this environment.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The nodes that hold the copies, to be locked.
    #[must_use]
    pub fn nodes(&self) -> Vec<PathBuf> {
        self.media
            .backends()
            .map(|b| b.path().to_path_buf())
            .collect()
    }

    /// What kind of thing holds a copy, and where.
    #[must_use]
    pub fn describe(&self, copy: CopyId) -> String {
        self.media
            .get(copy)
            .map_or_else(|e| e.to_string(), Backend::describe)
    }
}

impl EnvStorage for Devices {
    fn scheme(&self) -> FlagScheme {
        self.media.scheme
    }

    fn read(&mut self, copy: CopyId) -> Result<Vec<u8>, CopyError> {
        self.media.read(copy)
    }

    fn write(&mut self, copy: CopyId, image: &[u8]) -> Result<(), CopyError> {
        self.media.write(copy, image)
    }

    fn obsolete(&mut self, copy: CopyId) -> Result<(), CopyError> {
        self.media.obsolete(copy)
    }
}

/// Decides by what the node *is*, not by its name; only UBI volumes are also found by name.
fn probe(
    config: &EnvConfig,
    copy: &CopyConfig,
    other: Option<&CopyConfig>,
    sys: &SysPaths,
) -> Result<Backend, OpenError> {
    if is_ubi(&copy.path) {
        return Err(unsuitable(copy, "a UBI volume"));
    }
    let Ok(real) = fs::canonicalize(&copy.path) else {
        return Ok(absent_or_new(config, copy));
    };
    let kind = fs::metadata(&real)
        .map_err(|e| unreachable(copy, e))?
        .file_type();
    if kind.is_char_device() {
        return Err(unsuitable(
            copy,
            "a character device that is neither MTD nor UBI",
        ));
    }
    if kind.is_file() || kind.is_block_device() {
        let offset = absolute_offset(copy, config.size, &real)?;
        let single_file = kind.is_file() && other.is_none();
        let replace = if single_file {
            Replace::Rename
        } else {
            Replace::InPlace
        };
        let file = FileCopy::new(&real, offset, config.size, replace);
        return Ok(
            match force_ro_of(&real, &sys.block).filter(|_| kind.is_block_device()) {
                Some(force_ro) => Backend::EmmcBoot {
                    copy: file,
                    force_ro,
                },
                None => Backend::File(file),
            },
        );
    }
    Err(unsuitable(
        copy,
        if kind.is_dir() {
            "a directory"
        } else {
            "neither a file nor a device"
        },
    ))
}

/// A second file of a pair that does not exist yet will be created; a device will not.
fn absent_or_new(config: &EnvConfig, copy: &CopyConfig) -> Backend {
    let directory = copy.path.parent().is_some_and(Path::is_dir);
    match u64::try_from(copy.offset) {
        Ok(offset) if directory && !copy.path.starts_with("/dev") => Backend::File(FileCopy::new(
            &copy.path,
            offset,
            config.size,
            Replace::InPlace,
        )),
        _ => Backend::Absent(copy.clone()),
    }
}

/// A negative offset counts from the end.
fn absolute_offset(copy: &CopyConfig, size: u64, real: &Path) -> Result<u64, OpenError> {
    if let Ok(offset) = u64::try_from(copy.offset) {
        return Ok(offset);
    }
    let file = fs::File::open(real).map_err(|e| unreachable(copy, e))?;
    let len = devio::block::device_len(&file).map_err(|e| unreachable(copy, e))?;
    let back = copy.offset.unsigned_abs();
    let misplaced = |what| OpenError::Misplaced {
        path: copy.path.clone(),
        line: copy.line,
        what,
    };
    if back < size {
        let what = format!("{back:#x} bytes from the end there is no room for {size:#x}");
        return Err(misplaced(what));
    }
    len.checked_sub(back).ok_or_else(|| {
        misplaced(format!(
            "offset -{back:#x} is before the start, the device has {len:#x} bytes"
        ))
    })
}

/// Two copies on one device must not share anything that is written as a whole.
fn check_apart(first: &Backend, second: &Backend, size: u64) -> Result<(), OpenError> {
    let (a, b) = (extent(first, size), extent(second, size));
    let same_node = first.path() == second.path();
    if same_node && a.0 < b.1 && b.0 < a.1 {
        let flash = matches!(first, Backend::Flash { .. });
        let unit = if flash { "erase block" } else { "bytes" };
        return Err(OpenError::Shared {
            path: first.path().to_path_buf(),
            unit,
        });
    }
    Ok(())
}

fn extent(backend: &Backend, size: u64) -> (u64, u64) {
    match backend {
        Backend::File(c) | Backend::EmmcBoot { copy: c, .. } => {
            (c.offset(), c.offset().saturating_add(size))
        }
        Backend::Flash { copy, .. } => (copy.range().start, copy.range().end),
        Backend::Ubi(_) => (0, size),
        Backend::Absent(_) => (0, 0),
    }
}

fn unsuitable(copy: &CopyConfig, what: &'static str) -> OpenError {
    OpenError::Unsuitable {
        path: copy.path.clone(),
        line: copy.line,
        what,
    }
}

fn unreachable(copy: &CopyConfig, source: std::io::Error) -> OpenError {
    OpenError::Unreachable(CopyError::io(Op::Inspect, &copy.path, 0)(source))
}
