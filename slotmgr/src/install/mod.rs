//! An installation, from a verified bundle to a slot that the bootloader will try.
//!
//! `plan → check → condemn → assemble → sync → read back → arm`. Each step consumes what the one
//! before it made, so that a wrong order does not compile. Until [`condemn`](boot::condemn) nothing
//! has been written anywhere but in our own record; from there to [`arm`](boot::arm) the
//! bootloader ignores the target, and stopping anywhere leaves the running system as it is.

mod artifacts;
mod assemble;
mod assemble_error;
mod chunked;
mod error;
mod estimate;
mod handlers;
mod hooks;
mod local_image;
mod notes;
mod plan;
mod policy;
mod program;
mod progress;
mod readback;
mod simulate;
mod site;
mod stream;
mod unpacked;
mod write_slot;

pub use assemble::{CHUNK, Opened, Written};
pub use assemble_error::AssembleError;
pub use bundle_format::Version;
pub use chunked::{ChunkedError, Cost, Supply};
pub use error::InstallError;
pub use estimate::{Estimate, estimate};
pub use local_image::{LocalImage, LocalImageError};
pub use plan::{Form, Plan, PlanError, Step};
pub use policy::{CheckFirst, Compatibility, Distance, Policy};
pub use program::{Environment, Message, MessageKind, Program, ProgramError, TOOL_LIMIT, messages};
pub use progress::{Progress, Silent, Stage};
pub use readback::{Proven, ReadBackError, Synced};
pub use simulate::{Simulated, simulate};
pub use site::Site;
pub use stream::ImageStream;
pub use unpacked::{Unpacked, UnpackedError};
pub use write_slot::write_slot;

use std::path::Path;

use bundle_format::{Manifest, ReadAt, VerifiedBundle};

use crate::boot::{self, Armed, BootEnv, Standing};
use crate::config::Activation;
use crate::data::folders::OnDisk;
use crate::program::Stop;
use crate::slot::{Layout, Running, Target};
use crate::state::{Job, Record, Release, SlotChange, status_files};
use crate::storage::Disks;
use handlers::Telling;
use hooks::{Hooks, Verdict};
use notes::Notes;
use stream::{Images, Origin};

/// The machine that is worked on.
pub struct Machine<'m> {
    /// Its slots.
    pub layout: &'m Layout,
    /// What runs.
    pub booted: Running,
    /// Its bootloader.
    pub env: &'m dyn BootEnv,
    /// Its disks.
    pub disks: &'m mut dyn Disks,
    /// Our own memory; the bootloader's counts more.
    pub record: &'m mut Record,
}

/// How an installation ended well.
#[must_use]
#[derive(Debug)]
pub enum Installed {
    /// The bootloader will start the new system next, on trial.
    Armed(Armed),
    /// Written and proven; the bootloader ignores it until somebody marks it active
    /// (`activate-installed=false`).
    Waiting(Target),
    /// The bundle has artifacts only: they are used from now on, and nothing has to be restarted.
    Artifacts,
    /// The bundle's own handler did everything, and says that it went well.
    ByHandler,
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
) -> Result<Installed, InstallError> {
    let manifest = bundle.manifest().manifest();
    check_version(manifest, policy)?;
    let status = status_files::before(policy, m.layout);
    let site = Site {
        layout: m.layout,
        booted: m.booted,
        policy,
        status: &status,
    };
    let group = m.layout.targets(m.booted, &|id| {
        status_files::history(m.record, &status, m.layout, id)
    })?;
    let plan = match &manifest.handler {
        Some(_) => None,
        None => Some(Plan::new(manifest, m.layout, &group, policy)?),
    };
    let unpacked = unpack(bundle, plan.as_ref(), policy)?;
    let directory = unpacked
        .as_ref()
        .map_or(policy.work_directory.as_path(), Unpacked::path);
    let hooks = Hooks::new(bundle.manifest(), directory, &site);
    check_compatible(manifest, hooks.as_ref(), policy, progress)?;
    let telling = Telling {
        site: &site,
        manifest,
        group: &group,
        bundle: directory,
    };
    let pre_install = policy.handlers.pre_install.as_deref();
    telling.handler("pre-install", pre_install, None, progress)?;
    let installed = match (&plan, &manifest.handler) {
        (Some(plan), _) if plan.steps().is_empty() => {
            artifacts_alone(plan, bundle, policy, progress)
        }
        (Some(plan), _) => into_slots(m, (bundle, plan), &site, hooks.as_ref(), progress),
        (None, Some(handler)) => by_handler(&telling, handler, progress),
        (None, None) => Err(PlanError::NoImage.into()),
    };
    let told = match &installed {
        Ok(_) => telling.handler(
            "post-install",
            policy.handlers.post_install.as_deref(),
            None,
            progress,
        ),
        Err(error) => {
            let failed = policy.handlers.install_failed.as_deref();
            telling.handler("install-failed", failed, Some(&error.to_string()), progress)
        }
    };
    if installed.is_ok() {
        artifacts::prune(policy);
    }
    // The slots are what they are by now: a handler that only hears of it changes nothing.
    if let Err(error) = told {
        tracing::warn!("{error}");
    }
    installed
}

