//! Block devices: length, sector sizes, caches, exclusive opening, device numbers.
//!
//! Source: `include/uapi/linux/fs.h` of the kernel.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::stat::{major, minor};

mod raw {
    use crate::request;
    use libc::{c_int, c_uint};

    nix::ioctl_read_bad!(blkgetsize64, request::BLKGETSIZE64, u64);
    nix::ioctl_read_bad!(blksszget, request::BLKSSZGET, c_int);
    nix::ioctl_read_bad!(blkpbszget, request::BLKPBSZGET, c_uint);
    nix::ioctl_read_bad!(blkroget, request::BLKROGET, c_int);
    nix::ioctl_none_bad!(blkflsbuf, request::BLKFLSBUF);
    nix::ioctl_write_ptr_bad!(blkdiscard, request::BLKDISCARD, [u64; 2]);
    nix::ioctl_write_ptr_bad!(blkzeroout, request::BLKZEROOUT, [u64; 2]);
}

/// Why a block device could not be opened for this program alone.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel says EBUSY: somebody holds the device, or a file system on it is mounted.
    #[error(
        "{} is mounted or in use by another program (mount, swap, RAID, device-mapper); \
         nothing was written",
        path.display()
    )]
    InUse {
        /// The device node.
        path: PathBuf,
    },
    /// The path is a regular file, a directory, a character device…
    #[error("{} is not a block device", path.display())]
    NotABlockDevice {
        /// The path as given.
        path: PathBuf,
    },
    /// The device is write-protected (a switch on the card, `force_ro`, `blockdev --setro`).
    #[error("{} is write-protected", path.display())]
    ReadOnly {
        /// The device node.
        path: PathBuf,
    },
    /// Anything else: no such file, no permission…
    #[error("cannot open {}", path.display())]
    Io {
        /// The path as given.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Opens a block device for reading and writing, and for nobody else.
///
/// `O_EXCL` without `O_CREAT` makes the kernel refuse a device that is mounted, is part of a
/// stacked device, or is held by another exclusive opener. It does not keep out programs that
/// open without `O_EXCL`.
///
/// # Errors
/// [`OpenError::InUse`] if the device is held; the other variants as named.
pub fn open_exclusive(path: &Path) -> Result<File, OpenError> {
    let io_error = |source: io::Error| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    // Asked before opening, since opening other kinds of node can have effects (tapes, FIFOs
    // block), and again afterwards, since the path may name something else by then.
    let is_block = |meta: &std::fs::Metadata| meta.file_type().is_block_device();
    let not_block = || OpenError::NotABlockDevice {
        path: path.to_owned(),
    };
    if !is_block(&std::fs::metadata(path).map_err(io_error)?) {
        return Err(not_block());
    }
    let flags = libc::O_EXCL | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path);
    let file = opened.map_err(|e| match e.raw_os_error() {
        Some(libc::EBUSY) => OpenError::InUse {
            path: path.to_owned(),
        },
        Some(libc::EROFS | libc::EACCES) if is_read_only_node(path) => OpenError::ReadOnly {
            path: path.to_owned(),
        },
        _ => io_error(e),
    })?;
    if !is_block(&file.metadata().map_err(io_error)?) {
        return Err(not_block());
    }
    // Some drivers let a protected device be opened for writing, and refuse the first write.
    if is_read_only(&file).map_err(io_error)? {
        return Err(OpenError::ReadOnly {
            path: path.to_owned(),
        });
    }
    Ok(file)
}

/// Opens a file or device for reading. A pipe, whose other end would be waited for, for ever, is refused.
///
/// # Errors
/// What the system says; `InvalidInput` for a pipe or a socket.
pub fn open_for_reading(path: &Path) -> io::Result<File> {
    // A pipe opens at once with this, and is then known for what it is; nothing else heeds it.
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        let text = "neither a file nor a device";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(file)
}

fn is_read_only_node(path: &Path) -> bool {
    File::open(path).is_ok_and(|f| is_read_only(&f).is_ok_and(|ro| ro))
}

