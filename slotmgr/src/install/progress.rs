//! How far an installation is.

use bundle_format::VerifiedManifest;

use super::Message;
use crate::slot::SlotName;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The whole payload is read and checked; nothing is written.
    Check,
    /// Images are written into their slots.
    Write,
    /// Waiting until everything is on the medium.
    Sync,
    /// What was written is read back and compared.
    ReadBack,
}

impl Stage {
    const NAMES: [(Stage, &'static str); 4] = [
        (Stage::Check, "check"),
        (Stage::Write, "write"),
        (Stage::Sync, "sync"),
        (Stage::ReadBack, "read-back"),
    ];

    /// For programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut names = Stage::NAMES.iter();
        names
            .find(|(stage, _)| *stage == self)
            .map_or("", |(_, name)| name)
    }

    /// The inverse of [`Stage::name`].
    #[must_use]
    pub fn of_name(name: &str) -> Option<Stage> {
        let mut names = Stage::NAMES.iter();
        names
            .find(|(_, known)| *known == name)
            .map(|(stage, _)| *stage)
    }

    /// For people, in the form "checking the bundle".
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Stage::Check => "checking the bundle",
            Stage::Write => "writing",
            Stage::Sync => "syncing",
            Stage::ReadBack => "reading back",
        }
    }
}

/// Is told how far an installation is.
pub trait Progress {
    /// `done` of `total` bytes of this stage are through. Called often; cheap implementations only.
    fn at(&mut self, stage: Stage, done: u64, total: u64);

    /// The bundle is to be trusted, and this is what it brings.
    fn accepted(&mut self, _manifest: &VerifiedManifest) {}

    /// An image goes into this slot now.
    fn slot(&mut self, _slot: &SlotName) {}

    /// A hook or handler says something.
    fn said(&mut self, _message: &Message) {}
}

/// Says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn at(&mut self, _: Stage, _: u64, _: u64) {}
}