/// Without an image for a slot the bootloader has nothing to be told.
fn artifacts_alone<R: ReadAt>(
    plan: &Plan,
    bundle: &VerifiedBundle<R>,
    policy: &Policy,
    progress: &mut dyn Progress,
) -> Result<Installed, InstallError> {
    if policy.check_first == CheckFirst::Always {
        check_payload(bundle, &policy.stop, progress)?;
    }
    artifacts::store(plan, bundle, policy, progress)?;
    artifacts::activate(plan)?;
    Ok(Installed::Artifacts)
}

/// The ordinary way: slotmgr writes the slots itself.
fn into_slots<R: ReadAt>(
    m: &mut Machine<'_>,
    (bundle, plan): (&VerifiedBundle<R>, &Plan),
    site: &Site<'_>,
    hooks: Option<&Hooks<'_>>,
    progress: &mut dyn Progress,
) -> Result<Installed, InstallError> {
    let policy = site.policy;
    let boot = |doing| move |source| InstallError::Boot { doing, source };
    let state = boot::check_fallback(m.env, m.disks, m.layout, m.booted)
        .map_err(boot("checking that there is a system to fall back to"))?;
    let mut opened = Opened::open(plan, site, m.disks)?;
    let startable = state.standing(plan.boot_target().id()) != Standing::Bad;
    match policy.check_first {
        CheckFirst::Always => check_payload(bundle, &policy.stop, progress)?,
        CheckFirst::WhenItMatters if startable => {
            check_payload(bundle, &policy.stop, progress)?;
        }
        CheckFirst::WhenItMatters | CheckFirst::Never => {}
    }
    artifacts::store(plan, bundle, policy, progress)?;
    opened.find_same(site, &|step| {
        m.record
            .holds(&step.slot.to_string(), &step.sha256.to_string())
    });

    keep_data(policy)?;
    let release = Release::of(bundle.manifest());
    m.record
        .begin(m.disks, Job::installing(m.layout, plan, release, policy));
    status_files::record(policy, Some(bundle.manifest()), plan, SlotChange::Pending);
    let installed = write_and_arm(m, (bundle, plan, opened), site, hooks, progress)
        .map_err(|error| as_stopped(error, policy));
    if let Some(home) = policy.home.as_deref().filter(|_| is_over(&installed)) {
        Notes::forget(home);
    }
    match &installed {
        Ok(Installed::Armed(armed)) => m.record.armed(m.disks, armed.tries()),
        Ok(_) => m.record.written(m.disks),
        Err(error) => m.record.failed(m.disks, &error.to_string()),
    }
    status_files::record(
        policy,
        Some(bundle.manifest()),
        plan,
        SlotChange::of(&installed),
    );
    installed
}

/// Whether what was noted of the images is of no use any more: they are in their slots, or what is in
/// the slots is not the images although every block was as noted.
fn is_over(installed: &Result<Installed, InstallError>) -> bool {
    match installed {
        Ok(_) | Err(InstallError::ReadBack(_)) => true,
        Err(InstallError::Assemble(error)) => matches!(error, AssembleError::Digest { .. }),
        Err(_) => false,
    }
}

/// From the first write to the commit point.
fn write_and_arm<R: ReadAt>(
    m: &mut Machine<'_>,
    (bundle, plan, opened): (&VerifiedBundle<R>, &Plan, Opened),
    site: &Site<'_>,
    hooks: Option<&Hooks<'_>>,
    progress: &mut dyn Progress,
) -> Result<Installed, InstallError> {
    let policy = site.policy;
    let boot = |doing| move |source| InstallError::Boot { doing, source };
    // Safe to stop: the environment is untouched, or the target is out of it.
    let condemned = boot::condemn(m.env, m.disks, plan.boot_target())
        .map_err(boot("taking the target out of the boot order"))?;
    // Safe to stop until `arm`: the bootloader ignores the target, whatever is in it.
    let images = Images::Bundle(bundle);
    let origin = Origin { images, site };
    let written = assemble::assemble(condemned, opened, &origin, (hooks, m.disks), progress)?;
    let proven = written
        .sync(progress)?
        .read_back(policy.chunk, &policy.stop, progress)?
        .complete(hooks, m.disks, &policy.stop, progress)?;
    if policy.stop.is_wanted() {
        return Err(InstallError::Stopped(UNUSABLE));
    }
    for step in proven.written() {
        status_files::record_in_slot(site, Some((bundle.manifest(), plan)), step)?;
    }
    artifacts::activate(plan)?;
    if policy.activation == Activation::ByHand {
        return Ok(Installed::Waiting(proven.boot_target()));
    }
    boot::arm(m.env, m.disks, proven, policy.tries)
        .map(Installed::Armed)
        .map_err(boot("making the target the next to be started"))
}

