//! slotmgr: an A/B slot manager for embedded Linux, integrated with the bootloader.
//!
//! Three promises shape everything here:
//! 1. no byte of an unverified bundle becomes bootable;
//! 2. power may fail at any write: either the old or the new system boots, never neither;
//! 3. a new system stays only if it proves itself.
//!
//! The story is [`install::install`] and, after the restart, [`health::trial`]. What keeps bytes is
//! behind [`storage::Storage`], what a bootloader remembers behind [`boot::BootEnv`], where bundles
//! come from behind [`bundle_format::ReadAt`].

pub mod artifact;
pub mod boot;
pub mod cli;
pub mod config;
pub mod data;
#[cfg(feature = "dbus")]
pub mod dbus;
pub mod events;
pub mod health;
pub mod install;
pub mod partition;
pub mod program;
pub mod service;
pub mod slot;
pub mod source;
pub mod state;
pub mod storage;
pub mod writer;
