//! Creating a bundle: pack, hash, sign, check, and only then give the file its name.

mod content;
mod conversion;
mod images;
pub(crate) mod mksquashfs;
mod request;

pub use content::ContentError;
pub use conversion::ConversionError;
pub use mksquashfs::{PackError, PackOptions};
pub use request::{CreateRequest, ImageSource, Input, NewManifest, Salt, Signature};

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use bundle_format::limits::{BLOCK_SIZE, MAX_PLAIN_PAYLOAD_SIZE};
use bundle_format::manifest::{CryptKey, Format, VeritySpec};
use bundle_format::verity::build_tree;
use bundle_format::{Digest, FileReader, Manifest, PayloadError, ReadAt as _, Trust, crypt};

use crate::encrypt::Recipients;
use crate::observer::Observer;
use crate::output::{Output, OutputError};
use crate::rewrite::{RewriteError, append, append_signature};
use crate::sign::{Identity, IdentityError};
use crate::unsigned::{self, SignBundleError, Signing};

/// Bytes that are encrypted at once.
const CRYPT_RUN: usize = 1024 * 1024;

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
    #[error("the output cannot be written")]
    Output(#[from] OutputError),
    /// The output cannot be finished.
    #[error(transparent)]
    Write(#[from] RewriteError),
    /// The signer cannot sign, or a recipient's certificate cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Signing failed, or the result is not good.
    #[error(transparent)]
    Sign(#[from] SignBundleError),
    /// The hash tree cannot be made.
    #[error("cannot build the hash tree")]
    Tree(#[source] PayloadError),
    /// Only crypt bundles can be encrypted.
    #[error(
        "recipients are given, but a bundle of the format {format} is not encrypted; use the format crypt"
    )]
    NothingToEncrypt {
        /// Which.
        format: &'static str,
    },
    /// The payload is too small for a tree.
    #[error("the payload has {len} bytes, which is too small or no multiple of {BLOCK_SIZE}")]
    PayloadSize {
        /// Its size.
        len: u64,
    },
    /// The payload is too large for the plain format.
    #[error(
        "the payload has {len} bytes; a plain bundle may have {MAX_PLAIN_PAYLOAD_SIZE} at most, use the format verity"
    )]
    PlainTooLarge {
        /// Its size.
        len: u64,
    },
}

/// What was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Bytes of the whole bundle.
    pub size: u64,
    /// The manifest as it was (or is to be) signed.
    pub manifest: Manifest,
    /// SHA-256 of that manifest.
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
    let signer = Signer::load(request)?;
    for warning in signer.iter().map(|signer| signer.identity.warnings()) {
        warning?.iter().for_each(|text| observer.warn(text));
    }
    mksquashfs::check_program()?;
    let mut output = Output::create(&request.output.path, request.output.overwrite)?;

    observer.step("hashing images");
    let mut gathered = content::gather(request, observer)?;

    observer.step("packing the payload");
    mksquashfs::pack(&gathered, output.temporary_path(), &request.pack)?;

    let payload = pad(&mut output)?;
    let salt = request.salt.bytes(&gathered.manifest);
    match request.format {
        Format::Plain if payload > MAX_PLAIN_PAYLOAD_SIZE => {
            return Err(CreateError::PlainTooLarge { len: payload });
        }
        Format::Plain => {}
        Format::Verity => {
            gathered.manifest.bundle.verity = Some(append_tree(&mut output, &salt, observer)?);
        }
        Format::Crypt => {
            observer.step("encrypting the payload");
            let key = CryptKey(request.crypt_key);
            encrypt_payload(&mut output, payload, &key, observer)?;
            gathered.manifest.bundle.crypt_key = Some(key);
            gathered.manifest.bundle.verity = Some(append_tree(&mut output, &salt, observer)?);
        }
    }
    let manifest = gathered.manifest.to_bytes();
    match signer {
        Some(signer) => signer.sign(output, &manifest, observer),
        None => {
            append_signature(&mut output, &manifest)?;
            let size = payload_len(&mut output)?;
            output.finish()?;
            let manifest_hash = Digest::of(&manifest);
            Ok(Created {
                size,
                manifest: gathered.manifest,
                manifest_hash,
            })
        }
    }
}

