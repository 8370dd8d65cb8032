//! One image into one slot, without a bundle.
//!
//! `check → condemn → write → sync → read back`: the way of an installation, without its last step. What
//! nobody has signed is not started by itself.

use super::assemble::{self, Opened};
use super::stream::Origin;
use super::{InstallError, LocalImage, Machine, Plan, Policy, Progress, Site};
use crate::boot;
use crate::slot::{SlotId, Target};
use crate::state::{SlotChange, status_files};

/// Writes `image` into the slot. The system that the slot belongs to is not started any more until
/// somebody marks it.
///
/// # Errors
/// Whatever stops it; what runs is untouched. A slot that was begun stays unusable.
pub fn write_slot(
    m: &mut Machine<'_>,
    slot: SlotId,
    image: &LocalImage,
    policy: &Policy,
    progress: &mut dyn Progress,
) -> Result<Target, InstallError> {
    let target = m.layout.target(m.booted, slot)?;
    let described = image.described(m.layout.slot(slot).name.class());
    let plan = Plan::of_image(&described, m.layout, target)?;
    let status = status_files::before(policy, m.layout);
    let site = Site {
        layout: m.layout,
        booted: m.booted,
        policy,
        status: &status,
    };
    let boot = |doing| move |source| InstallError::Boot { doing, source };
    if m.layout.slot(plan.boot_target().id()).boot_name.is_some() {
        boot::check_fallback(m.env, m.disks, m.layout, m.booted)
            .map_err(boot("checking that there is a system to fall back to"))?;
    }
    let opened = Opened::open(&plan, &site, m.disks)?;
    m.record
        .overwritten(m.disks, &m.layout.slot(slot).name.to_string());
    status_files::record(policy, None, &plan, SlotChange::Pending);
    let written = write_and_prove(m, (image, &plan, opened), &site, progress);
    let change = match written {
        Ok(()) => SlotChange::Written,
        Err(_) => SlotChange::Failed,
    };
    status_files::record(policy, None, &plan, change);
    written.map(|()| target)
}

fn write_and_prove(
    m: &mut Machine<'_>,
    (image, plan, opened): (&LocalImage, &Plan, Opened),
    site: &Site<'_>,
    progress: &mut dyn Progress,
) -> Result<(), InstallError> {
    let policy = site.policy;
    // Safe to stop: the environment is untouched, or the target is out of it, and stays out.
    let condemned =
        boot::condemn_system(m.env, m.disks, m.layout, plan.boot_target()).map_err(|source| {
            InstallError::Boot {
                doing: "taking the target out of the boot order",
                source,
            }
        })?;
    let origin = Origin {
        bundle: image,
        chunk: policy.chunk,
        stop: &policy.stop,
    };
    let proven = assemble::assemble(condemned, opened, &origin, (None, m.disks), progress)?
        .sync(progress)?
        .read_back(policy.chunk, &policy.stop, progress)?
        .complete(None, m.disks, &policy.stop, progress)?;
    for step in proven.written() {
        status_files::record_in_slot(site, None, step)?;
    }
    Ok(())
}