/// A bundle that installs itself. What it does to slots and bootloader is its own affair, signed for
/// by whoever signed the bundle.
fn by_handler(
    telling: &Telling<'_>,
    handler: &bundle_format::manifest::Handler,
    progress: &mut dyn Progress,
) -> Result<Installed, InstallError> {
    keep_data(telling.site.policy)?;
    telling.full(handler, progress)?;
    Ok(Installed::ByHandler)
}

/// After everything that may refuse the bundle, and before the first write.
fn keep_data(policy: &Policy) -> Result<(), InstallError> {
    if let Some(snapshots) = &policy.snapshots {
        snapshots.take(&mut OnDisk)?;
    }
    Ok(())
}

/// What hooks and handlers need of the bundle; nothing if there are none.
fn unpack<R: ReadAt>(
    bundle: &VerifiedBundle<R>,
    plan: Option<&Plan>,
    policy: &Policy,
) -> Result<Option<Unpacked>, UnpackedError> {
    let manifest = bundle.manifest().manifest();
    let asked = manifest.hooks.is_some() || manifest.handler.is_some();
    let handlers = &policy.handlers;
    if !asked && handlers.pre_install.is_none() && handlers.post_install.is_none() {
        return Ok(None);
    }
    let wanted = |name: &str| plan.is_none_or(|plan| !plan.writes(name));
    Unpacked::new(bundle, Path::new(&policy.work_directory), &wanted).map(Some)
}

/// The bundle's own check stands in the place of comparing `compatible`.
fn check_compatible(
    manifest: &Manifest,
    hooks: Option<&Hooks<'_>>,
    policy: &Policy,
    progress: &mut dyn Progress,
) -> Result<(), InstallError> {
    let checks = manifest
        .hooks
        .as_ref()
        .is_some_and(|hooks| hooks.install_check);
    if let Some(hooks) = hooks.filter(|_| checks) {
        return match hooks.install_check(progress)? {
            Verdict::Accepted => Ok(()),
            Verdict::Rejected(reason) => Err(InstallError::Rejected(reason)),
        };
    }
    let bundle = &manifest.update.compatible;
    if *bundle == policy.compatible || policy.compatibility == Compatibility::Ignored {
        return Ok(());
    }
    Err(InstallError::Compatible {
        bundle: bundle.clone(),
        machine: policy.compatible.clone(),
    })
}

fn check_version(manifest: &Manifest, policy: &Policy) -> Result<(), InstallError> {
    let Some(wanted) = &policy.min_version else {
        return Ok(());
    };
    let said = manifest.update.version.as_deref().unwrap_or_default();
    if Version::parse(said).is_some_and(|found| found >= *wanted) {
        return Ok(());
    }
    let found = if said.is_empty() {
        "not given".to_owned()
    } else {
        format!("`{said}`")
    };
    Err(InstallError::TooOld {
        found,
        wanted: wanted.clone(),
    })
}

fn check_payload<R: ReadAt>(
    bundle: &VerifiedBundle<R>,
    stop: &Stop,
    progress: &mut dyn Progress,
) -> Result<(), InstallError> {
    bundle
        .verify_payload(&mut |done, total| progress.at(Stage::Check, done, total))
        .map_err(|error| match stop.is_wanted() {
            true => InstallError::Stopped("nothing was written"),
            false => InstallError::Payload(error),
        })
}

const UNUSABLE: &str = "its target stays unusable until the next installation";

/// Who is asked to stop gives up in the middle of what it does: that is how it ended, not what it
/// met while giving up.
fn as_stopped(error: InstallError, policy: &Policy) -> InstallError {
    match error {
        InstallError::Stopped(_) | InstallError::Assemble(AssembleError::Stopped { .. }) => error,
        _ if policy.stop.is_wanted() => InstallError::Stopped(UNUSABLE),
        _ => error,
    }
}
