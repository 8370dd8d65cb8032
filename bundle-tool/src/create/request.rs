//! What is to be created.

use std::path::PathBuf;

use bundle_format::Trust;
use bundle_format::manifest::Format;

use super::PackOptions;
use crate::rewrite::Target;
use crate::sign::KeySource;

/// Everything that creating a bundle depends on: the same request gives the same bundle (with RSA
/// keys).
#[derive(Clone)]
pub struct CreateRequest {
    /// What goes into it.
    pub input: Input,
    /// The file to create.
    pub output: Target,
    /// How the payload is protected.
    pub format: Format,
    /// Who signs.
    pub signature: Signature,
    /// Salt of the hash tree. Random, or fixed for reproducible bundles.
    pub salt: [u8; 32],
    /// Key of the payload, for the crypt format. Has to be random.
    pub crypt_key: [u8; 32],
    /// How the payload is packed.
    pub pack: PackOptions,
}

/// Who signs a new bundle.
#[derive(Clone)]
pub enum Signature {
    /// Nobody yet: the result is an unsigned bundle, for `sign`.
    Later,
    /// Somebody.
    By {
        /// Certificate and key.
        key: Box<KeySource>,
        /// The time that the signature names, in seconds since 1970.
        time: i64,
        /// Check the finished bundle with this keyring.
        keyring: Option<Trust>,
        /// Encrypt the signature to the certificates in these files (crypt format).
        recipients: Vec<PathBuf>,
    },
}

/// What goes into a bundle.
#[derive(Debug, Clone)]
pub enum Input {
    /// A directory with a `manifest.raucm` and everything that it names.
    Directory(PathBuf),
    /// Image files, from which the manifest is made.
    Images(NewManifest),
}

/// The manifest to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewManifest {
    /// The kind of device that this is for.
    pub compatible: String,
    /// Version of the system.
    pub version: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Build number or date.
    pub build: Option<String>,
    /// The images.
    pub images: Vec<ImageSource>,
}

/// One `CLASS=FILE` or `CLASS.VARIANT=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSource {
    /// Slot class.
    pub class: String,
    /// Only for devices of this variant.
    pub variant: Option<String>,
    /// The file; the bundle has it under its own name.
    pub path: PathBuf,
}
