//! The manifest: what a bundle is for, and which images it brings.
//!
//! Read strictly, as RAUC reads it (unknown sections and keys are errors), and written in RAUC's
//! order without its losses: `min-rauc-version` and `[rollout]` survive a rewrite.

mod copy;
mod image_type;
mod parse;
mod write;

pub use image_type::ImageType;
pub use parse::ManifestError;

use crate::digest::Digest;

/// Name of the manifest file in the root directory of the payload.
pub const MANIFEST_FILE: &str = "manifest.raucm";

/// Method of `convert=`: the bundle holds what an archive unpacks to, as a directory.
pub const CONVERT_TAR: &str = "tar-extract";

/// Method of `convert=`: the bundle holds the file of the image, too.
pub const CONVERT_KEEP: &str = "keep";

/// A whole manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// `[update]`.
    pub update: Update,
    /// `[bundle]`.
    pub bundle: BundleSection,
    /// `[handler]`: a program that replaces the whole installation.
    pub handler: Option<Handler>,
    /// `[hooks]`: a program that is asked at certain points.
    pub hooks: Option<Hooks>,
    /// `[image.…]`, in the order of the file.
    pub images: Vec<Image>,
    /// `[meta.…]`, in the order of the file.
    pub meta: Vec<Meta>,
    /// `[rollout]`: for servers; a device ignores it.
    pub rollout: Vec<(String, String)>,
}

/// `[update]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// The kind of device that this is for.
    pub compatible: String,
    /// Version of the system.
    pub version: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Build number or date.
    pub build: Option<String>,
    /// Oldest RAUC that may install this.
    pub min_rauc_version: Option<String>,
}

/// How a bundle's payload is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// One signature over the whole payload.
    Plain,
    /// A signed manifest with the root of a hash tree over the payload.
    #[default]
    Verity,
    /// Like verity, over an encrypted payload.
    Crypt,
}

impl Format {
    /// Its name in `format=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Verity => "verity",
            Self::Crypt => "crypt",
        }
    }
}

/// `[bundle]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BundleSection {
    /// `format`.
    pub format: Format,
    /// There was no `format`, so plain was assumed.
    pub format_assumed: bool,
    /// The hash tree; only a signed manifest has it.
    pub verity: Option<VeritySpec>,
    /// `crypt-key`; only the signed manifest of a crypt bundle has it.
    pub crypt_key: Option<CryptKey>,
}

/// The hash tree as a signed manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VeritySpec {
    /// `verity-hash`: digest of the tree's top block.
    pub root: Digest,
    /// `verity-salt`: hashed before each block.
    pub salt: [u8; 32],
    /// `verity-size`: bytes of the tree.
    pub size: u64,
}

/// The AES-256 key of a crypt bundle's payload. Never shown in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct CryptKey(pub [u8; 32]);

impl std::fmt::Debug for CryptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CryptKey(…)")
    }
}

/// `[handler]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// The program, in the root of the payload.
    pub filename: String,
    /// Its arguments, one text.
    pub args: Option<String>,
}

/// `[hooks]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// The program, in the root of the payload.
    pub filename: String,
    /// `hooks`: has `install-check`, that is, the program may refuse the installation.
    pub install_check: bool,
}

/// One `[image.CLASS]`, `[image.CLASS.VARIANT]` or `[image.REPO/ARTIFACT]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// Slot class (or artifact repository) that it goes to.
    pub class: String,
    /// Only for devices of this variant.
    pub variant: Option<String>,
    /// Name of the artifact in the repository.
    pub artifact: Option<String>,
    /// File in the root of the payload. Never has a `/`.
    pub filename: Option<String>,
    /// Digest of the image (for a chunked one: of what it expands to).
    pub sha256: Option<Digest>,
    /// Bytes of the image (for a chunked one: of what it expands to).
    pub size: Option<u64>,
    /// `type`, where it is given.
    pub image_type: Option<ImageType>,
    /// What the hook program is asked for this image.
    pub hooks: Vec<ImageHook>,
    /// `adaptive`: methods that a device may use, and ignore if it does not know them.
    pub adaptive: Vec<String>,
    /// `convert`: what the bundle's builder is to make of the image.
    pub convert: Vec<String>,
    /// `converted`: file names that the builder made, in the order of `convert`.
    pub converted: Vec<String>,
}

impl Image {
    /// Whether the bundle holds what was made of the file by `convert=`, and not the file itself.
    pub fn is_replaced(&self) -> bool {
        let kept = |file: &String| self.converted.contains(file);
        !self.converted.is_empty() && !self.filename.as_ref().is_some_and(kept)
    }

    /// What kind of data this is: `type=` if given, else by the end of the file name.
    pub fn kind(&self) -> Option<ImageType> {
        self.image_type
            .or_else(|| self.filename.as_deref().and_then(ImageType::from_file_name))
    }

    /// The same as RAUC tells it: of an artifact only `type=` counts.
    pub fn told_kind(&self) -> Option<ImageType> {
        match self.artifact {
            Some(_) => self.image_type,
            None => self.kind(),
        }
    }

    /// Whether the file in the bundle is an index that points to chunks elsewhere: by its kind, or
    /// by an end of its name that casync gives to indexes of anything.
    pub fn is_chunked(&self) -> bool {
        let index = |name: &str| name.ends_with(".caibx") || name.ends_with(".caidx");
        self.kind().is_some_and(ImageType::is_chunked)
            || self.filename.as_deref().is_some_and(index)
    }

    /// The directory in the bundle that holds what the archive unpacks to.
    pub fn unpacked(&self) -> Option<&str> {
        let mut made = self.convert.iter().zip(&self.converted);
        let (_, directory) = made.find(|(method, _)| *method == CONVERT_TAR)?;
        Some(directory)
    }

    /// The section's name without `image.`: `CLASS`, `CLASS.VARIANT` or `REPO/ARTIFACT`.
    pub fn label(&self) -> String {
        match (&self.artifact, &self.variant) {
            (Some(artifact), _) => format!("{}/{artifact}", self.class),
            (None, Some(variant)) => format!("{}.{variant}", self.class),
            (None, None) => self.class.clone(),
        }
    }
}

/// Points at which the hook program is asked for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageHook {
    /// Before the slot is written.
    PreInstall,
    /// Instead of writing the slot.
    Install,
    /// After the slot is written.
    PostInstall,
}

impl ImageHook {
    /// Its name in `hooks=`.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreInstall => "pre-install",
            Self::Install => "install",
            Self::PostInstall => "post-install",
        }
    }
}

/// One `[meta.LABEL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The part after `meta.`.
    pub label: String,
    /// Keys and values in the order of the file.
    pub entries: Vec<(String, String)>,
}
