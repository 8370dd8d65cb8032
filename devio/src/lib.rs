//! Safe wrappers round what Linux offers only as ioctls and raw system calls.
//!
//! This is the only room of slotmgr that may say `unsafe`. Each block has a SAFETY comment that
//! names the contract of the call; everything that leaves this crate is safe to call with any
//! argument. There is no policy here: these functions say what the kernel says, with the errors
//! that mean something told apart from those that do not.
//!
//! A file per noun:
//!
//! - [`block`]: length, sector sizes, caches, exclusive opening, device numbers
//! - [`extents`]: where on the device the bytes of a file lie (FIEMAP, FIBMAP)
//! - [`filesystem`]: which file system a file lives in, and the inode flags that matter
//! - [`inode`]: taking the immutable flag off a file
//! - [`lease`]: proving that nobody has a file open for writing
//! - [`memory`]: what a waiting service keeps in memory
//! - [`partition`]: telling the kernel about changed partitions; the lock that udev respects
//! - [`watchdog`]: hardware watchdogs
//! - [`mtd`]: raw flash
//! - [`ubi`]: UBI volumes
//! - [`mmc`]: the boot areas of eMMC
//! - [`system`]: sync and reboot
//!
//! What was tried where: block devices, partitions and extents run in the tests here, on loop
//! devices. Flash, UBI and watchdogs need hardware or a virtual machine: `examples/self_check.rs`
//! tries them on nandsim, mtdram, softdog and QEMU's i6300esb (all passed on Linux 6.1). The eMMC
//! commands were **not** run on a card yet. All numbers and layouts are compared with the kernel's
//! headers by a test.

#![allow(
    unsafe_code,
    reason = "ioctl(2) has no safe form; this room exists so that no other needs it"
)]

pub mod block;
pub mod extents;
pub mod filesystem;
pub mod inode;
pub mod lease;
pub mod memory;
pub mod mmc;
pub mod mtd;
pub mod partition;
pub mod process;
mod request;
pub mod system;
pub mod ubi;
pub mod watchdog;
