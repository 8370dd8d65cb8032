//! What goes where, decided before anything is touched. Pure.

use bundle_format::Digest;
use bundle_format::manifest::{Image, ImageType, Manifest};

use crate::slot::{Layout, SelectError, SlotKind, SlotName, Target, TargetGroup};

/// One image on its way into one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it goes.
    pub target: Target,
    /// Name of the slot, for people.
    pub slot: SlotName,
    /// The file in the bundle.
    pub filename: String,
    /// Bytes that the signed manifest promises.
    pub size: u64,
    /// Digest of the whole image that the signed manifest promises.
    pub sha256: Digest,
}

/// Everything that an installation will write, in the order of the manifest.
#[derive(Debug, Clone)]
pub struct Plan {
    boot_target: Target,
    steps: Vec<Step>,
}

/// Why a bundle cannot be installed on this machine.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No image at all.
    #[error("the bundle has no image in it")]
    NoImage,
    /// An image without a place.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Nothing for the slot that would be started.
    #[error(
        "the bundle has no image for {slot}, the slot that would be started: starting it would \
         start whatever it holds"
    )]
    NoBootImage {
        /// The boot target.
        slot: SlotName,
    },
    /// Two images for one slot.
    #[error("the bundle has two images for {slot}: {first} and {second}")]
    TwoImages {
        /// Their slot.
        slot: SlotName,
        /// File name of the one.
        first: String,
        /// File name of the other.
        second: String,
    },
    /// Something in the bundle that this version does not do.
    #[error("the bundle needs {what}, which this version of slotmgr does not do yet")]
    Unsupported {
        /// What it needs.
        what: String,
    },
    /// The manifest does not say enough.
    #[error("the manifest does not say the {what} of the image for `{class}`")]
    Missing {
        /// `size`, `sha256`, `filename`.
        what: &'static str,
        /// Its class.
        class: String,
    },
}

impl Plan {
    /// Finds a place for each image.
    ///
    /// # Errors
    /// When an image has no place, or needs what this version cannot do: better to refuse the
    /// bundle than to leave out a hook.
    pub fn new(
        manifest: &Manifest,
        layout: &Layout,
        group: &TargetGroup,
    ) -> Result<Self, PlanError> {
        refuse_unsupported(manifest)?;
        let mut steps: Vec<Step> = Vec::new();
        for image in &manifest.images {
            let target = group.of_class(&image.class)?;
            let step = step(image, layout, target)?;
            if let Some(first) = steps.iter().find(|s| s.target == target) {
                return Err(PlanError::TwoImages {
                    slot: step.slot,
                    first: first.filename.clone(),
                    second: step.filename,
                });
            }
            steps.push(step);
        }
        let boot_target = group.boot();
        if steps.is_empty() {
            return Err(PlanError::NoImage);
        }
        if !steps.iter().any(|step| step.target == boot_target) {
            let slot = layout.slot(boot_target.id()).name.clone();
            return Err(PlanError::NoBootImage { slot });
        }
        Ok(Plan { boot_target, steps })
    }

    /// The slot that the bootloader will be told to start.
    #[must_use]
    pub fn boot_target(&self) -> Target {
        self.boot_target
    }

    /// What is written, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

fn refuse_unsupported(manifest: &Manifest) -> Result<(), PlanError> {
    let refuse = |what: &str| {
        Err(PlanError::Unsupported {
            what: what.to_owned(),
        })
    };
    if manifest.handler.is_some() {
        return refuse("its own installation handler ([handler])");
    }
    if manifest.hooks.is_some() {
        return refuse("hooks ([hooks])");
    }
    Ok(())
}

fn step(image: &Image, layout: &Layout, target: Target) -> Result<Step, PlanError> {
    let class = image.class.clone();
    let slot = layout.slot(target.id());
    let unsupported = |what: String| Err(PlanError::Unsupported { what });
    if let Some(variant) = &image.variant {
        return unsupported(format!("variants of images (`{variant}` of `{class}`)"));
    }
    if let Some(artifact) = &image.artifact {
        return unsupported(format!("artifact repositories (`{class}/{artifact}`)"));
    }
    if !image.hooks.is_empty() {
        return unsupported(format!("hooks for the image of `{class}`"));
    }
    match (image.kind(), slot.kind) {
        (Some(ImageType::Raw), SlotKind::Raw | SlotKind::Ext4 | SlotKind::Vfat)
        | (Some(ImageType::Ext4), SlotKind::Ext4 | SlotKind::Raw)
        | (Some(ImageType::Vfat), SlotKind::Vfat | SlotKind::Raw)
        | (Some(ImageType::Squashfs), SlotKind::Raw) => {}
        (kind, slot_kind) => {
            let kind = kind.map_or_else(|| "unknown".to_owned(), |kind| kind.name().to_owned());
            return unsupported(format!(
                "{kind} images in slots of type {slot_kind} (`{class}`)"
            ));
        }
    }
    let missing = |what| PlanError::Missing {
        what,
        class: class.clone(),
    };
    Ok(Step {
        target,
        slot: slot.name.clone(),
        filename: image.filename.clone().ok_or_else(|| missing("filename"))?,
        size: image.size.ok_or_else(|| missing("size"))?,
        sha256: image.sha256.ok_or_else(|| missing("sha256"))?,
    })
}
