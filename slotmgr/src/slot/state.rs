//! What a slot is at the moment, as RAUC's clients know it.

use std::fmt;

use super::{Layout, Running, SlotId};

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

/// The role of slot `id` beside what runs.
#[must_use]
pub fn role(layout: &Layout, running: Running, id: SlotId) -> Role {
    if Some(id) == running.id() {
        Role::Booted
    } else if Some(layout.root_of(id)) == running.id() {
        Role::Active
    } else {
        Role::Inactive
    }
}