/// Everything that signing needs, read before any work is done.
struct Signer {
    identity: Identity,
    time: i64,
    keyring: Option<Trust>,
    recipients: Option<Recipients>,
}

impl Signer {
    fn load(request: &CreateRequest) -> Result<Option<Self>, CreateError> {
        let Signature::By {
            key,
            time,
            keyring,
            recipients,
        } = &request.signature
        else {
            return Ok(None);
        };
        if !recipients.is_empty() && request.format != Format::Crypt {
            return Err(CreateError::NothingToEncrypt {
                format: request.format.name(),
            });
        }
        let recipients = if recipients.is_empty() {
            None
        } else {
            Some(Recipients::load(recipients)?)
        };
        Ok(Some(Self {
            identity: Identity::load(key)?,
            time: *time,
            keyring: keyring.clone(),
            recipients,
        }))
    }

    fn sign(
        &self,
        output: Output,
        manifest: &[u8],
        observer: &mut dyn Observer,
    ) -> Result<Created, CreateError> {
        let signing = Signing {
            signer: &self.identity,
            time: self.time,
            keyring: self.keyring.as_ref(),
            recipients: self.recipients.as_ref(),
        };
        let signed = unsigned::finish(output, manifest, &signing, observer)?;
        Ok(Created {
            size: signed.size,
            manifest: signed.manifest,
            manifest_hash: signed.manifest_hash,
        })
    }
}

fn payload_len(output: &mut Output) -> Result<u64, OutputError> {
    let len = output.file().seek(SeekFrom::End(0));
    len.map_err(|error| output.failed(error))
}

/// A tree needs two blocks of data at least; zeros behind a squashfs mean nothing.
fn pad(output: &mut Output) -> Result<u64, OutputError> {
    let len = payload_len(output)?;
    if len > BLOCK_SIZE {
        return Ok(len);
    }
    output.truncate(2 * BLOCK_SIZE)?;
    Ok(2 * BLOCK_SIZE)
}

fn append_tree(
    output: &mut Output,
    salt: &[u8; 32],
    observer: &mut dyn Observer,
) -> Result<VeritySpec, CreateError> {
    observer.step("building the hash tree");
    let path = output.temporary_path().to_owned();
    let payload = FileReader::open(&path).map_err(|error| output.failed(error))?;
    let len = payload.len();
    if !len.is_multiple_of(BLOCK_SIZE) || len <= BLOCK_SIZE {
        return Err(CreateError::PayloadSize { len });
    }
    let tree = build_tree(&payload, len, salt, &mut |done, total| {
        observer.progress(done, total);
    });
    let tree = tree.map_err(CreateError::Tree)?;
    append(output, &tree.bytes)?;
    Ok(VeritySpec {
        root: tree.root,
        salt: *salt,
        size: tree.bytes.len() as u64,
    })
}

/// In place: until the output has its name, nobody else sees it.
fn encrypt_payload(
    output: &mut Output,
    len: u64,
    key: &CryptKey,
    observer: &mut dyn Observer,
) -> Result<(), CreateError> {
    if !len.is_multiple_of(BLOCK_SIZE) {
        return Err(CreateError::PayloadSize { len });
    }
    let mut buffer = vec![0; CRYPT_RUN];
    let mut offset = 0;
    while offset < len {
        // At most CRYPT_RUN.
        let run = usize::try_from(len - offset)
            .unwrap_or(CRYPT_RUN)
            .min(CRYPT_RUN);
        let run = &mut buffer[..run];
        let mut convert = |file: &mut std::fs::File| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(run)?;
            crypt::encrypt(key, run, offset)?;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(run)
        };
        let converted = convert(output.file());
        converted.map_err(|error| output.failed(error))?;
        offset += run.len() as u64;
        observer.progress(offset, len);
    }
    Ok(())
}
