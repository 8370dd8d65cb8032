//! Partition tables of disks that are in use.

use std::fs::File;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use devio::partition::{LockError, Partition, PartitionError, lock_disk};

use super::SectorSize;
use crate::storage::Storage;
use crate::storage::device::FileStorage;

/// How long udev or a partitioning tool may keep a disk locked.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Why a disk could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Not to be opened, or of an unknown kind.
    #[error("cannot open the disk {}", path.display())]
    Open {
        /// The disk.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A size of sectors that no disk has.
    #[error("the disk {} has sectors of {bytes} bytes, which no partition table counts in", path.display())]
    Sectors {
        /// The disk.
        path: PathBuf,
        /// Bytes of a sector.
        bytes: u32,
    },
    /// Somebody else is working on it.
    #[error("cannot lock the disk {}", path.display())]
    Locked {
        /// The disk.
        path: PathBuf,
        /// Why.
        #[source]
        source: LockError,
    },
    /// The table is written, but the kernel goes on with the old one until the next start.
    #[error("the partition table is written, but the kernel did not take it over")]
    Kernel(#[source] PartitionError),
}

/// Lets `work` change the whole disk `path` (not a partition of it) under the lock that udev and
/// partitioning tools respect.
///
/// # Errors
/// When the disk cannot be opened or locked, and what `work` says.
pub fn with_disk<T, E: From<LiveError>>(
    path: &Path,
    work: impl FnOnce(&mut dyn Storage, SectorSize) -> Result<T, E>,
) -> Result<T, E> {
    let open = |source| LiveError::Open {
        path: path.to_owned(),
        source,
    };
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(open)?;
    let _lock = lock_disk(&file, PATIENCE).map_err(|source| LiveError::Locked {
        path: path.to_owned(),
        source,
    })?;
    let sector = sector_size(&file, path)?;
    let mut storage = FileStorage::new(file.try_clone().map_err(open)?).map_err(open)?;
    work(&mut storage, sector)
}

/// Of a disk; 512 for a regular file.
///
/// # Errors
/// When it cannot be asked for, or no table counts in it.
pub fn sector_size(file: &File, path: &Path) -> Result<SectorSize, LiveError> {
    let open = |source| LiveError::Open {
        path: path.to_owned(),
        source,
    };
    if file.metadata().map_err(open)?.is_file() {
        return Ok(SectorSize::S512);
    }
    let bytes = devio::block::logical_sector_size(file).map_err(open)?;
    SectorSize::new(bytes).ok_or_else(|| LiveError::Sectors {
        path: path.to_owned(),
        bytes,
    })
}

/// Tells the kernel that a partition was moved. Attributes and types need no telling.
///
/// # Errors
/// When the partition is in use. What is on the disk counts from the next start on.
pub fn tell_kernel(disk: &File, moved: Partition) -> Result<(), LiveError> {
    let number: NonZeroU32 = moved.number;
    match devio::partition::delete(disk, number) {
        Ok(()) | Err(PartitionError::Missing { .. }) => {}
        Err(error) => return Err(LiveError::Kernel(error)),
    }
    devio::partition::add(disk, moved).map_err(LiveError::Kernel)
}
