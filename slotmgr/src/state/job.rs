//! The things that are remembered. Field names are the format: schema 1.

use std::collections::BTreeMap;

use bundle_format::VerifiedManifest;
use bundle_format::manifest::ImageHook;
use serde::{Deserialize, Serialize};

use crate::install::{Plan, Policy, Step};
use crate::slot::{Layout, Resize, Slot, SlotKind};
use crate::writer::Method;

/// What was installed, as its manifest says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `compatible=`
    pub compatible: String,
    /// `version=`, if it says one.
    pub version: Option<String>,
    /// SHA-256 of the signed manifest: the name of this very bundle.
    pub manifest_sha256: String,
}

impl Release {
    pub(crate) fn of(manifest: &VerifiedManifest) -> Self {
        let update = &manifest.manifest().update;
        Release {
            compatible: update.compatible.clone(),
            version: update.version.clone(),
            manifest_sha256: manifest.hash().to_string(),
        }
    }

    /// For people: the version, or the first digits of the digest.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.version {
            Some(version) => format!("version {version}"),
            None => format!("bundle {:.12}", self.manifest_sha256),
        }
    }
}

/// How far the last installation came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobStage {
    /// Being written, or cut off in it.
    Installing,
    /// Written and proven; somebody else decides when it is started.
    Written,
    /// Written, proven, and next to be started.
    Armed {
        /// Tries it was given.
        tries: u8,
    },
    /// A health check failed while it ran on trial.
    Unhealthy {
        /// Which, and what it said.
        reason: String,
    },
    /// It proved itself.
    Confirmed,
    /// It could not be written.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The last installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name in logs.
    pub transaction: String,
    /// What it brings.
    pub release: Release,
    /// The slot that is to be started.
    pub target: String,
    /// All slots that it writes.
    pub images: BTreeMap<String, ImageRecord>,
    /// How far it came.
    pub stage: JobStage,
    /// The boot in which it last changed its stage, by the kernel's id.
    pub boot_id: String,
    /// When it began, in seconds since 1970.
    pub started: i64,
}

/// What an installation writes into one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Bytes.
    pub size: u64,
    /// Of all of them, in hexadecimal.
    pub sha256: String,
    /// Whether the slot begins with these bytes afterwards: not if the image was unpacked, its file
    /// system grew, or a hook had the slot last.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub as_it_is: bool,
}

/// What records of older versions mean.
fn yes() -> bool {
    true
}

/// How the last installation into a slot ended; RAUC's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotStatus {
    /// Written and proven.
    Ok,
    /// It did not end well.
    Failed,
    /// It has begun; if nothing runs, it was cut off.
    Pending,
}

/// What is known of the content of one slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// How the last installation ended.
    pub status: SlotStatus,
    /// What it brought.
    pub release: Release,
    /// The image.
    pub image: ImageRecord,
    /// When it ended, in seconds since 1970.
    pub installed: i64,
    /// How many installations this slot has seen.
    pub count: u64,
}

fn stays_as_it_is(step: &Step, slot: &Slot) -> bool {
    let is_unpacked = matches!(
        step.method,
        Method::Archive | Method::Tree | Method::EmptyFs | Method::Hook
    );
    let grows = slot.kind == SlotKind::Ext4 && slot.options.resize == Resize::ToSlot;
    !is_unpacked && !grows && !step.hooks.contains(&ImageHook::PostInstall)
}

impl Job {
    /// An installation that is about to write.
    #[must_use]
    pub fn installing(layout: &Layout, plan: &Plan, release: Release, policy: &Policy) -> Self {
        let images = plan.steps().iter().map(|step| {
            let image = ImageRecord {
                size: step.size,
                sha256: step.sha256.to_string(),
                as_it_is: stays_as_it_is(step, layout.slot(step.target.id())),
            };
            (step.slot.to_string(), image)
        });
        Job {
            transaction: policy.transaction.clone(),
            release,
            target: layout.slot(plan.boot_target().id()).name.to_string(),
            images: images.collect(),
            stage: JobStage::Installing,
            boot_id: policy.boot_id.clone(),
            started: policy.now,
        }
    }
}
