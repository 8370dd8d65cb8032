//! Telling the kernel about partitions that were moved, added or removed on a disk in use, and
//! the lock that keeps udev away meanwhile.
//!
//! Re-reading the whole table (`BLKRRPART`) is refused while anything on the disk is mounted;
//! these requests change one partition in the kernel's mind, and nothing on the disk.
//!
//! Source: `include/uapi/linux/blkpg.h`; systemd's "Locking Block Device Access".

use std::ffi::c_void;
use std::fs::{File, TryLockError};
use std::io;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::time::Duration;

pub(crate) const ADD: libc::c_int = 1;
pub(crate) const DELETE: libc::c_int = 2;
pub(crate) const RESIZE: libc::c_int = 3;

#[repr(C)]
pub(crate) struct RawPartition {
    start: i64,
    length: i64,
    pub(crate) number: libc::c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

#[repr(C)]
pub(crate) struct Argument {
    operation: libc::c_int,
    flags: libc::c_int,
    data_len: libc::c_int,
    pub(crate) data: *mut c_void,
}

mod raw {
    use super::Argument;

    nix::ioctl_write_ptr_bad!(blkpg, crate::request::BLKPG, Argument);
}

/// A partition as the kernel is to have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The number in the table, from 1 on.
    pub number: NonZeroU32,
    /// Where it starts, in bytes; a multiple of the sector size.
    pub start: u64,
    /// How long it is, in bytes; a multiple of the sector size.
    pub length: u64,
}

/// Why the kernel's partitions stayed as they were.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// It is mounted, or held open.
    #[error("partition {number} is in use")]
    InUse {
        /// The partition.
        number: u32,
    },
    /// The kernel knows no partition of this number.
    #[error("the kernel knows no partition {number}")]
    Missing {
        /// The partition.
        number: u32,
    },
    /// It overlaps with another one, exists already, is not aligned, or lies beyond the end.
    #[error("partition {number} does not fit: it overlaps, exists, is not aligned or is too long")]
    DoesNotFit {
        /// The partition.
        number: u32,
    },
    /// Not a whole disk, no permission…
    #[error("cannot change partition {number}")]
    Io {
        /// The partition.
        number: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Tells the kernel about a new partition.
///
/// # Errors
/// [`PartitionError`].
pub fn add(disk: &File, partition: Partition) -> Result<(), PartitionError> {
    change(disk, ADD, partition)
}

/// Makes the kernel forget a partition. Its number alone counts.
///
/// # Errors
/// [`PartitionError::InUse`] while it is open or mounted.
pub fn delete(disk: &File, number: NonZeroU32) -> Result<(), PartitionError> {
    change(
        disk,
        DELETE,
        Partition {
            number,
            start: 0,
            length: 0,
        },
    )
}

/// Tells the kernel about a partition's new length; it may be in use, and its start must be what
/// it was.
///
/// # Errors
/// [`PartitionError`].
pub fn resize(disk: &File, partition: Partition) -> Result<(), PartitionError> {
    change(disk, RESIZE, partition)
}

fn change(disk: &File, operation: libc::c_int, new: Partition) -> Result<(), PartitionError> {
    let number = new.number.get();
    let fits = || PartitionError::DoesNotFit { number };
    let mut data = RawPartition {
        start: i64::try_from(new.start).map_err(|_| fits())?,
        length: i64::try_from(new.length).map_err(|_| fits())?,
        number: libc::c_int::try_from(number).map_err(|_| fits())?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let argument = Argument {
        operation,
        flags: 0,
        // Not looked at by any kernel; the size of a small struct fits any int.
        data_len: libc::c_int::try_from(size_of::<RawPartition>()).unwrap_or(0),
        data: (&raw mut data).cast(),
    };
    // SAFETY: BLKPG reads a `struct blkpg_ioctl_arg`, and through its `data` pointer a
    // `struct blkpg_partition`; both have the kernel's layout and outlive the call.
    match unsafe { raw::blkpg(disk.as_raw_fd(), &raw const argument) } {
        Ok(_) => Ok(()),
        Err(nix::Error::EBUSY) if operation == DELETE => Err(PartitionError::InUse { number }),
        Err(nix::Error::ENXIO) => Err(PartitionError::Missing { number }),
        Err(nix::Error::EBUSY | nix::Error::EINVAL | nix::Error::EEXIST) => Err(fits()),
        Err(errno) => Err(PartitionError::Io {
            number,
            source: errno.into(),
        }),
    }
}

/// Somebody else holds the lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// For all of the time that the caller was willing to wait.
    #[error("the disk is locked by another program (udev, or a partitioning tool)")]
    Held,
    /// flock(2) failed.
    #[error("cannot lock the disk")]
    Io(#[source] io::Error),
}

/// The lock on a whole disk: while it is held, udev does not look at the disk, so that links by
/// partition name do not come and go under a table that is being written.
#[derive(Debug)]
#[must_use = "it is released when it is dropped"]
pub struct DiskLock<'a> {
    disk: &'a File,
}

/// Takes the lock (`flock(LOCK_EX)`), waiting for at most `patience`. It must be a handle of the
/// whole disk, not of a partition.
///
/// # Errors
/// [`LockError::Held`] when patience ran out.
pub fn lock_disk(disk: &File, patience: Duration) -> Result<DiskLock<'_>, LockError> {
    const STEP: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        match disk.try_lock() {
            Ok(()) => return Ok(DiskLock { disk }),
            Err(TryLockError::Error(e)) => return Err(LockError::Io(e)),
            Err(TryLockError::WouldBlock) if waited >= patience => return Err(LockError::Held),
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(STEP);
                waited += STEP;
            }
        }
    }
}

impl Drop for DiskLock<'_> {
    fn drop(&mut self) {
        // It fails only for a handle that is no file; closing releases it in any case.
        let _ = self.disk.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_excludes_and_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let (first, second) = (File::create(&path).unwrap(), File::create(&path).unwrap());
        let lock = lock_disk(&first, Duration::ZERO).unwrap();
        assert!(matches!(
            lock_disk(&second, Duration::ZERO),
            Err(LockError::Held)
        ));
        drop(lock);
        let _lock = lock_disk(&second, Duration::ZERO).unwrap();
    }

    #[test]
    fn numbers_that_no_kernel_takes_are_refused() {
        let file = tempfile::tempfile().unwrap();
        let number = NonZeroU32::MIN;
        for bad in [
            Partition {
                number,
                start: u64::MAX,
                length: 512,
            },
            Partition {
                number,
                start: 0,
                length: u64::MAX,
            },
            Partition {
                number: NonZeroU32::MAX,
                start: 0,
                length: 512,
            },
        ] {
            assert!(matches!(
                add(&file, bad),
                Err(PartitionError::DoesNotFit { .. })
            ));
        }
        let fine = Partition {
            number,
            start: 0,
            length: 512,
        };
        assert!(
            matches!(add(&file, fine), Err(PartitionError::Io { .. })),
            "not a disk"
        );
    }
}
