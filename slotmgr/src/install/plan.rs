//! What goes where, decided before anything is touched. Pure.

use bundle_format::Digest;
use bundle_format::block_hash_index::METHOD;
use bundle_format::manifest::{Image, ImageHook, ImageType, Manifest};

use super::Policy;
use crate::artifact::{Artifact, ArtifactForm};
use crate::config::RepositoryKind;
use crate::slot::{Layout, SelectError, Slot, SlotKind, SlotName, Target, TargetGroup};
use crate::writer::Method;

/// How an image lies in the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Whole,
    /// As it is, and beside it a digest of each of its blocks (`block-hash-index`).
    Blocks,
    /// As an index of chunks that are elsewhere.
    Chunks,
}

/// One image on its way into one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it goes.
    pub target: Target,
    /// Name of the slot, for people.
    pub slot: SlotName,
    /// The file in the bundle; empty for an image without data.
    pub filename: String,
    /// Bytes that the signed manifest promises.
    pub size: u64,
    /// Digest of the whole image that the signed manifest promises.
    pub sha256: Digest,
    /// How it gets there.
    pub method: Method,
    /// How it lies in the bundle.
    pub form: Form,
    /// When the bundle's program is asked.
    pub hooks: Vec<ImageHook>,
}

impl Step {
    /// Whether the bytes that the manifest promises are those that are read. They are not where a
    /// directory tree comes as an index: there it describes what the index was made of, a tar
    /// archive perhaps. The index is signed, and every chunk is compared with it.
    #[must_use]
    pub fn is_promised(&self) -> bool {
        (self.method, self.form) != (Method::Tree, Form::Chunks)
    }

    /// What is installed, for people.
    #[must_use]
    pub fn label(&self) -> &str {
        match self.filename.as_str() {
            "" => "an empty file system",
            name => name,
        }
    }
}

/// Everything that an installation will write, in the order of the manifest.
#[derive(Debug, Clone)]
pub struct Plan {
    boot_target: Target,
    steps: Vec<Step>,
    artifacts: Vec<Artifact>,
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
    /// No image for this variant of the machine.
    #[error("the bundle has images for class `{class}`, but none for {variant} of this machine")]
    Variant {
        /// Their class.
        class: String,
        /// "the variant `x`", or "a machine without variants".
        variant: String,
    },
    /// A hook that nobody brings.
    #[error("the image for `{class}` wants hooks, and the bundle has no [hooks] filename")]
    NoHooks {
        /// Its class.
        class: String,
    },
    /// A repository that this machine does not have.
    #[error(
        "the bundle has the artifact {artifact}, and system.conf has no [artifacts.{repository}]"
    )]
    NoRepository {
        /// `REPOSITORY/NAME`.
        artifact: String,
        /// The first half of it.
        repository: String,
    },
    /// An artifact that its repository does not take.
    #[error("artifact {artifact} is no tar archive, and its repository is of type trees")]
    NoArchive {
        /// `REPOSITORY/NAME`.
        artifact: String,
    },
    /// An image that does not go into its slot.
    #[error("images of type {image} do not go into slot {slot}, which is of type {kind}")]
    Mismatch {
        /// Type of the image.
        image: String,
        /// The slot.
        slot: SlotName,
        /// Its type.
        kind: SlotKind,
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
    /// bundle than to leave out a part.
    pub fn new(
        manifest: &Manifest,
        layout: &Layout,
        group: &TargetGroup,
        policy: &Policy,
    ) -> Result<Self, PlanError> {
        let mut steps: Vec<Step> = Vec::new();
        let mut artifacts = Vec::new();
        for image in images_for(manifest, policy.variant.as_deref())? {
            if let Some(name) = &image.artifact {
                artifacts.push(artifact(image, name, policy)?);
                continue;
            }
            if !image.hooks.is_empty() && manifest.hooks.is_none() {
                return Err(PlanError::NoHooks {
                    class: image.class.clone(),
                });
            }
            let step = step(image, layout, group.of_class(&image.class)?)?;
            if let Some(first) = steps.iter().find(|s| s.target == step.target) {
                return Err(PlanError::TwoImages {
                    slot: step.slot,
                    first: first.filename.clone(),
                    second: step.filename,
                });
            }
            steps.push(step);
        }
        let boot_target = group.boot();
        if steps.is_empty() && artifacts.is_empty() {
            return Err(PlanError::NoImage);
        }
        if !steps.is_empty() && !steps.iter().any(|step| step.target == boot_target) {
            let slot = layout.slot(boot_target.id()).name.clone();
            return Err(PlanError::NoBootImage { slot });
        }
        Ok(Plan {
            boot_target,
            steps,
            artifacts,
        })
    }

    /// One image for one slot, whatever else a machine would have to be given.
    ///
    /// # Errors
    /// When the image does not go into the slot.
    pub fn of_image(image: &Image, layout: &Layout, target: Target) -> Result<Self, PlanError> {
        Ok(Plan {
            boot_target: layout.root_target(target),
            steps: vec![step(image, layout, target)?],
            artifacts: Vec::new(),
        })
    }

    /// The images of this machine's variant and their slots, as far as they have one.
    pub(super) fn images<'m>(
        manifest: &'m Manifest,
        policy: &Policy,
        group: &TargetGroup,
    ) -> Vec<(&'m Image, Target)> {
        let images = images_for(manifest, policy.variant.as_deref()).unwrap_or_default();
        images
            .into_iter()
            .filter_map(|image| Some((image, group.of_class(&image.class).ok()?)))
            .collect()
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

    /// What goes into repositories.
    #[must_use]
    pub fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// Whether slotmgr itself takes the file out of the bundle, so that no program needs it.
    pub(super) fn writes(&self, filename: &str) -> bool {
        let mut steps = self.steps.iter();
        let mut artifacts = self.artifacts.iter();
        steps.any(|step| step.filename == filename && step.method != Method::Hook)
            || artifacts.any(|artifact| artifact.filename == filename)
    }
}

