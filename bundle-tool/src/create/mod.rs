//! Creating a bundle: pack, hash, sign, check, and only then give the file its name.

mod content;
mod request;
mod squashfs;

pub use content::ContentError;
pub use request::{CreateRequest, ImageSource, Input, NewManifest};
pub use squashfs::{PackError, PackOptions};

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use bundle_format::container::trailer;
use bundle_format::limits::{BLOCK_SIZE, DEFAULT_MAX_SIGNATURE_SIZE};
use bundle_format::manifest::{Format, VeritySpec};
use bundle_format::verity::build_tree;
use bundle_format::{
    Bundle, BundleError, Digest, FileReader, Limits, Manifest, PayloadError, ReadAt as _, Trust,
    TrustError,
};

use crate::observer::Observer;
use crate::output::{Output, OutputError};
use crate::sign::{self, Content, Identity, IdentityError, SignError};
use content::Gathered;

/// Why a bundle cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// What is to go into it is not right.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The squashfs cannot be made.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The signer cannot sign.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The keyring to check with cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The hash tree cannot be made.
    #[error("cannot build the hash tree")]
    Tree(#[source] PayloadError),
    /// A format that is not written.
    #[error("bundles of the format {format} cannot be created")]
    Format {
        /// Which.
        format: &'static str,
    },
    /// The payload is too small for a tree.
    #[error("the payload has {len} bytes, which is too small or no multiple of {BLOCK_SIZE}")]
    PayloadSize {
        /// Its size.
        len: u64,
    },
    /// The signature is larger than devices accept.
    #[error(
        "the signature would have {size} bytes, more than the {DEFAULT_MAX_SIGNATURE_SIZE} that devices accept: the manifest or the certificates are too large"
    )]
    SignatureTooLarge {
        /// Its size.
        size: usize,
    },
    /// The finished bundle does not pass its own check. Nothing was left behind.
    #[error("the new bundle does not pass verification; nothing was written")]
    SelfCheck(#[source] BundleError),
}

/// What was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Bytes of the whole bundle.
    pub size: u64,
    /// The manifest as it was signed.
    pub manifest: Manifest,
    /// SHA-256 of the signed manifest.
    pub manifest_hash: Digest,
}

/// Creates a bundle.
///
/// # Errors
/// The input is not right, a program is missing, signing fails, the disk is full, or the finished
/// bundle does not verify. In every case, nothing is left under the name of the output.
pub fn create(
    request: &CreateRequest,
    observer: &mut dyn Observer,
) -> Result<Created, CreateError> {
    if request.format != Format::Verity {
        return Err(CreateError::Format {
            format: request.format.name(),
        });
    }
    let signer = Identity::load(&request.signer)?;
    let trust = self_check_trust(request, &signer)?;
    squashfs::check_program()?;
    let mut output = Output::create(&request.output, request.overwrite)?;

    observer.step("hashing images");
    let mut gathered = content::gather(&request.input, request.format, observer)?;

    observer.step("packing the payload");
    squashfs::pack(&gathered, output.temporary_path(), &request.pack)?;

    observer.step("building the hash tree");
    let spec = append_tree(&mut output, request, observer)?;
    gathered.manifest.bundle.verity = Some(spec);

    observer.step("signing");
    append_signature(&mut output, &gathered, &signer, request.signing_time)?;

    observer.step("checking the new bundle");
    let created = self_check(output.temporary_path(), &trust, observer)?;
    output.finish()?;
    Ok(created)
}

/// The keyring if there is one; else the signer's own certificates, as they are and at any time.
fn self_check_trust(request: &CreateRequest, signer: &Identity) -> Result<Trust, CreateError> {
    use bundle_format::cms::{CheckTime, Purpose};
    if let Some(keyring) = &request.keyring {
        return Ok(Trust::from_keyring_file(keyring)?.with_purpose(request.purpose));
    }
    let pem = signer.certificates_pem()?;
    let trust = Trust::from_pem(&pem, "made of the signer's own certificates")?;
    Ok(trust
        .with_partial_chain()
        .with_purpose(Purpose::Any)
        .with_time(CheckTime::Ignore))
}

fn append_tree(
    output: &mut Output,
    request: &CreateRequest,
    observer: &mut dyn Observer,
) -> Result<VeritySpec, CreateError> {
    let path = output.temporary_path().to_owned();
    let payload = FileReader::open(&path).map_err(|error| output.failed(error))?;
    let len = payload.len();
    if len % BLOCK_SIZE != 0 || len <= BLOCK_SIZE {
        return Err(CreateError::PayloadSize { len });
    }
    let tree = build_tree(&payload, len, &request.salt, &mut |done, total| {
        observer.progress(done, total);
    });
    let tree = tree.map_err(CreateError::Tree)?;
    append(output, &tree.bytes)?;
    Ok(VeritySpec {
        root: tree.root,
        salt: request.salt,
        size: tree.bytes.len() as u64,
    })
}

fn append_signature(
    output: &mut Output,
    gathered: &Gathered,
    signer: &Identity,
    time: i64,
) -> Result<(), CreateError> {
    let manifest = gathered.manifest.to_bytes();
    let signature = sign::sign(Content::Attached(&manifest), signer, time)?;
    if signature.len() as u64 > DEFAULT_MAX_SIGNATURE_SIZE {
        return Err(CreateError::SignatureTooLarge {
            size: signature.len(),
        });
    }
    append(output, &signature)?;
    append(output, &trailer(signature.len()))?;
    Ok(())
}

fn append(output: &mut Output, bytes: &[u8]) -> Result<(), OutputError> {
    let written = output
        .file()
        .seek(SeekFrom::End(0))
        .and_then(|_| output.file().write_all(bytes));
    written.map_err(|error| output.failed(error))
}

/// Reads back what was written, as a device would.
fn self_check(
    path: &Path,
    trust: &Trust,
    observer: &mut dyn Observer,
) -> Result<Created, CreateError> {
    let file = FileReader::open(path).map_err(|source| PayloadError::Read { offset: 0, source });
    let file = file.map_err(|error| CreateError::SelfCheck(error.into()))?;
    let size = file.len();
    let verified = Bundle::open(file, &Limits::default())
        .map_err(BundleError::from)
        .and_then(|bundle| bundle.verify(trust))
        .map_err(CreateError::SelfCheck)?;
    let manifest = verified.manifest();
    for image in &manifest.manifest().images {
        verified
            .check_image(image, &mut |done, total| observer.progress(done, total))
            .map_err(|error| CreateError::SelfCheck(error.into()))?;
    }
    Ok(Created {
        size,
        manifest: manifest.manifest().clone(),
        manifest_hash: manifest.hash(),
    })
}
