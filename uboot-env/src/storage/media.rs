//! The copies of an environment, whatever each of them lives on.

use super::file::FileCopy;
use super::flash::FlashCopy;
use super::ubi::UbiCopy;
use super::{CopyError, EnvStorage, Op};
use crate::config::CopyConfig;
use crate::select::{CopyId, FlagScheme};
use devio::mmc::Unprotected;
use std::io;
use std::path::{Path, PathBuf};

/// What holds one copy.
#[derive(Debug)]
pub(super) enum Backend {
    File(FileCopy),
    EmmcBoot {
        copy: FileCopy,
        force_ro: PathBuf,
    },
    Flash {
        copy: FlashCopy,
        scheme: FlagScheme,
    },
    Ubi(UbiCopy),
    /// Its device is not there. Every access says so; the other copy may do.
    Absent(CopyConfig),
}

/// One or two copies on media of one kind.
#[derive(Debug)]
pub struct Media {
    pub(super) first: Backend,
    pub(super) second: Option<Backend>,
    pub(super) scheme: FlagScheme,
}

impl Media {
    /// Copies in files or on block devices.
    #[must_use]
    pub fn files(first: FileCopy, second: Option<FileCopy>) -> Self {
        let second = second.map(Backend::File);
        Self {
            first: Backend::File(first),
            second,
            scheme: FlagScheme::Incremental,
        }
    }

    /// Copies on raw flash; the scheme is boolean on NOR and incremental on NAND. The ranges must
    /// not overlap.
    #[must_use]
    pub fn flash(scheme: FlagScheme, first: FlashCopy, second: Option<FlashCopy>) -> Self {
        let backend = |copy| Backend::Flash { copy, scheme };
        Self {
            first: backend(first),
            second: second.map(backend),
            scheme,
        }
    }

    /// Copies in UBI volumes.
    #[must_use]
    pub fn ubi(first: UbiCopy, second: Option<UbiCopy>) -> Self {
        let second = second.map(Backend::Ubi);
        Self {
            first: Backend::Ubi(first),
            second,
            scheme: FlagScheme::Incremental,
        }
    }

    pub(super) fn backends(&self) -> impl Iterator<Item = &Backend> {
        std::iter::once(&self.first).chain(&self.second)
    }

    pub(super) fn get(&self, copy: CopyId) -> Result<&Backend, CopyError> {
        match copy {
            CopyId::First => Ok(&self.first),
            CopyId::Second => self.second.as_ref().ok_or(CopyError::NoSuchCopy { copy }),
        }
    }

    fn get_mut(&mut self, copy: CopyId) -> Result<&mut Backend, CopyError> {
        match copy {
            CopyId::First => Ok(&mut self.first),
            CopyId::Second => self.second.as_mut().ok_or(CopyError::NoSuchCopy { copy }),
        }
    }
}

impl EnvStorage for Media {
    fn scheme(&self) -> FlagScheme {
        self.scheme
    }

    fn read(&mut self, copy: CopyId) -> Result<Vec<u8>, CopyError> {
        match self.get_mut(copy)? {
            Backend::File(c) | Backend::EmmcBoot { copy: c, .. } => c.read(),
            Backend::Flash { copy: c, .. } => c.read(),
            Backend::Ubi(c) => c.read(),
            Backend::Absent(config) => Err(missing(config)),
        }
    }

    fn write(&mut self, copy: CopyId, image: &[u8]) -> Result<(), CopyError> {
        match self.get_mut(copy)? {
            Backend::File(c) => c.write(image),
            Backend::EmmcBoot { copy: c, force_ro } => {
                let failed = |e| CopyError::io(Op::ForceRo, force_ro, 0)(io::Error::other(e));
                let open = Unprotected::begin(force_ro).map_err(failed)?;
                // Durable before the area is closed again: `write` syncs.
                c.write(image)?;
                open.end().map_err(failed)
            }
            Backend::Flash { copy: c, .. } => c.write(image),
            Backend::Ubi(c) => c.write(image),
            Backend::Absent(config) => Err(missing(config)),
        }
    }

    fn obsolete(&mut self, copy: CopyId) -> Result<(), CopyError> {
        match self.get_mut(copy)? {
            Backend::Flash { copy: c, .. } => c.obsolete(),
            Backend::File(c) | Backend::EmmcBoot { copy: c, .. } => c.obsolete(),
            // Never asked for on UBI: its scheme is incremental, and a volume is written whole.
            Backend::Ubi(_) => Err(CopyError::NoSuchCopy { copy }),
            Backend::Absent(config) => Err(missing(config)),
        }
    }
}

impl Backend {
    pub(super) fn scheme(&self) -> Option<FlagScheme> {
        match self {
            Self::File(_) | Self::EmmcBoot { .. } | Self::Ubi(_) => Some(FlagScheme::Incremental),
            Self::Flash { scheme, .. } => Some(*scheme),
            Self::Absent(_) => None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(c) | Self::EmmcBoot { copy: c, .. } => c.path(),
            Self::Flash { copy, .. } => copy.path(),
            Self::Ubi(c) => c.path(),
            Self::Absent(config) => &config.path,
        }
    }

    /// First byte of the copy on its device.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::File(c) | Self::EmmcBoot { copy: c, .. } => c.offset(),
            Self::Flash { copy, .. } => copy.range().start,
            Self::Ubi(_) | Self::Absent(_) => 0,
        }
    }

    pub(super) fn describe(&self) -> String {
        let kind = match self {
            Self::File(_) => "",
            Self::EmmcBoot { .. } => "eMMC boot area ",
            Self::Flash {
                scheme: FlagScheme::Boolean,
                ..
            } => "NOR ",
            Self::Flash {
                scheme: FlagScheme::Incremental,
                ..
            } => "NAND ",
            Self::Ubi(_) => "UBI volume ",
            Self::Absent(_) => "missing ",
        };
        format!("{kind}{} at {:#x}", self.path().display(), self.offset())
    }
}

pub(super) fn missing(config: &CopyConfig) -> CopyError {
    let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
    CopyError::io(Op::Open, &config.path, 0)(gone)
}
