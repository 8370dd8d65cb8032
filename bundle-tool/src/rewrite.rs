//! A bundle with the same payload and another signature.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bundle_format::container::trailer;
use bundle_format::limits::DEFAULT_MAX_SIGNATURE_SIZE;

use crate::output::{Output, OutputError, Overwrite};

/// Why a bundle cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// The input cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The input became shorter while it was copied.
    #[error("{path} became shorter while it was copied", path = path.display())]
    Shrunk {
        /// Which.
        path: PathBuf,
    },
    /// The signature is larger than devices accept.
    #[error(
        "the signature would have {size} bytes, more than the {DEFAULT_MAX_SIGNATURE_SIZE} that devices accept by default: the manifest, the certificates or the recipients are too many"
    )]
    SignatureTooLarge {
        /// Its size.
        size: usize,
    },
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Output(#[from] OutputError),
}

/// Where a new bundle goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The file to create.
    pub path: PathBuf,
    /// What to do if it is there already.
    pub overwrite: Overwrite,
}

/// Starts a new bundle with the first `payload` bytes of `source`.
///
/// # Errors
/// Reading or writing fails.
pub fn copy_payload(source: &Path, payload: u64, target: &Target) -> Result<Output, RewriteError> {
    let read = |error| RewriteError::Read {
        path: source.to_owned(),
        source: error,
    };
    let mut output = Output::create(&target.path, target.overwrite)?;
    let mut input = File::open(source).map_err(read)?.take(payload);
    let copied = io::copy(&mut input, output.file()).map_err(|error| output.failed(error))?;
    if copied != payload {
        return Err(RewriteError::Shrunk {
            path: source.to_owned(),
        });
    }
    Ok(output)
}

/// Ends a bundle with its signature and the trailer.
///
/// # Errors
/// The signature is too large, or writing fails.
pub fn append_signature(output: &mut Output, signature: &[u8]) -> Result<(), RewriteError> {
    if signature.len() as u64 > DEFAULT_MAX_SIGNATURE_SIZE {
        return Err(RewriteError::SignatureTooLarge {
            size: signature.len(),
        });
    }
    append(output, signature)?;
    append(output, &trailer(signature.len()))?;
    Ok(())
}

/// Appends bytes to a bundle in the making.
///
/// # Errors
/// Writing fails.
pub fn append(output: &mut Output, bytes: &[u8]) -> Result<(), OutputError> {
    let file = output.file();
    let written = file
        .seek(SeekFrom::End(0))
        .and_then(|_| file.write_all(bytes));
    written.map_err(|error| output.failed(error))
}
