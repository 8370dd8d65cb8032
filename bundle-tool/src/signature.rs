//! Signatures apart from bundles: taking one out, putting one in, signing anew.

use std::path::Path;

use bundle_format::cms::{VerifyError, kind};
use bundle_format::manifest::Format;
use bundle_format::{Bundle, BundleError, Envelope, FileReader, Manifest, PayloadError, ReadAt};
use openssl::error::ErrorStack;
use openssl::hash::{Hasher, MessageDigest};

use crate::encrypt::EncryptError;
use crate::open::{Check, OpenError, Source, on_the_host};
use crate::output::{Output, OutputError};
use crate::rewrite::{RewriteError, Target, append, append_signature, copy_payload};
use crate::self_check::{Checker, CheckerError, SelfCheckError};
use crate::sign::{AppendError, Content, SignError, append as append_signer, sign};
use crate::unsigned::Signing;

/// Bytes that are hashed at once.
const HASH_BUFFER: usize = 1024 * 1024;

/// Largest signature file that is read, in bytes.
const MAX_SIGNATURE_FILE: u64 = 1024 * 1024;

/// Why a signature cannot be moved or made.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The input is no bundle, or not trusted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The signature file cannot be read.
    #[error("cannot read the signature {path}", path = path.display())]
    Read {
        /// Which.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The signature file holds something else.
    #[error(transparent)]
    Structure(#[from] VerifyError),
    /// Signing fails.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The old signature cannot be kept beside the new one.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The new signature cannot be encrypted.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// The output cannot be checked.
    #[error(transparent)]
    Checker(#[from] CheckerError),
    /// The output is not good.
    #[error(transparent)]
    SelfCheck(#[from] SelfCheckError),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] RewriteError),
    /// The signature cannot be written.
    #[error("the output cannot be written")]
    Output(#[from] OutputError),
}

/// Writes the signature of a bundle into a file: as it stands in it ([`Envelope::None`]), or as it
/// comes out of its envelope.
///
/// # Errors
/// The input is no bundle, or not trusted; writing fails.
pub fn extract(
    source: &Source<'_>,
    check: &Check<'_>,
    envelope: Envelope,
    target: &Target,
) -> Result<(), SignatureError> {
    let bundle = match envelope {
        Envelope::None => source.open_closed()?,
        Envelope::Opened => source.open()?,
    };
    let signature = bundle.signature().to_vec();
    if let Check::Trust(trust) = check {
        source.verified(trust)?;
    }
    let mut output = Output::create(&target.path, target.overwrite)?;
    append(&mut output, &signature)?;
    output.finish()?;
    Ok(())
}

/// Writes a bundle anew with the signature from a file. With [`Check::Trust`], the new bundle has
/// to be trusted, and the payload to be the one that was signed.
///
/// # Errors
/// The input is no bundle, the file no signature, or the result not trusted.
pub fn replace(
    source: &Source<'_>,
    signature: &Path,
    check: &Check<'_>,
    target: &Target,
) -> Result<(), SignatureError> {
    let payload = source.open_closed()?.payload_len();
    let signature = read_signature(signature)?;
    kind(&signature, 0).map_err(VerifyError::from)?;
    let mut output = copy_payload(source.path, payload, target)?;
    append_signature(&mut output, &signature)?;
    if let Check::Trust(trust) = check {
        let new = Source {
            path: output.temporary_path(),
            ..*source
        };
        let verified = new.verified(trust)?;
        verified
            .verify_payload(&mut |_, _| {})
            .map_err(|e| OpenError::from(BundleError::from(e)))?;
    }
    output.finish()?;
    Ok(())
}

fn read_signature(path: &Path) -> Result<Vec<u8>, SignatureError> {
    use std::io::Read as _;
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(MAX_SIGNATURE_FILE)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| SignatureError::Read {
        path: path.to_owned(),
        source,
    })
}

/// What becomes of the signature that a bundle has when it is signed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldSignature {
    /// The new one takes its place.
    Replaced,
    /// Both stay, side by side. Nothing here opens such a bundle: it is for RAUC after 1.15.
    Kept,
}

impl OldSignature {
    /// Of a `--append` on the command line.
    pub fn from_append(append: bool) -> Self {
        if append { Self::Kept } else { Self::Replaced }
    }

    /// What the user should know before.
    pub fn warning(self) -> Option<&'static str> {
        (self == Self::Kept).then_some(
            "the new bundle has two signers: slotmgr and RAUC up to 1.15.2 refuse it, newer RAUC \
             wants to trust both; to replace the old signature, leave out --append",
        )
    }
}

/// Writes a bundle anew with a signature by somebody else over the same content: the manifest's
/// hash stays what it was. With [`OldSignature::Kept`], the new signature is checked alone, before
/// the old one, which `check` is for, comes back to its side.
///
/// # Errors
/// The input is no bundle, or not trusted; signing or writing fails.
pub fn resign(
    source: &Source<'_>,
    check: &Check<'_>,
    how: &Signing<'_>,
    old: OldSignature,
    target: &Target,
) -> Result<(), SignatureError> {
    let bundle = source.open()?;
    let payload = bundle.payload_len();
    let before = bundle.signature().to_vec();
    let signature = sign_again(bundle, check, how)?;
    let checker = Checker::new(how.keyring, how.signer)?;
    let mut output = copy_payload(source.path, payload, target)?;
    // Checked before it is encrypted: afterwards only a recipient could.
    append_signature(&mut output, &signature)?;
    checker.check_payload(output.temporary_path())?;
    let mut last = match old {
        OldSignature::Replaced => signature.clone(),
        OldSignature::Kept => append_signer(&before, &signature)?,
    };
    if let Some(recipients) = how.recipients {
        last = recipients.envelop(&last)?;
    }
    if last != signature {
        output.truncate(payload)?;
        append_signature(&mut output, &last)?;
    }
    output.finish()?;
    Ok(())
}

/// Signs what the old signature is over.
fn sign_again(
    bundle: Bundle<FileReader>,
    check: &Check<'_>,
    how: &Signing<'_>,
) -> Result<Vec<u8>, SignatureError> {
    let digest = how.signer.digest();
    let signable = match check {
        Check::Trust(trust) => {
            let verified = bundle
                .verify(&on_the_host(trust))
                .map_err(OpenError::from)?;
            Signable::of(verified.manifest().bytes(), verified.payload(), digest)
        }
        Check::None => {
            let manifest = bundle
                .manifest_bytes_unverified()
                .map_err(OpenError::from)?;
            Signable::of(&manifest, &bundle.unverified_payload(), digest)
        }
    };
    let signable = signable.map_err(OpenError::from)?;
    Ok(sign(signable.content(), how.signer, how.time)?)
}

/// What a signature is over.
pub(crate) enum Signable {
    /// Verity and crypt.
    Manifest(Vec<u8>),
    /// Plain: the payload's digest.
    Payload(Vec<u8>),
}

impl Signable {
    /// Decided by the format that the manifest names.
    pub(crate) fn of(
        manifest: &[u8],
        payload: &impl ReadAt,
        digest: MessageDigest,
    ) -> Result<Self, BundleError> {
        match Manifest::parse(manifest)?.bundle.format {
            Format::Plain => Ok(Self::Payload(hash(payload, digest)?)),
            Format::Verity | Format::Crypt => Ok(Self::Manifest(manifest.to_vec())),
        }
    }

    pub(crate) fn content(&self) -> Content<'_> {
        match self {
            Self::Manifest(bytes) => Content::Attached(bytes),
            Self::Payload(digest) => Content::Detached(digest),
        }
    }
}

fn hash(payload: &impl ReadAt, digest: MessageDigest) -> Result<Vec<u8>, PayloadError> {
    // OpenSSL knows every digest that a scheme names; that it fails is no fault of the payload.
    let failed = |error: ErrorStack| PayloadError::from_io(0, error.into());
    let len = payload.len();
    let mut hasher = Hasher::new(digest).map_err(failed)?;
    let mut buffer = vec![0; HASH_BUFFER];
    let mut offset = 0;
    while offset < len {
        // At most HASH_BUFFER.
        let run = usize::try_from(len - offset)
            .unwrap_or(HASH_BUFFER)
            .min(HASH_BUFFER);
        payload
            .read_exact_at(&mut buffer[..run], offset)
            .map_err(|error| PayloadError::from_io(offset, error))?;
        hasher.update(&buffer[..run]).map_err(failed)?;
        offset += run as u64;
    }
    Ok(hasher.finish().map_err(failed)?.to_vec())
}