/// The length in bytes of a block device or of a regular file.
///
/// # Errors
/// `InvalidInput` for anything else (a directory, a character device), or what the kernel says.
pub fn device_len(file: &File) -> io::Result<u64> {
    let meta = file.metadata()?;
    if meta.file_type().is_file() {
        return Ok(meta.len());
    }
    if !meta.file_type().is_block_device() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "neither a block device nor a regular file",
        ));
    }
    let mut len = 0_u64;
    // SAFETY: BLKGETSIZE64 writes one u64 through the pointer; `len` is one and outlives the call.
    unsafe { raw::blkgetsize64(file.as_raw_fd(), &raw mut len) }?;
    Ok(len)
}

/// The logical sector size in bytes: the smallest unit that the device reads and writes, and the
/// only one that it may be trusted to write whole when power fails. 512 for regular files.
///
/// # Errors
/// What the kernel says; `InvalidData` if it names no possible size.
pub fn logical_sector_size(file: &File) -> io::Result<u32> {
    if file.metadata()?.file_type().is_file() {
        return Ok(512);
    }
    let mut size: libc::c_int = 0;
    // SAFETY: BLKSSZGET writes one int through the pointer; `size` is one and outlives the call.
    unsafe { raw::blksszget(file.as_raw_fd(), &raw mut size) }?;
    match u32::try_from(size) {
        Ok(size) if size.is_power_of_two() => Ok(size),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("sector size {size}"),
        )),
    }
}

/// The physical sector size in bytes: what the device says it writes at once inside (4096 on
/// "512e" disks). A hint for alignment, no promise about power cuts. 512 for regular files.
///
/// # Errors
/// What the kernel says.
pub fn physical_sector_size(file: &File) -> io::Result<u32> {
    if file.metadata()?.file_type().is_file() {
        return Ok(512);
    }
    let mut size: libc::c_uint = 0;
    // SAFETY: BLKPBSZGET writes one unsigned int; `size` is one and outlives the call.
    unsafe { raw::blkpbszget(file.as_raw_fd(), &raw mut size) }?;
    Ok(size)
}

/// Whether the kernel would refuse writes to this block device.
///
/// # Errors
/// `ENOTTY` if `file` is no block device.
pub fn is_read_only(file: &File) -> io::Result<bool> {
    let mut flag: libc::c_int = 0;
    // SAFETY: BLKROGET writes one int through the pointer; `flag` is one and outlives the call.
    unsafe { raw::blkroget(file.as_raw_fd(), &raw mut flag) }?;
    Ok(flag != 0)
}

/// BLKFLSBUF: writes the device's dirty pages and then drops its page cache, so that the next
/// read comes from the device. Needs `CAP_SYS_ADMIN`.
///
/// It is not a barrier for the device's own write cache: `sync_all` first.
///
/// # Errors
/// `ENOTTY` if `file` is no block device, `EACCES` without the capability.
pub fn flush_buffers(file: &File) -> io::Result<()> {
    // SAFETY: BLKFLSBUF takes no argument and touches no memory of ours.
    unsafe { raw::blkflsbuf(file.as_raw_fd()) }?;
    Ok(())
}

/// Makes the next reads come from the medium, as far as the kernel lets one say so: syncs, then
/// drops the cached pages of the whole file, and for a block device its buffers too.
///
/// Pages that another process has mapped or dirtied may stay. For a proof against that, open with
/// `O_DIRECT`.
///
/// # Errors
/// What fsync, fadvise or BLKFLSBUF say. A missing `CAP_SYS_ADMIN` is an error for a block
/// device, since reading back from the cache would prove nothing.
pub fn drop_cache(file: &File) -> io::Result<()> {
    file.sync_all()?;
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    if file.metadata()?.file_type().is_block_device() {
        flush_buffers(file)?;
    }
    Ok(())
}

