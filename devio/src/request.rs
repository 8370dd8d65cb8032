//! The numbers of all requests, in one table. A test compares each with the kernel's headers.
//!
//! The size in a number is not always the size of what is passed: where they differ, a comment
//! says what the kernel really reads or writes.

use nix::{request_code_none, request_code_read, request_code_readwrite, request_code_write};

/// As ioctl(2) takes it: the C library has it as `unsigned long` or as `int`.
pub(crate) type Number = nix::sys::ioctl::ioctl_num_type;

// Block devices: linux/fs.h, linux/blkpg.h.
pub(crate) const BLKROGET: Number = request_code_none!(0x12, 94);
pub(crate) const BLKFLSBUF: Number = request_code_none!(0x12, 97);
pub(crate) const BLKSSZGET: Number = request_code_none!(0x12, 104);
pub(crate) const BLKPG: Number = request_code_none!(0x12, 105);
/// Numbered with the size of `size_t`, but the kernel writes a u64.
pub(crate) const BLKGETSIZE64: Number = request_code_read!(0x12, 114, size_of::<usize>());
pub(crate) const BLKDISCARD: Number = request_code_none!(0x12, 119);
pub(crate) const BLKPBSZGET: Number = request_code_none!(0x12, 123);
pub(crate) const BLKZEROOUT: Number = request_code_none!(0x12, 127);

// Files: linux/fs.h, linux/fiemap.h.
pub(crate) const FIBMAP: Number = request_code_none!(0, 1);
pub(crate) const FIGETBSZ: Number = request_code_none!(0, 2);
/// Numbered with the size of `long`, but the kernel writes an int.
pub(crate) const FS_IOC_GETFLAGS: Number = request_code_read!(b'f', 1, size_of::<libc::c_long>());
/// Numbered with the size of `long`, but the kernel reads an int.
pub(crate) const FS_IOC_SETFLAGS: Number = request_code_write!(b'f', 2, size_of::<libc::c_long>());
/// Numbered with the size of the head alone; the extents follow it.
pub(crate) const FS_IOC_FIEMAP: Number = request_code_readwrite!(b'f', 11, 32);

// Watchdogs: linux/watchdog.h.
pub(crate) const WDIOC_GETSUPPORT: Number = request_code_read!(b'W', 0, 40);
pub(crate) const WDIOC_GETBOOTSTATUS: Number = request_code_read!(b'W', 2, 4);
pub(crate) const WDIOC_KEEPALIVE: Number = request_code_read!(b'W', 5, 4);
pub(crate) const WDIOC_SETTIMEOUT: Number = request_code_readwrite!(b'W', 6, 4);
pub(crate) const WDIOC_GETTIMEOUT: Number = request_code_read!(b'W', 7, 4);
pub(crate) const WDIOC_GETTIMELEFT: Number = request_code_read!(b'W', 10, 4);

// Raw flash: mtd/mtd-abi.h.
pub(crate) const MEMGETINFO: Number = request_code_read!(b'M', 1, 32);
pub(crate) const MEMLOCK: Number = request_code_write!(b'M', 5, 8);
pub(crate) const MEMUNLOCK: Number = request_code_write!(b'M', 6, 8);
pub(crate) const MEMGETBADBLOCK: Number = request_code_write!(b'M', 11, 8);
pub(crate) const MEMSETBADBLOCK: Number = request_code_write!(b'M', 12, 8);
pub(crate) const MEMERASE64: Number = request_code_write!(b'M', 20, 16);
/// Numbered as reading, but the kernel reads the range and answers by its return value.
pub(crate) const MEMISLOCKED: Number = request_code_read!(b'M', 23, 8);

// UBI: mtd/ubi-user.h.
pub(crate) const UBI_IOCVOLUP: Number = request_code_write!(b'O', 0, 8);
/// Numbered with the size of an int, but the kernel reads a whole request.
pub(crate) const UBI_IOCEBCH: Number = request_code_write!(b'O', 2, 4);
pub(crate) const UBI_IOCEBISMAP: Number = request_code_read!(b'O', 5, 4);
pub(crate) const UBI_IOCATT: Number = request_code_write!(b'o', 64, 24);

// MMC: linux/mmc/ioctl.h.
pub(crate) const MMC_IOC_CMD: Number = request_code_readwrite!(179, 0, 72);

#[cfg(test)]
#[path = "abi_tests.rs"]
mod tests;
