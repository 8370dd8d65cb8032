//! Everything of an installation but what writes, and but what runs the bundle's own programs.

use bundle_format::{ReadAt, VerifiedBundle};

use super::assemble::Opened;
use super::stream::Origin;
use super::{
    InstallError, Machine, Plan, PlanError, Policy, Progress, Site, Stage, Step, check_compatible,
    check_payload, check_version,
};
use crate::boot;
use crate::slot::Target;
use crate::state::status_files;
use crate::writer::Method;

/// What an installation would write.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// One image after the other.
    pub steps: Vec<Step>,
    /// The slot that would be started next.
    pub boot_target: Target,
    /// What only an installation finds out, for people.
    pub unknown: Vec<&'static str>,
}

/// Does with `bundle` what [`install`](super::install) would do, up to the first write: versions,
/// plan, fallback, targets, every block of the payload and the digest of every image.
///
/// # Errors
/// What an installation would say before it writes.
pub fn simulate<R: ReadAt>(
    m: &mut Machine<'_>,
    bundle: &VerifiedBundle<R>,
    policy: &Policy,
    progress: &mut dyn Progress,
) -> Result<Simulated, InstallError> {
    let manifest = bundle.manifest().manifest();
    let mut unknown = Vec::new();
    check_version(manifest, policy)?;
    let hooks = manifest.hooks.as_ref();
    if hooks.is_some_and(|hooks| hooks.install_check) {
        unknown.push("the bundle's install-check hook was not asked");
    } else {
        check_compatible(manifest, None, policy, progress)?;
    }
    if manifest.handler.is_some() {
        return Err(PlanError::Unsupported {
            what: "its own handler to be run to know what it writes".to_owned(),
        }
        .into());
    }
    let status = status_files::before(policy, m.layout);
    let group = m.layout.targets(m.booted, &|id| {
        status_files::history(m.record, &status, m.layout, id)
    })?;
    let plan = Plan::new(manifest, m.layout, &group, policy)?;
    boot::check_fallback(m.env, m.disks, m.layout, m.booted).map_err(|source| {
        InstallError::Boot {
            doing: "checking that there is a system to fall back to",
            source,
        }
    })?;
    let site = Site {
        layout: m.layout,
        booted: m.booted,
        policy,
        status: &status,
    };
    Opened::open(&plan, &site, m.disks)?;
    check_payload(bundle, &policy.stop, progress)?;
    check_images(bundle, &plan, policy, progress)?;
    let handlers = &policy.handlers;
    if handlers.pre_install.is_some() {
        unknown.push("the pre-install handler was not asked");
    }
    if plan.steps().iter().any(|step| !step.hooks.is_empty()) {
        unknown.push("the bundle's hooks for its images were not run");
    }
    Ok(Simulated {
        boot_target: plan.boot_target(),
        steps: plan.into_steps(),
        unknown,
    })
}

/// Reads every image through what an installation reads it through: unpacked, counted and hashed.
fn check_images<R: ReadAt>(
    bundle: &VerifiedBundle<R>,
    plan: &Plan,
    policy: &Policy,
    progress: &mut dyn Progress,
) -> Result<(), InstallError> {
    let origin = Origin {
        bundle,
        chunk: policy.chunk,
        stop: &policy.stop,
    };
    let has_data = |step: &&Step| !matches!(step.method, Method::EmptyFs | Method::Hook);
    for step in plan.steps().iter().filter(has_data) {
        let mut tell = |done| progress.at(Stage::Check, done, step.size);
        // Nothing is taken out of the stream: its end is checked all the same.
        origin.stream(step, &mut tell, &mut |_| Ok(()))?;
    }
    Ok(())
}
