//! An installation, from a verified bundle to a slot that the bootloader will try.
//!
//! `plan → check → condemn → assemble → sync → read back → arm`. Each step consumes what the one
//! before it made, so that a wrong order does not compile. Until [`condemn`](boot::condemn) nothing
//! has been written anywhere but in our own record; from there to [`arm`](boot::arm) the
//! bootloader ignores the target, and stopping anywhere leaves the running system as it is.

mod assemble;
mod plan;
mod progress;
mod readback;

pub use assemble::{AssembleError, CHUNK, Opened, Written};
pub use bundle_format::Version;
pub use plan::{Plan, PlanError, Step};
pub use progress::{Progress, Silent, Stage};
pub use readback::{Proven, ReadBackError, Synced};

use bundle_format::{PayloadError, ReadAt, VerifiedBundle};

use crate::boot::{self, Armed, BootEnv, BootError, Standing, Tries};
use crate::slot::{Booted, Layout, SelectError};
use crate::state::{Job, Record, Release};
use crate::storage::Disks;

/// The machine that is worked on.
pub struct Machine<'m> {
    /// Its slots.
    pub layout: &'m Layout,
    /// The running one.
    pub booted: Booted,
    /// Its bootloader.
    pub env: &'m dyn BootEnv,
    /// Its disks.
    pub disks: &'m mut dyn Disks,
    /// Our own memory; the bootloader's counts more.
    pub record: &'m mut Record,
}

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

/// What the caller decides.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `compatible=` of `system.conf`.
    pub compatible: String,
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
}

/// Why an installation stopped. The running system is as it was.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// For other machines.
    #[error("the bundle is for `{bundle}`, and this machine is `{machine}`")]
    Compatible {
        /// `compatible=` of the manifest.
        bundle: String,
        /// `compatible=` of `system.conf`.
        machine: String,
    },
    /// No slot to write to.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The bundle does not fit this machine.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The payload is damaged; found before anything was written.
    #[error("the bundle is damaged; nothing was written")]
    Payload(#[source] PayloadError),
    /// The boot environment.
    #[error("while {doing}")]
    Boot {
        /// Stage, for people.
        doing: &'static str,
        /// Why.
        #[source]
        source: BootError,
    },
    /// Writing the target.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// Reading the target back.
    #[error(transparent)]
    ReadBack(#[from] ReadBackError),
}

/// Installs `bundle` into the slots that do not run, and tells the bootloader to try them.
///
/// # Errors
/// Whatever stops it; the running slot is untouched and is what the bootloader starts.
pub fn install<R: ReadAt>(
    m: &mut Machine<'_>,
    bundle: &VerifiedBundle<R>,
    policy: &Policy,
    progress: &mut dyn Progress,
) -> Result<Armed, InstallError> {
    let manifest = bundle.manifest().manifest();
    check_compatible(&manifest.update.compatible, &policy.compatible)?;
    let group = m
        .layout
        .targets(m.booted, &|id| m.record.history(m.layout, id))?;
    let plan = Plan::new(manifest, m.layout, &group)?;
    let boot = |doing| move |source| InstallError::Boot { doing, source };
    let state = boot::check_fallback(m.env, m.disks, m.layout, m.booted)
        .map_err(boot("checking that there is a system to fall back to"))?;
    let opened = Opened::open(&plan, m.layout, m.disks)?;
    let target = plan.boot_target();
    let startable = state.standing(target.id()) != Standing::Bad;
    match policy.check_first {
        CheckFirst::Always => check_payload(bundle, progress)?,
        CheckFirst::WhenItMatters if startable => check_payload(bundle, progress)?,
        CheckFirst::WhenItMatters | CheckFirst::Never => {}
    }

    let release = Release::of(bundle.manifest());
    m.record
        .begin(m.disks, Job::installing(m.layout, &plan, release, policy));
    let installed = write_and_arm(m, bundle, (plan, opened), policy, progress);
    match &installed {
        Ok(armed) => m.record.armed(m.disks, armed.tries()),
        Err(error) => m.record.failed(m.disks, &error.to_string()),
    }
    installed
}

/// From the first write to the commit point.
fn write_and_arm<R: ReadAt>(
    m: &mut Machine<'_>,
    bundle: &VerifiedBundle<R>,
    (plan, opened): (Plan, Opened),
    policy: &Policy,
    progress: &mut dyn Progress,
) -> Result<Armed, InstallError> {
    let boot = |doing| move |source| InstallError::Boot { doing, source };
    // Safe to stop: the environment is untouched, or the target is out of it.
    let condemned = boot::condemn(m.env, m.disks, plan.boot_target())
        .map_err(boot("taking the target out of the boot order"))?;
    // Safe to stop until `arm`: the bootloader ignores the target, whatever is in it.
    let written = assemble::assemble(condemned, opened, bundle, policy.chunk, progress)?;
    let proven = written.sync(progress)?.read_back(policy.chunk, progress)?;
    boot::arm(m.env, m.disks, proven, policy.tries)
        .map_err(boot("making the target the next to be started"))
}

fn check_compatible(bundle: &str, machine: &str) -> Result<(), InstallError> {
    if bundle == machine {
        return Ok(());
    }
    Err(InstallError::Compatible {
        bundle: bundle.to_owned(),
        machine: machine.to_owned(),
    })
}

fn check_payload<R: ReadAt>(
    bundle: &VerifiedBundle<R>,
    progress: &mut dyn Progress,
) -> Result<(), InstallError> {
    bundle
        .verify_payload(&mut |done, total| progress.at(Stage::Check, done, total))
        .map_err(InstallError::Payload)
}
