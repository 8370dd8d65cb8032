//! The applications' data across an update: each system has its own, and a new one gets a copy of
//! the old one's ([`migrate`]); before an update it may be kept besides ([`snapshot`]).

pub mod folders;
pub mod migrate;
pub mod snapshot;

use std::path::{Path, PathBuf};

use crate::slot::SlotName;

/// A slot's data.
fn of_slot(directory: &Path, slot: &SlotName) -> PathBuf {
    directory.join(slot.to_string())
}
