//! Where RAUC's status is kept: all slots in one file, or each in its own file system.
//!
//! With `statusfile=per-slot`, which is also what holds when nothing is said, a slot that can be
//! mounted has a file [`IN_SLOT`] in its root directory. It is written when the slot is proven and
//! before the bootloader is told of it, so that a power cut never meets a bootable slot that is being
//! changed.

use std::path::Path;

use bundle_format::VerifiedManifest;

use super::raucs::Keys;
use super::{RaucStatus, Record, SlotChange};
use crate::config::{Activation, StatusPlace};
use crate::install::{AssembleError, Plan, Policy, Site, Step};
use crate::slot::{History, Layout, SlotId, SlotKind};
use crate::storage::mounts::Mounts;
use crate::writer::{FilesystemError, Mounted, exclusive};

/// The status file in a slot; its only group is `[slot]`.
pub const IN_SLOT: &str = "slot.raucs";

/// The status of a machine's slots, wherever it is.
#[derive(Debug, Clone, Copy)]
pub struct StatusFiles<'s> {
    /// In one file, or in the slots.
    pub place: &'s StatusPlace,
    /// The slots.
    pub layout: &'s Layout,
    /// Below it slots are mounted that are not mounted yet.
    pub mount_prefix: &'s Path,
}

impl<'s> StatusFiles<'s> {
    fn of(policy: &'s Policy, layout: &'s Layout) -> Option<StatusFiles<'s>> {
        Some(StatusFiles {
            place: policy.status.as_ref()?,
            layout,
            mount_prefix: &policy.work_directory,
        })
    }

    /// What is known. Of slots that cannot be mounted now, nothing is.
    #[must_use]
    pub fn load(&self) -> RaucStatus {
        if let StatusPlace::Central(path) = self.place {
            return RaucStatus::load(path);
        }
        let mounts = Mounts::now();
        let mut status = RaucStatus::default();
        for (_, slot) in self.layout.iter().filter(|(_, s)| s.kind.is_mountable()) {
            let keys = match mounts.of(&slot.device) {
                Some(at) => in_directory(&at),
                None => match Mounted::readable(slot, self.mount_prefix) {
                    Ok(mounted) => in_directory(mounted.path()),
                    Err(error) => {
                        tracing::debug!("no status of {}: {error}", slot.name);
                        continue;
                    }
                },
            };
            status.put(&slot.name.to_string(), keys);
        }
        status
    }

    /// Writes what is known of one slot; in one file, of all slots.
    ///
    /// # Errors
    /// It cannot be mounted, and is as it was; or it was not written.
    pub fn save(&self, status: &RaucStatus, id: SlotId) -> Result<(), FilesystemError> {
        let written = |path: &Path, status: &RaucStatus| {
            status
                .save(path)
                .map_err(|source| FilesystemError::StatusFile {
                    path: path.to_owned(),
                    source,
                })
        };
        if let StatusPlace::Central(path) = self.place {
            return written(path, status);
        }
        let slot = self.layout.slot(id);
        if !slot.kind.is_mountable() {
            return Ok(());
        }
        let alone = RaucStatus::in_slot(status.keys(&slot.name.to_string()));
        if let Some(at) = Mounts::now().of(&slot.device) {
            return written(&at.join(IN_SLOT), &alone);
        }
        let mounted = Mounted::writable(slot, self.mount_prefix)?;
        written(&mounted.path().join(IN_SLOT), &alone)?;
        mounted.unmount()?;
        match slot.kind {
            SlotKind::Ext4 | SlotKind::Vfat => exclusive(&slot.device),
            // Flash has no cache below its file system.
            _ => Ok(()),
        }
    }

    /// A slot was made the next to be started.
    ///
    /// # Errors
    /// As [`StatusFiles::save`].
    pub fn activated(&self, id: SlotId, now: i64) -> Result<(), FilesystemError> {
        let mut status = self.load();
        status.activated(&self.layout.slot(id).name.to_string(), now);
        self.save(&status, id)
    }
}

fn in_directory(root: &Path) -> Keys {
    RaucStatus::load(&root.join(IN_SLOT)).into_slot()
}

/// What the status says before an installation.
#[must_use]
pub(crate) fn before(policy: &Policy, layout: &Layout) -> RaucStatus {
    StatusFiles::of(policy, layout)
        .map(|files| files.load())
        .unwrap_or_default()
}

/// What is known of a slot: by our record, else by what RAUC left behind.
#[must_use]
pub(crate) fn history(
    record: &Record,
    status: &RaucStatus,
    layout: &Layout,
    id: SlotId,
) -> History {
    match record.history(layout, id) {
        History::Never => status.history(&layout.slot(id).name.to_string()),
        known => known,
    }
}

/// Brings the one file up to date. Nobody's installation fails because this does.
pub(crate) fn record(
    policy: &Policy,
    manifest: Option<&VerifiedManifest>,
    plan: &Plan,
    change: SlotChange,
) {
    let Some(StatusPlace::Central(path)) = &policy.status else {
        return;
    };
    let mut status = RaucStatus::load(path);
    for step in plan.steps() {
        status.change(step, manifest, policy, change);
        if change == SlotChange::Activated && step.target == plan.boot_target() {
            status.activated(&step.slot.to_string(), policy.now);
        }
    }
    if let Err(error) = status.save(path) {
        tracing::warn!(
            "cannot write RAUC's status file {}: {error}",
            path.display()
        );
    }
}

/// Writes the status into a slot that is proven and that nobody holds any more.
///
/// It says already that the slot was activated, if that is what comes next: afterwards it must not be
/// touched any more. An image that holds no file system is left as it is. Without a bundle
/// nothing is activated.
///
/// # Errors
/// The file system took the file only in part: the slot is not what was proven.
pub(crate) fn record_in_slot(
    site: &Site<'_>,
    bundle: Option<(&VerifiedManifest, &Plan)>,
    step: &Step,
) -> Result<(), AssembleError> {
    let Some(files) = StatusFiles::of(site.policy, site.layout) else {
        return Ok(());
    };
    if *files.place != StatusPlace::PerSlot {
        return Ok(());
    }
    let mut status = site.status.clone();
    let manifest = bundle.map(|(manifest, _)| manifest);
    status.change(step, manifest, site.policy, SlotChange::Written);
    let is_started = bundle.is_some_and(|(_, plan)| plan.boot_target() == step.target);
    if is_started && site.policy.activation == Activation::AtOnce {
        status.activated(&step.slot.to_string(), site.policy.now);
    }
    match files.save(&status, step.target.id()) {
        Err(FilesystemError::Mount { source, .. }) => {
            tracing::warn!("slot {} gets no {IN_SLOT}: {source}", step.slot);
            Ok(())
        }
        saved => saved.map_err(|source| AssembleError::Filesystem {
            slot: step.slot.clone(),
            source,
        }),
    }
}
