//! The outermost layer: payload, signature, and eight bytes that say how long the signature is.
//!
//! ```text
//! [payload][CMS, DER][u64 big-endian: length of the CMS in bytes]
//! ```

use std::io;

use crate::limits::{CEILING_SIGNATURE_SIZE, Limits, MAX_PAYLOAD_SIZE, TRAILER_SIZE};
use crate::read_at::ReadAt;

/// Why a file is no bundle at all.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// It cannot even hold a trailer.
    #[error(
        "the file has {len} bytes: too short for a bundle, which ends with an {TRAILER_SIZE}-byte trailer"
    )]
    TooShort {
        /// Bytes in the file.
        len: u64,
    },
    /// It is larger than any bundle may be.
    #[error("the file has {len} bytes, more than the limit of {MAX_PAYLOAD_SIZE}")]
    TooLarge {
        /// Bytes in the file.
        len: u64,
    },
    /// The trailer says that there is no signature.
    #[error("trailer at byte {offset} says the signature has 0 bytes: the bundle is not signed")]
    NoSignature {
        /// Where the trailer starts.
        offset: u64,
    },
    /// The trailer promises more than is allowed.
    #[error(
        "trailer at byte {offset} says the signature has {size} bytes, more than the limit of \
         {limit}: not a bundle, a damaged one, or one that needs a larger max-bundle-signature-size"
    )]
    SignatureTooLarge {
        /// Where the trailer starts.
        offset: u64,
        /// What it says.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The trailer promises more than the file holds.
    #[error(
        "trailer at byte {offset} says the signature has {size} bytes, but only {offset} bytes \
         come before it: the file is cut off or damaged"
    )]
    SignatureBeyondStart {
        /// Where the trailer starts.
        offset: u64,
        /// What it says.
        size: u64,
    },
    /// Nothing is left for the payload.
    #[error("the signature of {size} bytes fills the whole file: there is no payload")]
    NoPayload {
        /// Bytes of the signature.
        size: u64,
    },
    /// The source failed.
    #[error("cannot read {len} bytes at byte {offset}")]
    Read {
        /// Where reading began.
        offset: u64,
        /// How much was wanted.
        len: u64,
        /// What the source said.
        source: io::Error,
    },
}

/// Where the parts of a bundle lie, and the signature itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Bytes before the signature; the payload starts at 0.
    pub payload_len: u64,
    /// The CMS structure as it stands in the file. Not checked in any way.
    pub signature: Vec<u8>,
}

impl Container {
    /// Reads trailer and signature.
    ///
    /// # Errors
    /// Sizes that are zero, beyond the limit or beyond the file, and what the source reports.
    pub fn read(source: &impl ReadAt, limits: &Limits) -> Result<Self, ContainerError> {
        let len = source.len();
        if len < TRAILER_SIZE {
            return Err(ContainerError::TooShort { len });
        }
        if len > MAX_PAYLOAD_SIZE {
            return Err(ContainerError::TooLarge { len });
        }
        let offset = len - TRAILER_SIZE;
        let mut trailer = [0; 8];
        read(source, &mut trailer, offset)?;
        let size = u64::from_be_bytes(trailer);
        let payload_len = check_size(size, offset, limits)?;
        // At most CEILING_SIGNATURE_SIZE, so it fits a usize on every machine.
        let mut signature = vec![0; usize::try_from(size).unwrap_or(0)];
        read(source, &mut signature, payload_len)?;
        Ok(Self {
            payload_len,
            signature,
        })
    }
}

/// The trailer for a signature of `len` bytes.
pub fn trailer(len: usize) -> [u8; 8] {
    (len as u64).to_be_bytes()
}

/// Where the signature starts, which is also the length of the payload.
fn check_size(size: u64, offset: u64, limits: &Limits) -> Result<u64, ContainerError> {
    let limit = limits.max_signature_size.min(CEILING_SIGNATURE_SIZE);
    if size == 0 {
        return Err(ContainerError::NoSignature { offset });
    }
    if size > limit {
        return Err(ContainerError::SignatureTooLarge {
            offset,
            size,
            limit,
        });
    }
    match offset.checked_sub(size) {
        None => Err(ContainerError::SignatureBeyondStart { offset, size }),
        Some(0) => Err(ContainerError::NoPayload { size }),
        Some(payload_len) => Ok(payload_len),
    }
}

fn read(source: &impl ReadAt, buf: &mut [u8], offset: u64) -> Result<(), ContainerError> {
    let len = buf.len() as u64;
    source
        .read_exact_at(buf, offset)
        .map_err(|source| ContainerError::Read {
            offset,
            len,
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(bytes: &[u8]) -> Result<Container, ContainerError> {
        Container::read(&bytes, &Limits::default())
    }

    fn with_trailer(before: &[u8], size: u64) -> Vec<u8> {
        [before, &size.to_be_bytes()].concat()
    }

    #[test]
    fn the_parts_are_found() {
        let found = container(&with_trailer(b"payloadCMS", 3)).unwrap();
        assert_eq!(
            found,
            Container {
                payload_len: 7,
                signature: b"CMS".to_vec()
            }
        );
    }

    #[test]
    fn every_wrong_size_has_its_own_error() {
        let text = |bytes: &[u8]| container(bytes).unwrap_err().to_string();
        assert!(text(b"").contains("0 bytes: too short"));
        assert!(text(&[0; 7]).contains("7 bytes: too short"));
        assert!(text(&[0; 8]).contains("not signed"));
        assert!(text(&with_trailer(b"abc", 0)).contains("trailer at byte 3"));
        assert!(text(&with_trailer(b"abc", 4)).contains("only 3 bytes"));
        assert!(text(&with_trailer(b"abc", 3)).contains("no payload"));
        assert!(text(&with_trailer(b"abc", u64::MAX)).contains("limit of 65536"));
        assert!(text(&with_trailer(b"abc", 65537)).contains("limit of 65536"));
    }

    #[test]
    fn no_setting_allows_unbounded_memory() {
        let limits = Limits {
            max_signature_size: u64::MAX,
        };
        let bytes = with_trailer(b"abc", u64::MAX);
        let error = Container::read(&bytes, &limits).unwrap_err();
        assert!(matches!(error, ContainerError::SignatureTooLarge { .. }));
    }
}
