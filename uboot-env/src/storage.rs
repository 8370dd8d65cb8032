//! Where the copies live: one trait, and a backend per kind of medium.

pub mod emmc;
pub mod file;
pub mod flash;
pub mod kernel;
pub mod lock;
pub mod media;
pub mod mtd;
pub mod open;
mod place;
pub mod ubi;

use crate::select::{CopyId, FlagScheme};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

pub use kernel::KernelDevices;
pub use media::Media;
pub use open::{Devices, NoRawDevices, OpenError, RawDevices, SysPaths};

/// The two (or one) copies of an environment on some medium.
///
/// `write` and `obsolete` are durable when they return, and the next `read` comes from the medium
/// as far as the kernel lets one say so. Power may fail at any moment inside them; the caller
/// only ever writes the copy that nobody uses.
pub trait EnvStorage {
    /// How the flags byte is used on this medium.
    fn scheme(&self) -> FlagScheme;

    /// Reads a whole copy, exactly as many bytes as the environment is large.
    ///
    /// # Errors
    /// [`CopyError`]; the other copy may still be read.
    fn read(&mut self, copy: CopyId) -> Result<Vec<u8>, CopyError>;

    /// Writes a whole copy and makes it durable.
    ///
    /// # Errors
    /// [`CopyError`]; the copy is then in an unknown state.
    fn write(&mut self, copy: CopyId, image: &[u8]) -> Result<(), CopyError>;

    /// Sets the flags byte of a copy to 0 without an erase, durably. Only called where
    /// [`FlagScheme::Boolean`] holds.
    ///
    /// # Errors
    /// [`CopyError`]; the flags byte has its old value or 0.
    fn obsolete(&mut self, copy: CopyId) -> Result<(), CopyError>;
}

/// What was being done when the medium failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Opening the device or file.
    Open,
    /// Reading.
    Read,
    /// Writing or programming.
    Write,
    /// Making it durable.
    Sync,
    /// Erasing a flash block.
    Erase,
    /// Asking for bad blocks, or marking one.
    BadBlock,
    /// Unlocking or locking a flash block.
    FlashLock,
    /// Starting the update of a UBI volume.
    UbiUpdate,
    /// Lifting or restoring the write protection of an eMMC boot area.
    ForceRo,
    /// Asking for the device's properties.
    Inspect,
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Erase => "erase",
            Self::BadBlock => "check the bad block marks of",
            Self::FlashLock => "unlock or lock",
            Self::UbiUpdate => "start the volume update of",
            Self::ForceRo => "change the write protection of",
            Self::Inspect => "inspect",
        })
    }
}

/// Why one copy could not be read or written.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The system said no.
    #[error("cannot {op} {} at {offset:#x}", path.display())]
    Io {
        /// What was tried.
        op: Op,
        /// Device or file.
        path: PathBuf,
        /// Byte offset in it.
        offset: u64,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The device or file ends inside the copy.
    #[error("{} ends after {have} of the {want} bytes at {offset:#x}", path.display())]
    Short {
        /// Device or file.
        path: PathBuf,
        /// Where the copy starts.
        offset: u64,
        /// Bytes there.
        have: u64,
        /// Bytes expected.
        want: u64,
    },
    /// A UBI volume whose update was cut; it can be written, not read.
    #[error("{}: the last update of this UBI volume was interrupted", path.display())]
    InterruptedUpdate {
        /// The volume.
        path: PathBuf,
    },
    /// Not enough good blocks in the range of this copy. Nothing was touched.
    #[error("{}: only {good} good blocks at {offset:#x}, {needed} are needed", path.display())]
    TooFewGoodBlocks {
        /// The device.
        path: PathBuf,
        /// Start of the range.
        offset: u64,
        /// Good blocks in it.
        good: u64,
        /// Blocks needed.
        needed: u64,
    },
    /// This copy does not exist in this environment.
    #[error("there is no {copy} in this environment")]
    NoSuchCopy {
        /// The copy asked for.
        copy: CopyId,
    },
    /// The image has another size than the copy.
    #[error("the image has {have} bytes, the copy {want}")]
    WrongSize {
        /// Of the image.
        have: u64,
        /// Of the copy.
        want: u64,
    },
}

impl CopyError {
    pub(crate) fn io(op: Op, path: &Path, offset: u64) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io {
            op,
            path,
            offset,
            source,
        }
    }
}

/// Checks that an image is as long as the copy it goes to.
pub(crate) fn check_len(image: &[u8], want: u64) -> Result<(), CopyError> {
    let have = image.len() as u64;
    if have == want {
        Ok(())
    } else {
        Err(CopyError::WrongSize { have, want })
    }
}
