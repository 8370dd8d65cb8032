//! What the caller of an installation decides.

use std::path::PathBuf;
use std::time::Duration;

use super::{CHUNK, Environment, Supply, Version};
use crate::boot::Tries;
use crate::config::{Activation, DELTA_CPU, Handlers, Repository, StatusPlace};
use crate::data::snapshot::Snapshots;
use crate::program::Stop;

/// How long a hook or handler may take when nothing is said.
const PROGRAM_LIMIT: Duration = Duration::from_secs(15 * 60);

/// When the whole payload is read and checked before the first write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckFirst {
    /// Whenever there is something to lose: the target may still be started as it is.
    WhenItMatters,
    /// Always.
    Always,
    /// Never: each block is still checked before it is written, but damage is found half-way.
    Never,
}

/// Whether a bundle must be for this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compatibility {
    /// It must.
    Demanded,
    /// Somebody said that it need not (`--ignore-compatible`).
    Ignored,
}

/// Where a bundle comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// A disk of this machine.
    Near,
    /// A network: what was fetched is worth keeping.
    Far,
}

/// What the caller decides.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `compatible=` of `system.conf`.
    pub compatible: String,
    /// Whether the bundle's must be the same.
    pub compatibility: Compatibility,
    /// The variant of this machine, if it has variants.
    pub variant: Option<String>,
    /// Older bundles are refused.
    pub min_version: Option<Version>,
    /// What becomes of a proven slot.
    pub activation: Activation,
    /// How often the new system is tried.
    pub tries: Tries,
    /// When to read everything twice.
    pub check_first: CheckFirst,
    /// Bytes per write, [`CHUNK`] unless a test wants more writes.
    pub chunk: usize,
    /// Names this installation in records and logs.
    pub transaction: String,
    /// Seconds since 1970.
    pub now: i64,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// Below it things are mounted and unpacked.
    pub work_directory: PathBuf,
    /// Programs of this machine.
    pub handlers: Handlers,
    /// `[artifacts.NAME]` of `system.conf`.
    pub repositories: Vec<Repository>,
    /// What a bundle's own handler gets behind the arguments that the bundle gives it.
    pub handler_arguments: Option<String>,
    /// What hooks and handlers are told besides the installation itself.
    pub facts: Environment,
    /// How long a hook or handler may take.
    pub program_limit: Duration,
    /// Where RAUC's status is kept; nowhere, if nobody reads it.
    pub status: Option<StatusPlace>,
    /// Our directory that outlives updates: for what was written of images that come from far away, so
    /// that an installation that was cut off can go on, and for indices of slots.
    pub home: Option<PathBuf>,
    /// Where the bundle comes from.
    pub distance: Distance,
    /// Where the chunks of indexed images come from.
    pub supply: Supply,
    /// Processor time that a delta may take to compress blocks again.
    pub delta_cpu: Duration,
    /// Keep the applications' data before the first write.
    pub snapshots: Option<Snapshots>,
    /// Ends the installation early.
    pub stop: Stop,
}

impl Policy {
    /// The careful one, for a machine of this kind.
    #[must_use]
    pub fn new(compatible: &str) -> Policy {
        Policy {
            compatible: compatible.to_owned(),
            compatibility: Compatibility::Demanded,
            variant: None,
            min_version: None,
            activation: Activation::AtOnce,
            tries: Tries::DEFAULT,
            check_first: CheckFirst::WhenItMatters,
            chunk: CHUNK,
            transaction: String::new(),
            now: 0,
            boot_id: String::new(),
            work_directory: PathBuf::from("/run/rauc/mnt"),
            handlers: Handlers::default(),
            repositories: Vec::new(),
            handler_arguments: None,
            facts: Environment::new(),
            program_limit: PROGRAM_LIMIT,
            status: None,
            home: None,
            distance: Distance::Near,
            supply: Supply::default(),
            delta_cpu: DELTA_CPU,
            snapshots: None,
            stop: Stop::default(),
        }
    }
}
