//! What a slot is at the moment, as RAUC's clients know it.

use std::fmt;

use super::{Booted, Layout, SlotId};

/// The part a slot plays in the system that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is the running root.
    Booted,
    /// It belongs to the running root.
    Active,
    /// Everything else.
    Inactive,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Booted => "booted",
            Role::Active => "active",
            Role::Inactive => "inactive",
        })
    }
}

/// The role of slot `id` while `booted` runs.
#[must_use]
pub fn role(layout: &Layout, booted: Booted, id: SlotId) -> Role {
    if id == booted.id() {
        Role::Booted
    } else if layout.root_of(id) == booted.id() {
        Role::Active
    } else {
        Role::Inactive
    }
}
