//! From a file that claims to be a bundle to a manifest and a payload that can be trusted.
//!
//! [`Bundle`] is unverified, [`VerifiedBundle`] is verified, and [`Bundle::verify`] is the only
//! way from the one to the other.

use std::io::Read as _;

use crate::cms::{
    self, CmsKind, Content, DecryptError, DecryptionKey, SignedData, Signer, Trust, VerifyError,
};
use crate::container::{Container, ContainerError};
use crate::crypt::CryptReader;
use crate::digest::Digest;
use crate::limits::{BLOCK_SIZE, Limits, MAX_KEYFILE_SIZE, MAX_PLAIN_PAYLOAD_SIZE};
use crate::manifest::{Format, MANIFEST_FILE, Manifest, ManifestError, VeritySpec};
use crate::payload::Payload;
use crate::payload_error::PayloadError;
use crate::pinned::{PinnedReader, Pins};
use crate::read_at::{ReadAt, Section};
use crate::squashfs::Squashfs;
use crate::verified::VerifiedBundle;
use crate::verity::{VerityReader, tree_size};

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is no bundle.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Its signature is not trusted.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// What was signed is not a proper manifest.
    #[error("the signed manifest is not valid")]
    Manifest(#[from] ManifestError),
    /// The format of the bundle cannot be read (yet) on this path.
    #[error("the bundle has the format {format}, which cannot be used here: {reason}")]
    Format {
        /// Its name.
        format: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A value is missing that the format needs.
    #[error("the signed manifest has format={format} but no {key}")]
    MissingKey {
        /// Its name.
        format: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A crypt bundle whose key everybody can read.
    #[error(
        "the bundle has format=crypt, but its signature was never encrypted, so anybody can read the key in it; encrypt it with `bundle-tool encrypt`"
    )]
    ReadableKey,
    /// The signature is encrypted.
    #[error("the bundle is encrypted; a key is needed to open it")]
    Encrypted,
    /// The signature cannot be decrypted.
    #[error(transparent)]
    Decrypt(#[from] DecryptError),
    /// What is in the payload speaks of another update than what was signed.
    #[error(
        "the {MANIFEST_FILE} in the payload contradicts the signed manifest ({problem}): the bundle was put together of different parts"
    )]
    Contradiction {
        /// In what.
        problem: String,
    },
    /// Sizes in the signed manifest do not fit the file.
    #[error("the payload of {payload} bytes does not fit the signed manifest: {problem}")]
    Geometry {
        /// Bytes before the signature.
        payload: u64,
        /// What does not fit.
        problem: String,
    },
    /// The payload does not match.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// A bundle of which nothing is verified.
pub struct Bundle<R> {
    source: R,
    container: Container,
    envelope: Envelope,
}

/// Whether the signature came out of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// It stands in the file as it is.
    None,
    /// It was encrypted, and [`Bundle::decrypt`] has opened it.
    Opened,
}

impl<R: ReadAt> Bundle<R> {
    /// Reads the outermost layer: trailer and signature.
    ///
    /// # Errors
    /// It is no bundle, or its sizes do not fit.
    pub fn open(source: R, limits: &Limits) -> Result<Self, ContainerError> {
        let container = Container::read(&source, limits)?;
        Ok(Self {
            source,
            container,
            envelope: Envelope::None,
        })
    }

    /// Bytes before the signature: data and hash tree.
    pub fn payload_len(&self) -> u64 {
        self.container.payload_len
    }

    /// Whether the signature is encrypted, so that [`Bundle::decrypt`] has to come first.
    ///
    /// # Errors
    /// The signature is no CMS structure of a known kind.
    pub fn is_encrypted(&self) -> Result<bool, VerifyError> {
        Ok(cms::kind(&self.container.signature, self.container.payload_len)? == CmsKind::Enveloped)
    }

    /// Opens the envelope round the signature.
    ///
    /// # Errors
    /// There is none, or it is not for this key.
    pub fn decrypt(self, key: &DecryptionKey) -> Result<Self, DecryptError> {
        let Container {
            payload_len,
            signature,
        } = self.container;
        let signature = key.open(&signature, payload_len)?;
        let container = Container {
            payload_len,
            signature,
        };
        Ok(Self {
            source: self.source,
            container,
            envelope: Envelope::Opened,
        })
    }

