//! A second signer beside the first, as `rauc resign --append` writes it.

use bundle_format::cms::{SignedParts, StructureError};

use super::{SignError, assemble};

/// Why two signatures cannot become one structure.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// One of them is no signature.
    #[error("the signature that is there cannot be extended")]
    Structure(#[from] StructureError),
    /// They are over different content.
    #[error("the two signatures are over different content; nothing was written")]
    Content,
    /// The same certificate and key sign twice.
    #[error(
        "this signer has signed the bundle already: a second signature of the same says nothing new"
    )]
    Twice,
    /// OpenSSL refuses.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// One structure with the signers of both, which have signed the same content. What a signer
/// signed stays as it is, byte for byte.
///
/// # Errors
/// One of them is no signature, or of other content.
pub fn append(old: &[u8], new: &[u8]) -> Result<Vec<u8>, AppendError> {
    let mut all = SignedParts::parse(old)?;
    let added = SignedParts::parse(new)?;
    if all.content != added.content {
        return Err(AppendError::Content);
    }
    let known = all.signer_ids()?;
    if added.signer_ids()?.iter().any(|id| known.contains(id)) {
        return Err(AppendError::Twice);
    }
    extend(&mut all.digests, added.digests);
    extend(&mut all.certificates, added.certificates);
    extend(&mut all.revocations, added.revocations);
    extend(&mut all.signers, added.signers);
    Ok(assemble(all)?)
}

/// Both as one set.
fn extend(set: &mut Vec<Vec<u8>>, more: Vec<Vec<u8>>) {
    for element in more {
        if !set.contains(&element) {
            set.push(element);
        }
    }
}
