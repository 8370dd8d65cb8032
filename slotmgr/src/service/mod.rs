//! What other programs may ask of a machine, whichever way they ask: over D-Bus, or through the
//! `rauc` command when no service runs.
//!
//! The questions and answers are plain data here; [`crate::dbus`] puts them on the wire.

mod installing;
mod job;
mod links;
mod local;
mod meter;
mod repository;
mod steps;

pub use crate::cli::signals::ask_to_stop;
#[cfg(feature = "dbus")]
pub use crate::cli::signals::until_asked;
pub use crate::program::Stop;
pub(crate) use installing::pass_news;
pub use job::{JobState, JobStatus, jobs_of};
pub use local::{Local, was_stopped};
pub use meter::{Meter, Pace};
pub use repository::{ArtifactStatus, InstanceStatus, RepositoryStatus};
pub use steps::{Step, Steps};

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use bundle_format::VerifiedManifest;

use crate::boot::Mark;
use crate::events::Entry;
use crate::install::Progress;
use crate::state::Release;

/// Gets to know what happens.
pub type Heard = dyn Fn(&Entry) + Send + Sync;

/// The machine, as it introduces itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `compatible=` of `system.conf`.
    pub compatible: String,
    /// Its variant; empty when it has none.
    pub variant: String,
    /// Version of the running system, if it tells.
    pub system_version: String,
    /// Boot name of the running slot, else its slot name.
    pub boot_slot: String,
}

/// A slot, with everything that RAUC's clients know of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotStatus {
    /// `class.index`.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Its device.
    pub device: String,
    /// Type of its content, by RAUC's name.
    pub kind: String,
    /// What the bootloader calls it.
    pub bootname: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The slot that it belongs to.
    pub parent: Option<String>,
    /// Where it is mounted.
    pub mountpoint: Option<String>,
    /// `booted`, `active` or `inactive`.
    pub state: String,
    /// `good` or `bad`, for slots that can be booted.
    pub boot_status: Option<String>,
    /// What the last installation left in it: `bundle.version`, `status`, …, by the keys of RAUC's
    /// status file.
    pub content: BTreeMap<String, String>,
}

/// What was marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Name of the slot.
    pub slot: String,
    /// For people.
    pub message: String,
}

/// Where a bundle is, and how to get at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// A path or an address.
    pub source: String,
    /// Client certificate for HTTPS: a file, or a PKCS#11 URI.
    pub tls_cert: Option<String>,
    /// Its key.
    pub tls_key: Option<String>,
    /// Who may vouch for the server: a file.
    pub tls_ca: Option<String>,
    /// Do not check who the server is.
    pub tls_no_verify: bool,
    /// Lines that are sent with each request.
    pub headers: Vec<String>,
}

/// What is to be installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallRequest {
    /// The name of the job, from [`Service::new_job`].
    pub job: String,
    /// Where the bundle is.
    pub origin: Origin,
    /// Install what is made for other machines.
    pub ignore_compatible: bool,
    /// Install what is older than `min-bundle-version`.
    pub ignore_version_limit: bool,
    /// Name of this installation; made up when missing.
    pub transaction: Option<String>,
    /// The manifest that the bundle must have: SHA-256 in hexadecimal digits.
    pub manifest_hash: Option<String>,
    /// Install a bundle that was tried three times and did not stay.
    pub try_again: bool,
}

/// How an installation ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallEnd {
    /// It is started next, on trial.
    Armed,
    /// It is not started before somebody says so.
    Waiting,
    /// Only artifacts were in the bundle, and they are used.
    Artifacts,
    /// The bundle's own handler did everything.
    ByHandler,
}

/// What an installation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallResult {
    /// How it ended.
    pub end: InstallEnd,
    /// Where it is.
    pub slot: Option<String>,
    /// What the bootloader calls that.
    pub bootname: Option<String>,
    /// What it is.
    pub release: Release,
    /// Tries that it was given.
    pub tries: Option<u8>,
}

/// What became of the last update.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrialStatus {
    /// `none`, `unfinished`, `failed`, `written`, `waiting`, `on-trial`, `confirmed`, `fell-back`.
    pub state: String,
    /// Where it is.
    pub slot: Option<String>,
    /// What it is, for people.
    pub release: Option<String>,
    /// Why it failed, or fell.
    pub reason: Option<String>,
    /// When the present trial ends, in seconds since the machine was started.
    pub deadline: Option<u64>,
}

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Happening {
    /// `installed`, `confirmed`, `fell-back`, …: as in `slotmgr history --json`.
    pub what: String,
    /// Seconds since 1970.
    pub at: i64,
    /// In which slot.
    pub slot: Option<String>,
    /// Which release, for people.
    pub release: Option<String>,
    /// Which job.
    pub job: Option<String>,
    /// Why, where there is a why.
    pub why: Option<String>,
}

/// What a machine can be asked. Every call looks at the machine anew, so that nothing that is told
/// was true only once.
pub trait Service: Send + Sync {
    /// Who the machine is.
    ///
    /// # Errors
    /// It is not configured rightly.
    fn identity(&self) -> Result<Identity>;

    /// All slots, in the order of `system.conf`.
    ///
    /// # Errors
    /// The bootloader's environment cannot be read.
    fn slots(&self) -> Result<Vec<SlotStatus>>;

    /// What is in the artifact repositories.
    ///
    /// # Errors
    /// The machine is not configured rightly.
    fn repositories(&self) -> Result<Vec<RepositoryStatus>>;

    /// Name of the slot that is started next.
    ///
    /// # Errors
    /// There is none, or the environment cannot be read.
    fn primary(&self) -> Result<String>;

    /// What became of the last update.
    ///
    /// # Errors
    /// The environment cannot be read.
    fn trial(&self) -> Result<TrialStatus>;

    /// What happened, the oldest first.
    ///
    /// # Errors
    /// The machine is not configured rightly.
    fn history(&self) -> Result<Vec<Happening>>;

    /// Tells the bootloader what to think of a slot: `booted`, `other`, or by name.
    ///
    /// # Errors
    /// There is no such slot, or the environment cannot be written.
    fn mark(&self, mark: Mark, slot: &str) -> Result<Marked>;

    /// The manifest of a bundle with a trusted signature.
    ///
    /// # Errors
    /// It cannot be read, or is not to be trusted.
    fn inspect(&self, origin: &Origin) -> Result<VerifiedManifest>;

    /// A name that no other job has.
    ///
    /// # Errors
    /// The kernel gives none.
    fn new_job(&self) -> Result<String>;

    /// The jobs that were written down, the oldest first.
    ///
    /// # Errors
    /// The machine is not configured rightly.
    fn jobs(&self) -> Result<Vec<JobStatus>>;

    /// Installs; comes back when that is done. `stop` ends it early.
    ///
    /// # Errors
    /// Whatever stopped it; the running system is untouched.
    fn install(
        &self,
        request: &InstallRequest,
        stop: &Stop,
        progress: &mut dyn Progress,
    ) -> Result<InstallResult>;

    /// From now on `listener` is told what this service does.
    fn listen(&self, listener: Arc<Heard>);

    /// The service begins: what a crash left is put right.
    fn begin(&self);

    /// The service ends.
    fn end(&self);
}
