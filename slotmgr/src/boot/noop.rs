//! No bootloader at all (`bootloader=noop`): something else decides what is started.
//!
//! As with RAUC every change succeeds and does nothing, and nothing can be read. Nothing here keeps
//! a half-written slot from being started: whoever chooses the slot has to know.

use super::{BootChange, BootEnv, BootError, BootState};
use crate::storage::Disks;

/// The backend for `bootloader=noop`.
#[derive(Debug, Clone, Copy)]
pub struct Noop;

impl BootEnv for Noop {
    fn name(&self) -> &'static str {
        "noop"
    }

    fn read(&self, _: &mut dyn Disks) -> Result<BootState, BootError> {
        Err(BootError::NoMemory)
    }

    fn apply(&self, _: &mut dyn Disks, change: BootChange) -> Result<(), BootError> {
        tracing::warn!(
            "bootloader=noop: the change {:?} of slot#{} goes nowhere",
            change.kind(),
            change.slot().index()
        );
        Ok(())
    }
}
