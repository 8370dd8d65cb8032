//! What a bundle says about itself, with or without proof.

use std::path::PathBuf;

use bundle_format::limits::TRAILER_SIZE;
use bundle_format::{Digest, Envelope, Manifest, Signer};

use crate::open::{Check, OpenError, Source, on_the_host};

/// What a bundle says.
#[derive(Debug, Clone)]
pub struct Info {
    /// The file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the signature.
    pub signature: u64,
    /// Whether the signature is encrypted.
    pub envelope: Envelope,
    /// The manifest.
    pub manifest: Manifest,
    /// What was checked.
    pub proof: Proof,
}

/// What was checked.
#[derive(Debug, Clone)]
pub enum Proof {
    /// The signature is trusted.
    Verified {
        /// SHA-256 of the signed manifest.
        hash: Digest,
        /// The chain, signer first.
        signers: Vec<Signer>,
        /// When the signer says it signed, in seconds since 1970.
        signing_time: Option<i64>,
    },
    /// Nothing was checked.
    Unverified,
}

impl Proof {
    /// SHA-256 of the manifest, if somebody who is trusted signed it.
    pub fn hash(&self) -> Option<Digest> {
        match self {
            Self::Verified { hash, .. } => Some(*hash),
            Self::Unverified => None,
        }
    }
}

/// Reads what a bundle says about itself. The payload is not read (plain format: all of it, if
/// there is trust to check).
///
/// # Errors
/// It is no bundle, or not trusted.
pub fn info(source: &Source<'_>, check: &Check<'_>) -> Result<Info, OpenError> {
    let bundle = source.open()?;
    let envelope = bundle.envelope();
    let size = bundle.len();
    let signature = size - bundle.payload_len() - TRAILER_SIZE;
    let (manifest, proof) = match check {
        Check::None => (bundle.manifest_unverified()?, Proof::Unverified),
        Check::Trust(trust) => {
            let verified = bundle.verify(&on_the_host(trust))?;
            let manifest = verified.manifest();
            let proof = Proof::Verified {
                hash: manifest.hash(),
                signers: manifest.signers().to_vec(),
                signing_time: manifest.signing_time(),
            };
            (manifest.manifest().clone(), proof)
        }
    };
    Ok(Info {
        path: source.path.to_owned(),
        size,
        signature,
        envelope,
        manifest,
        proof,
    })
}
