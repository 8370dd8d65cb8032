//! What a bundle says about itself, with or without proof.

use std::path::{Path, PathBuf};

use bundle_format::{
    Bundle, BundleError, Digest, FileReader, Limits, Manifest, ReadAt as _, Signer, Trust,
};

use crate::verify::VerifyFileError;

/// Whether the signature counts.
pub enum Check<'a> {
    /// Only a trusted bundle is shown.
    Trust(&'a Trust),
    /// Everything is shown, and trusted by nobody.
    None,
}

/// What a bundle says.
#[derive(Debug, Clone)]
pub struct Info {
    /// The file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of the signature.
    pub signature: u64,
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

/// Reads what `path` says about itself. The payload is not read (plain format: only with trust).
///
/// # Errors
/// It is no bundle, or not trusted.
pub fn info(path: &Path, check: &Check<'_>, limits: &Limits) -> Result<Info, VerifyFileError> {
    let file = FileReader::open(path).map_err(|source| VerifyFileError::Open {
        path: path.to_owned(),
        source,
    })?;
    let size = file.len();
    let bundle = Bundle::open(file, limits).map_err(BundleError::from)?;
    let signature = bundle.signature().len() as u64;
    let (manifest, proof) = match check {
        Check::None => (bundle.manifest_unverified()?, Proof::Unverified),
        Check::Trust(trust) => {
            let verified = bundle.verify(trust)?;
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
        path: path.to_owned(),
        size,
        signature,
        manifest,
        proof,
    })
}