/// One image for each class, in the order of the manifest: that of this machine's variant, else the
/// one without a variant.
fn images_for<'m>(
    manifest: &'m Manifest,
    variant: Option<&str>,
) -> Result<Vec<&'m Image>, PlanError> {
    let same_place = |a: &Image, b: &Image| a.class == b.class && a.artifact == b.artifact;
    let exact = |image: &Image| variant.is_some() && image.variant.as_deref() == variant;
    let mut chosen = Vec::new();
    for image in &manifest.images {
        let mut others = manifest
            .images
            .iter()
            .filter(|other| same_place(other, image));
        let fits = match others.clone().find(|other| exact(other)) {
            Some(_) => exact(image),
            None => image.variant.is_none(),
        };
        if fits {
            chosen.push(image);
        } else if !others.any(|other| exact(other) || other.variant.is_none()) {
            let variant = variant.map_or("a machine without variants".to_owned(), |v| {
                format!("the variant `{v}`")
            });
            return Err(PlanError::Variant {
                class: image.class.clone(),
                variant,
            });
        }
    }
    Ok(chosen)
}

fn step(image: &Image, layout: &Layout, target: Target) -> Result<Step, PlanError> {
    let class = image.class.clone();
    if image.is_replaced() {
        let what = format!("the image {} in its converted form", image.label());
        return Err(PlanError::Unsupported { what });
    }
    let slot = layout.slot(target.id());
    let (method, form) = method(image, slot)?;
    let missing = |what| PlanError::Missing {
        what,
        class: class.clone(),
    };
    let has_data = !matches!(method, Method::EmptyFs | Method::Hook);
    let zero = || (!has_data).then_some(0);
    let nothing = || (!has_data).then(|| Digest::from_bytes([0; 32]));
    let no_name = || (!has_data).then(String::new);
    Ok(Step {
        target,
        slot: slot.name.clone(),
        filename: image
            .filename
            .clone()
            .or_else(no_name)
            .ok_or_else(|| missing("filename"))?,
        size: image.size.or_else(zero).ok_or_else(|| missing("size"))?,
        sha256: image
            .sha256
            .or_else(nothing)
            .ok_or_else(|| missing("sha256"))?,
        method,
        form,
        hooks: image.hooks.clone(),
    })
}

fn artifact(image: &Image, name: &str, policy: &Policy) -> Result<Artifact, PlanError> {
    let label = image.label();
    let mut repositories = policy.repositories.iter();
    let repository = repositories
        .find(|repository| repository.name == image.class)
        .ok_or_else(|| PlanError::NoRepository {
            artifact: label.clone(),
            repository: image.class.clone(),
        })?;
    let missing = |what| PlanError::Missing {
        what,
        class: label.clone(),
    };
    let unsupported = |what| Err(PlanError::Unsupported { what });
    let file = image.filename.clone().ok_or_else(|| missing("filename"))?;
    let replaced = image.is_replaced();
    let (form, filename) = match (repository.kind, image.unpacked()) {
        (RepositoryKind::Composefs, _) => {
            return unsupported(format!("the composefs repository `{}`", repository.name));
        }
        (RepositoryKind::Trees, Some(directory)) if replaced => {
            (ArtifactForm::Directory, directory.to_owned())
        }
        (_, _) if replaced => {
            return unsupported(format!("the artifact {label} in its converted form"));
        }
        (RepositoryKind::Trees, _) if image.kind() != Some(ImageType::Tar) => {
            return Err(PlanError::NoArchive { artifact: label });
        }
        (RepositoryKind::Trees, _) => (ArtifactForm::Archive, file),
        (RepositoryKind::Files, _) => (ArtifactForm::File, file),
    };
    Ok(Artifact {
        repository: repository.clone(),
        name: name.to_owned(),
        filename,
        form,
        size: image.size.ok_or_else(|| missing("size"))?,
        sha256: image.sha256.ok_or_else(|| missing("sha256"))?,
    })
}

fn method(image: &Image, slot: &Slot) -> Result<(Method, Form), PlanError> {
    if image.hooks.contains(&ImageHook::Install) {
        return Ok((Method::Hook, Form::Whole));
    }
    let kind = image.kind();
    let chunked = kind.and_then(ImageType::of_chunks);
    let form = match kind.filter(|kind| kind.is_chunked()) {
        Some(_) => Form::Chunks,
        None if image.adaptive.iter().any(|method| method == METHOD) => Form::Blocks,
        None => Form::Whole,
    };
    let method = chunked
        .or(kind)
        .and_then(|kind| Method::of(kind, slot.kind));
    // What switches boot areas writes them whole.
    let fits = |method: &Method| {
        chunked.is_none() || matches!(method, Method::Copy | Method::UbiVolume | Method::Flash)
    };
    method
        .filter(fits)
        .map(|method| (method, form))
        .ok_or_else(|| PlanError::Mismatch {
            image: kind.map_or_else(|| "unknown".to_owned(), |kind| kind.name().to_owned()),
            slot: slot.name.clone(),
            kind: slot.kind,
        })
}
