//! Halves of a region, switched by a partition table (`boot-mbr-switch`, `boot-gpt-switch`) or by
//! the boot ROM (`boot-raw-fallback`).
//!
//! The seam: a writer for these writes and reads back the half that is not used, and sets the
//! switch in [`Writer::complete`](super::Writer::complete), when everything else is proven.

use crate::install::AssembleError;
use crate::slot::Slot;

/// The ordered writer of partition tables is not joined yet, and without it a power cut could leave
/// no table at all.
pub(super) fn not_yet(slot: &Slot) -> AssembleError {
    AssembleError::NotYet {
        slot: slot.name.clone(),
        kind: slot.kind,
    }
}
