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
//! - [`system`]: sync and reboot
//! - [`watchdog`]: the hardware watchdog

#![allow(
    unsafe_code,
    reason = "ioctl(2) has no safe form; this room exists so that no other needs it"
)]

pub mod block;
pub mod extents;
pub mod filesystem;
pub mod system;
pub mod watchdog;
