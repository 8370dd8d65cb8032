//! The GRUB environment block: the small file in which GRUB and Linux leave each other variables.
//!
//! - [`block`]: the bytes, without I/O
//! - [`paired`]: two copies written in turn and a counter of GRUB's own, without I/O
//! - [`placement`]: whether GRUB sees what Linux wrote to a file, and can save there itself
//! - [`mod@file`]: the only module that reads and writes environment files
//! - [`cli`]: the programs `grub-env` and `grub-editenv`
//!
//! A write to such a file must be one sector, in place, on a file whose bytes stay where they are:
//! GRUB's file system drivers do not replay journals, so that after a power cut they still see
//! the old place of a file that was renamed, truncated or copied on write, as the usual
//! editor does.

pub mod block;
pub mod cli;
pub mod file;
mod line;
pub mod paired;
pub mod placement;

pub use block::{BadVariable, Block, BlockError, Change, TooSmall, changed_sectors};
pub use file::{EnvFile, FileError, Placement, Written};
