//! What is to be created.

use std::path::PathBuf;

use bundle_format::manifest::Format;
use bundle_format::{Digest, Manifest, Trust};

use super::PackOptions;
use crate::rewrite::Target;
use crate::sign::KeySource;

/// In front of a manifest from which a salt is made, so that the salt is the digest of nothing else.
const SALT_OF_MANIFEST: &[u8] = b"slotmgr: salt of the hash tree\n";

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
    /// Salt of the hash tree.
    pub salt: Salt,
    /// Key of the payload, for the crypt format. Has to be random.
    pub crypt_key: [u8; 32],
    /// How the payload is packed.
    pub pack: PackOptions,
}

/// Salt of a hash tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Salt {
    /// These bytes: random ones, or what somebody wants.
    Is([u8; 32]),
    /// Made from the manifest (and so from the digests of all images): the same content gets the
    /// same salt, different content another.
    OfManifest,
}

impl Salt {
    /// The salt of a bundle whose manifest is this, but for what the tree adds to it.
    pub(super) fn bytes(self, manifest: &Manifest) -> [u8; 32] {
        match self {
            Salt::Is(bytes) => bytes,
            Salt::OfManifest => {
                let text = [SALT_OF_MANIFEST, &manifest.to_bytes()].concat();
                *Digest::of(&text).as_bytes()
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_content_gets_another_salt() {
        let manifest = |version: &str| {
            let text = format!("[update]\ncompatible=c\nversion={version}\n");
            Manifest::parse(text.as_bytes()).unwrap()
        };
        let salt = |version| Salt::OfManifest.bytes(&manifest(version));
        assert_eq!(salt("1"), salt("1"));
        assert_ne!(salt("1"), salt("2"));
        assert_eq!(Salt::Is([3; 32]).bytes(&manifest("1")), [3; 32]);
    }
}