    /// Whether the signature came out of an envelope.
    pub fn envelope(&self) -> Envelope {
        self.envelope
    }

    /// The signature: as it stands in the file, or as it came out of its envelope.
    pub fn signature(&self) -> &[u8] {
        &self.container.signature
    }

    /// Bytes of the whole bundle.
    pub fn len(&self) -> u64 {
        self.source.len()
    }

    /// Whether there is nothing in it. Never true for a bundle that could be opened.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// The bytes before the signature, without any check.
    pub fn unverified_payload(&self) -> impl ReadAt + '_ {
        Section {
            source: &self.source,
            len: self.container.payload_len,
        }
    }

    /// The manifest without any check of the signature: for looking at, never for deciding.
    ///
    /// # Errors
    /// The signature cannot be looked into, or holds no proper manifest.
    pub fn manifest_unverified(&self) -> Result<Manifest, BundleError> {
        let bytes = self.manifest_bytes_unverified()?;
        Ok(Manifest::parse(&bytes)?)
    }

    /// The manifest's bytes without any check: for looking at and for signing anew.
    ///
    /// # Errors
    /// The signature cannot be looked into, or (plain format) the payload cannot be read.
    pub fn manifest_bytes_unverified(&self) -> Result<Vec<u8>, BundleError> {
        match self.signed_data()?.content {
            Some(manifest) => Ok(manifest),
            None => {
                let payload = Section {
                    source: &self.source,
                    len: self.container.payload_len,
                };
                Ok(read_manifest(&payload)?)
            }
        }
    }

    /// Whether the payload itself is signed (plain format), and not a manifest with its digests.
    ///
    /// # Errors
    /// The signature cannot be looked into.
    pub fn is_plain(&self) -> Result<bool, BundleError> {
        Ok(self.signed_data()?.content.is_none())
    }

    fn signed_data(&self) -> Result<SignedData, BundleError> {
        if self.is_encrypted()? {
            return Err(BundleError::Encrypted);
        }
        let (_, der) = cms::parse(&self.container.signature, self.container.payload_len)
            .map_err(VerifyError::from)?;
        Ok(SignedData::from_der(&der).map_err(VerifyError::from)?)
    }

    /// Verifies the signature and makes the payload readable. Every block of the payload is
    /// checked when it is read; here, nothing of it is read (plain format: all of it).
    ///
    /// # Errors
    /// The signature is not trusted, or what was signed does not fit the file.
    pub fn verify(self, trust: &Trust) -> Result<VerifiedBundle<R>, BundleError> {
        if self.is_plain()? {
            self.verify_plain(trust)
        } else {
            self.verify_manifest(trust)
        }
    }

    /// Verity and crypt: what is signed is the manifest, and the manifest has the root of the tree.
    fn verify_manifest(self, trust: &Trust) -> Result<VerifiedBundle<R>, BundleError> {
        let Container {
            payload_len,
            signature,
        } = self.container;
        let signed = cms::verify(&signature, payload_len, Content::Attached, trust)?;
        let manifest = VerifiedManifest::new(&signed.content, signed.chain, signed.signing_time)?;
        let bundle = &manifest.manifest.bundle;
        let format = bundle.format.name();
        let missing = |key| BundleError::MissingKey { format, key };
        let spec = bundle
            .verity
            .as_ref()
            .ok_or_else(|| missing("verity-hash"))?;
        let data_len = data_len(payload_len, spec)?;
        let checked = VerityReader::new(self.source, data_len, spec.root, &spec.salt);
        let payload = match bundle.format {
            Format::Plain => {
                let reason = "its signature holds a manifest, which plain bundles do not have";
                return Err(BundleError::Format { format, reason });
            }
            Format::Verity => Payload::verity(checked),
            Format::Crypt => {
                let key = bundle
                    .crypt_key
                    .clone()
                    .ok_or_else(|| missing("crypt-key"))?;
                if self.envelope == Envelope::None && !trust.policy().allow_readable_crypt_key {
                    return Err(BundleError::ReadableKey);
                }
                Payload::crypt(CryptReader::new(checked, key))
            }
        };
        Ok(VerifiedBundle::new(manifest, payload))
    }

    /// Plain: what is signed is the payload, and the manifest lies in it.
    fn verify_plain(self, trust: &Trust) -> Result<VerifiedBundle<R>, BundleError> {
        let Container {
            payload_len,
            signature,
        } = self.container;
        if payload_len > MAX_PLAIN_PAYLOAD_SIZE {
            let problem = format!("a plain bundle may have {MAX_PLAIN_PAYLOAD_SIZE} bytes at most");
            return Err(BundleError::Geometry {
                payload: payload_len,
                problem,
            });
        }
        let mut pins = None;
        let mut digest = |algorithm| {
            let (taken, digest) = Pins::take(&self.source, payload_len, algorithm)?;
            pins = Some(taken);
            Ok(digest)
        };
        let signed = cms::verify(
            &signature,
            payload_len,
            Content::Detached(&mut digest),
            trust,
        )?;
        let pins = pins.ok_or(VerifyError::NoSignedAttributes)?;
        let payload = Payload::plain(PinnedReader::new(self.source, payload_len, pins));
        let bytes = read_manifest(&payload)?;
        let manifest = VerifiedManifest::new(&bytes, signed.chain, signed.signing_time)?;
        let format = manifest.manifest.bundle.format;
        if format != Format::Plain {
            let reason = "its signature is that of a plain bundle";
            return Err(BundleError::Format {
                format: format.name(),
                reason,
            });
        }
        Ok(VerifiedBundle::new(manifest, payload))
    }
}