/// Has the kernel begin to write a range out, without waiting for it, and give up its pages once
/// they are clean. A later [`sync_all`](File::sync_all) has less to wait for; it is still the barrier.
///
/// # Errors
/// What fadvise says. Nothing is lost by it.
pub fn begin_write_out(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let (offset, len) = (
        i64::try_from(offset).map_err(invalid)?,
        i64::try_from(len).map_err(invalid)?,
    );
    posix_fadvise(file, offset, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(())
}

/// BLKDISCARD: tells the device that the range holds nothing of value. What a later read gives is
/// the device's choice. Offset and length in bytes, multiples of the logical sector size.
///
/// # Errors
/// `EOPNOTSUPP` if the device cannot discard, `EINVAL` for an unaligned range.
pub fn discard(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let range = [offset, len];
    // SAFETY: BLKDISCARD reads two u64 (start, length) through the pointer; `range` is that.
    unsafe { raw::blkdiscard(file.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// BLKZEROOUT: makes the range read as zeros, by the device's own command if it has one, else by
/// the kernel writing zeros. Offset and length in bytes, multiples of the logical sector size.
/// Durable only after `sync_all`.
///
/// # Errors
/// `EINVAL` for an unaligned range or one beyond the end, `EPERM` for a read-only opening.
pub fn zero_out(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let range = [offset, len];
    // SAFETY: BLKZEROOUT reads two u64 (start, length) through the pointer; `range` is that.
    unsafe { raw::blkzeroout(file.as_raw_fd(), &raw const range) }?;
    Ok(())
}

/// A kernel device number, as in `/sys/dev/block/8:1` and `/proc/self/mountinfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceNumber {
    /// The driver's number.
    pub major: u64,
    /// The number within the driver.
    pub minor: u64,
}

impl DeviceNumber {
    /// The number that a block or character device *node* stands for; `None` for other files.
    ///
    /// # Errors
    /// What stat(2) says.
    pub fn of_node(path: &Path) -> io::Result<Option<Self>> {
        let meta = std::fs::metadata(path)?;
        let kind = meta.file_type();
        let is_device = kind.is_block_device() || kind.is_char_device();
        Ok(is_device.then(|| Self::from_raw(meta.rdev())))
    }

    /// The number of the device whose file system holds `file`. Btrfs, overlay, tmpfs and the
    /// like have a made-up number (major 0) here.
    ///
    /// # Errors
    /// What fstat(2) says.
    pub fn holding(file: &File) -> io::Result<Self> {
        Ok(Self::from_raw(file.metadata()?.dev()))
    }

    /// From the `dev_t` of the C library.
    #[must_use]
    pub fn from_raw(dev: u64) -> Self {
        Self {
            major: major(dev),
            minor: minor(dev),
        }
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// The text was not `major:minor`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a device number (expected major:minor)")]
pub struct BadDeviceNumber {
    text: String,
}

impl FromStr for DeviceNumber {
    type Err = BadDeviceNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadDeviceNumber {
            text: text.to_owned(),
        };
        let (major, minor) = text.trim_end().split_once(':').ok_or_else(bad)?;
        let number = |s: &str| s.parse::<u32>().map(u64::from).map_err(|_| bad());
        Ok(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_number_round_trip() {
        let n: DeviceNumber = "259:1048575\n".parse().unwrap();
        assert_eq!(
            n,
            DeviceNumber {
                major: 259,
                minor: 1_048_575
            }
        );
        assert_eq!(n.to_string(), "259:1048575");
        for bad in ["", "8", "8:", ":1", "a:b", "-1:2", "8:1:2", "8:99999999999"] {
            assert!(bad.parse::<DeviceNumber>().is_err(), "{bad}");
        }
    }

    #[test]
    fn regular_files_have_their_length_and_are_no_devices() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        file.set_len(12_345).unwrap();
        assert_eq!(device_len(&file).unwrap(), 12_345);
        assert_eq!(logical_sector_size(&file).unwrap(), 512);
        assert_eq!(DeviceNumber::of_node(&path).unwrap(), None);
        assert!(is_read_only(&file).is_err());
        drop_cache(&file).unwrap();
        assert!(matches!(
            open_exclusive(&path),
            Err(OpenError::NotABlockDevice { .. })
        ));
        let gone = dir.path().join("gone");
        assert!(matches!(open_exclusive(&gone), Err(OpenError::Io { .. })));
        assert!(device_len(&File::open(dir.path()).unwrap()).is_err());
        assert!(device_len(&File::open("/dev/null").unwrap()).is_err());
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = open_for_reading(&pipe).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(open_for_reading(Path::new("/dev/null")).is_ok());
        assert!(open_for_reading(&dir.path().join("gone")).is_err());
    }

    #[test]
    fn null_is_one_three() {
        let n = DeviceNumber::of_node(Path::new("/dev/null")).unwrap();
        assert_eq!(n, Some(DeviceNumber { major: 1, minor: 3 }));
    }
}
