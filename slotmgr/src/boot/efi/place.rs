//! Which partition a slot's device is, as the partition table on its disk says it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use devio::block::DeviceNumber;

use super::entry::Partition;
use crate::partition::gpt::{Gpt, GptError};
use crate::partition::live::{LiveError, sector_size};
use crate::storage::device::FileStorage;

/// Why it could not be told.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The device, or what the kernel says of it.
    #[error("while asking what {} is", path.display())]
    Ask {
        /// What was asked for.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A whole disk, or a file.
    #[error(
        "{} is not a partition, and firmware starts programs out of partitions only", path.display()
    )]
    NoPartition {
        /// The device.
        path: PathBuf,
    },
    /// The disk could not be opened.
    #[error(transparent)]
    Disk(#[from] LiveError),
    /// Its table could not be read.
    #[error(transparent)]
    Table(#[from] GptError),
    /// The kernel goes on with a table that is not on the disk any more.
    #[error("the partition table of {} has no partition {number}", disk.display())]
    Gone {
        /// The disk.
        disk: PathBuf,
        /// The partition.
        number: u32,
    },
}

/// The partition that `device` is, or leads to.
///
/// # Errors
/// When it is none, or not one of a GPT that is whole.
pub fn of_device(device: &Path) -> Result<Partition, PlaceError> {
    let (disk, number) = disk_and_number(device)?;
    let ask = |source| PlaceError::Ask {
        path: disk.clone(),
        source,
    };
    let file = File::open(&disk).map_err(ask)?;
    let sector = sector_size(&file, &disk)?;
    let gpt = Gpt::load(&mut FileStorage::new(file).map_err(ask)?, sector)?;
    let gone = || PlaceError::Gone {
        disk: disk.clone(),
        number,
    };
    let entry = gpt.table().entry(number).ok_or_else(gone)?;
    Ok(Partition {
        number,
        first: entry.first,
        blocks: entry.last - entry.first + 1,
        unique: entry.unique,
    })
}

/// Out of sysfs: a partition's folder has its number, and lies in that of its disk.
fn disk_and_number(device: &Path) -> Result<(PathBuf, u32), PlaceError> {
    let ask = |path: &Path| {
        let path = path.to_owned();
        move |source| PlaceError::Ask { path, source }
    };
    let no_partition = || PlaceError::NoPartition {
        path: device.to_owned(),
    };
    let found = DeviceNumber::of_node(device).map_err(ask(device))?;
    let found = found.ok_or_else(no_partition)?;
    let folder = PathBuf::from(format!("/sys/dev/block/{found}"));
    let folder = std::fs::canonicalize(&folder).map_err(ask(&folder))?;
    let number = match std::fs::read_to_string(folder.join("partition")) {
        Ok(text) => text.trim().parse().map_err(|_| no_partition())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_partition()),
        Err(error) => return Err(ask(&folder)(error)),
    };
    let disk = folder.parent().and_then(Path::file_name);
    let disk = disk
        .and_then(|name| name.to_str())
        .ok_or_else(no_partition)?;
    // Where a device's name has a slash, sysfs has an exclamation mark.
    Ok((Path::new("/dev").join(disk.replace('!', "/")), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_partition_is_told_apart_from_what_is_not_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = of_device(file.path());
        assert!(matches!(refused, Err(PlaceError::NoPartition { .. })));
        let refused = of_device(Path::new("/no/such/device"));
        assert!(matches!(refused, Err(PlaceError::Ask { .. })));
    }
}