/// The manifest file of a payload: that of a plain bundle, or a copy of the signed one.
pub(crate) fn read_manifest(payload: &impl ReadAt) -> Result<Vec<u8>, PayloadError> {
    let file = Squashfs::open(payload)?.open_file(MANIFEST_FILE)?;
    let limit = MAX_KEYFILE_SIZE as u64;
    if file.size() > limit {
        return Err(PayloadError::ManifestTooLarge { size: file.size() });
    }
    let mut bytes = Vec::new();
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| PayloadError::from_io(0, error))?;
    Ok(bytes)
}

/// Bytes of the data under the tree, after checking that the tree has the only size it can have.
fn data_len(payload: u64, spec: &VeritySpec) -> Result<u64, BundleError> {
    let wrong = |problem| Err(BundleError::Geometry { payload, problem });
    let Some(data) = payload.checked_sub(spec.size) else {
        return wrong(format!("verity-size is {}", spec.size));
    };
    if data % BLOCK_SIZE != 0 || data <= BLOCK_SIZE {
        return wrong(format!(
            "{data} bytes of data are not a multiple of {BLOCK_SIZE} above it"
        ));
    }
    let needed = tree_size(data);
    if needed != spec.size {
        return wrong(format!(
            "verity-size is {}, but {data} bytes of data need {needed}",
            spec.size
        ));
    }
    Ok(data)
}

/// A manifest that a trusted signer signed.
///
/// There is no way to make one but [`Bundle::verify`].
#[derive(Debug, Clone)]
pub struct VerifiedManifest {
    manifest: Manifest,
    bytes: Vec<u8>,
    signers: Vec<Signer>,
    signing_time: Option<i64>,
}

impl VerifiedManifest {
    fn new(
        bytes: &[u8],
        signers: Vec<Signer>,
        signing_time: Option<i64>,
    ) -> Result<Self, ManifestError> {
        let manifest = Manifest::parse(bytes)?;
        Ok(Self {
            manifest,
            bytes: bytes.to_vec(),
            signers,
            signing_time,
        })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest's bytes as they were signed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the manifest's bytes as they were signed.
    pub fn hash(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// The chain of certificates, signer first.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// When the signer says it signed, in seconds since 1970.
    pub fn signing_time(&self) -> Option<i64> {
        self.signing_time
    }
}
