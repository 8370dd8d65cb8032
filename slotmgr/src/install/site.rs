//! Where an installation happens: what all of its parts need to know and none of them changes.

use super::{Environment, Policy};
use crate::slot::{Layout, Running};
use crate::state::RaucStatus;

/// The machine as it is while it is being worked on.
#[derive(Clone, Copy)]
pub struct Site<'s> {
    /// Its slots.
    pub layout: &'s Layout,
    /// What runs.
    pub booted: Running,
    /// What the caller decided.
    pub policy: &'s Policy,
    /// What RAUC's status said before.
    pub status: &'s RaucStatus,
}

impl Site<'_> {
    /// What every hook and handler is told.
    #[must_use]
    pub fn facts(&self) -> Environment {
        let policy = self.policy;
        let mut facts = vec![
            (
                "RAUC_SYSTEM_COMPATIBLE".to_owned(),
                policy.compatible.clone(),
            ),
            (
                "RAUC_SYSTEM_VARIANT".to_owned(),
                policy.variant.clone().unwrap_or_default(),
            ),
            (
                "RAUC_MOUNT_PREFIX".to_owned(),
                policy.work_directory.display().to_string(),
            ),
        ];
        // Those of the system-info handler come last, and win.
        facts.extend(policy.facts.iter().cloned());
        facts
    }
}
