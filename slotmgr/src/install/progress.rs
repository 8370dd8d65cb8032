//! How far an installation is.

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
}

/// Says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn at(&mut self, _: Stage, _: u64, _: u64) {}
}
