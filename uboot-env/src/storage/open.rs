//! From a configuration to open storage: finds out what each device is.

use super::emmc::force_ro_of;
use super::file::{FileCopy, Replace};
use super::flash::FlashCopy;
use super::media::{Backend, Media, missing};
use super::mtd::{Mtd, MtdKind};
use super::place::{absolute_offset, check_apart, flash_range};
use super::ubi::{UbiCopy, UbiVolume, node_of};
use super::{CopyError, EnvStorage, Op};
use crate::codec::Endian;
use crate::config::{CopyConfig, EnvConfig, is_ubi};
use crate::limits::SECTOR;
use crate::select::{CopyId, FlagScheme};
use crate::snapshot::Shape;
use std::fs;
use std::io;
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

/// Opens the devices that need more than reading and writing.
pub trait RawDevices {
    /// A raw flash device.
    ///
    /// # Errors
    /// What the system says; `Unsupported` where this cannot be done.
    fn mtd(&self, node: &Path) -> io::Result<Box<dyn Mtd>>;

    /// A UBI volume.
    ///
    /// # Errors
    /// What the system says; `Unsupported` where this cannot be done.
    fn ubi(&self, node: &Path) -> io::Result<Box<dyn UbiVolume>>;
}

/// No raw flash: every attempt is refused in so many words.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRawDevices;

impl RawDevices for NoRawDevices {
    fn mtd(&self, _node: &Path) -> io::Result<Box<dyn Mtd>> {
        Err(no_flash())
    }

    fn ubi(&self, _node: &Path) -> io::Result<Box<dyn UbiVolume>> {
        Err(no_flash())
    }
}

fn no_flash() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this build cannot reach raw flash and UBI volumes",
    )
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
    pub fn open(
        config: &EnvConfig,
        endian: Endian,
        sys: &SysPaths,
        raw: &dyn RawDevices,
    ) -> Result<Self, OpenError> {
        let size = config.size;
        let probe = |copy, other| {
            Probe {
                size,
                copy,
                other,
                sys,
                raw,
            }
            .run()
        };
        let first = probe(&config.first, config.second.as_ref())?;
        let second = match &config.second {
            Some(copy) => Some(probe(copy, Some(&config.first))?),
            None => None,
        };
        let scheme = common_scheme(config, &first, second.as_ref())?;
        if let Some(second) = &second {
            check_apart(&first, second, config.size)?;
        }
        let shape = Shape {
            layout: config.layout(),
            size,
            endian,
            scheme,
        };
        let media = Media {
            first,
            second,
            scheme,
        };
        Ok(Self { media, shape })
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

    /// Where each copy lies: the node, and the offset in bytes.
    #[must_use]
    pub fn places(&self) -> Vec<(PathBuf, u64)> {
        self.media
            .backends()
            .map(|b| (b.path().to_path_buf(), b.offset()))
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

/// The scheme of the copies that are there.
fn common_scheme(
    config: &EnvConfig,
    first: &Backend,
    second: Option<&Backend>,
) -> Result<FlagScheme, OpenError> {
    match (first.scheme(), second.and_then(Backend::scheme)) {
        (Some(a), Some(b)) if a != b => Err(OpenError::MixedMedia),
        (Some(scheme), _) | (None, Some(scheme)) => Ok(scheme),
        (None, None) => Err(OpenError::Unreachable(missing(&config.first))),
    }
}

/// Finds out what holds one copy.
struct Probe<'a> {
    size: u64,
    copy: &'a CopyConfig,
    other: Option<&'a CopyConfig>,
    sys: &'a SysPaths,
    raw: &'a dyn RawDevices,
}

impl Probe<'_> {
    /// Decides by what the node *is*, not by its name; only UBI volumes are found by name.
    fn run(&self) -> Result<Backend, OpenError> {
        let copy = self.copy;
        if is_ubi(&copy.path) {
            return self.ubi();
        }
        let Ok(real) = fs::canonicalize(&copy.path) else {
            return Ok(self.absent_or_new());
        };
        let kind = fs::metadata(&real)
            .map_err(|e| unreachable(copy, e))?
            .file_type();
        if kind.is_char_device() {
            return self.flash(&real);
        }
        if kind.is_dir() {
            return Err(unsuitable(copy, "a directory"));
        }
        if !kind.is_file() && !kind.is_block_device() {
            return Err(unsuitable(copy, "neither a file nor a device"));
        }
        let offset = absolute_offset(copy, self.size, &real)?;
        // A single sector is written as a whole where it is, and a boot loader finds it there even
        // if it replays no journal.
        let sector = self.size <= SECTOR && offset.is_multiple_of(SECTOR);
        let replace = if kind.is_file() && self.other.is_none() && !sector {
            Replace::Rename
        } else {
            Replace::InPlace
        };
        let file = FileCopy::new(&real, offset, self.size, replace);
        Ok(
            match force_ro_of(&real, &self.sys.block).filter(|_| kind.is_block_device()) {
                Some(force_ro) => Backend::EmmcBoot {
                    copy: file,
                    force_ro,
                },
                None => Backend::File(file),
            },
        )
    }

    fn flash(&self, node: &Path) -> Result<Backend, OpenError> {
        let mtd = self.raw.mtd(node).map_err(|e| unreachable(self.copy, e))?;
        let geometry = mtd.geometry();
        let range = flash_range(self.copy, self.other, geometry, self.size)?;
        let scheme = match geometry.kind {
            MtdKind::Nor | MtdKind::DataFlash => FlagScheme::Boolean,
            MtdKind::Nand => FlagScheme::Incremental,
        };
        let copy = FlashCopy::new(mtd, node, range, self.size).with_lock(self.copy.lock);
        Ok(Backend::Flash { copy, scheme })
    }

    fn ubi(&self) -> Result<Backend, OpenError> {
        let Some(node) = node_of(&self.copy.path, &self.sys.ubi) else {
            return Ok(Backend::Absent(self.copy.clone()));
        };
        let volume = self.raw.ubi(&node).map_err(|e| unreachable(self.copy, e))?;
        Ok(Backend::Ubi(UbiCopy::new(volume, node, self.size)))
    }

    /// A file of a pair that does not exist yet will be created; a device will not.
    fn absent_or_new(&self) -> Backend {
        let path = &self.copy.path;
        let directory = path.parent().is_some_and(Path::is_dir);
        match u64::try_from(self.copy.offset) {
            Ok(offset) if directory && !path.starts_with("/dev") => {
                Backend::File(FileCopy::new(path, offset, self.size, Replace::InPlace))
            }
            _ => Backend::Absent(self.copy.clone()),
        }
    }
}

fn unsuitable(copy: &CopyConfig, what: &'static str) -> OpenError {
    OpenError::Unsuitable {
        path: copy.path.clone(),
        line: copy.line,
        what,
    }
}

pub(super) fn unreachable(copy: &CopyConfig, source: std::io::Error) -> OpenError {
    OpenError::Unreachable(CopyError::io(Op::Inspect, &copy.path, 0)(source))
}
