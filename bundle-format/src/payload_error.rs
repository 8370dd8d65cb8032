//! What can be wrong with the payload of a bundle whose signature is good.

use std::io;

use crate::digest::Digest;
use crate::squashfs::SquashfsError;

/// Payload, hash tree or squashfs do not hold what the signed manifest promises.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The source failed.
    #[error("cannot read the bundle at byte {offset}")]
    Read {
        /// Where reading began.
        offset: u64,
        /// What the source said.
        source: io::Error,
    },
    /// A data block was changed.
    #[error(
        "payload block {block} (byte offset {offset}) does not match the signed hash tree: the bundle is damaged or was tampered with"
    )]
    DataBlock {
        /// Block, counted from 0.
        block: u64,
        /// Where it starts.
        offset: u64,
    },
    /// A block of the tree was changed.
    #[error(
        "hash tree block {block} (byte offset {offset}) does not match the block above it: the bundle is damaged or was tampered with"
    )]
    TreeBlock {
        /// Block, counted from the start of the tree.
        block: u64,
        /// Where it starts.
        offset: u64,
    },
    /// The top of the tree was changed, or the tree belongs to another manifest.
    #[error(
        "the top block of the hash tree (byte offset {offset}) has the digest {found}, but the signed manifest says {expected}: the bundle is damaged or was tampered with"
    )]
    TreeRoot {
        /// Where it starts.
        offset: u64,
        /// What was signed.
        expected: Digest,
        /// What the block gives.
        found: Digest,
    },
    /// A plain payload is not what it was when its signature was checked.
    #[error(
        "the payload (byte offset {offset}) changed after its signature was checked: another program writes to the bundle"
    )]
    Changed {
        /// Where the piece starts.
        offset: u64,
    },
    /// Nothing to build a tree over.
    #[error("the payload is empty")]
    Empty,
    /// The payload does not fit this machine.
    #[error("a payload of {len} bytes is too large for this machine")]
    TooLarge {
        /// Its size.
        len: u64,
    },
    /// The payload cannot be read as squashfs.
    #[error(transparent)]
    Squashfs(#[from] SquashfsError),
    /// The manifest in a plain payload is larger than any manifest.
    #[error("manifest.raucm in the payload has {size} bytes: too large for a manifest")]
    ManifestTooLarge {
        /// Its size.
        size: u64,
    },
    /// An image is not of the size that the manifest says.
    #[error("image {name} has {found} bytes, but the signed manifest says {expected}")]
    ImageSize {
        /// File name.
        name: String,
        /// What was signed.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// An image is not the one that the manifest says.
    #[error("image {name} has the digest {found}, but the signed manifest says {expected}")]
    ImageDigest {
        /// File name.
        name: String,
        /// What was signed.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
}

impl PayloadError {
    /// What a read at `offset` reported; a payload error that came through a reader is itself.
    pub fn from_io(offset: u64, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(payload) => payload,
            Err(source) => Self::Read { offset, source },
        }
    }

    pub(crate) fn read(offset: u64, error: io::Error) -> Self {
        Self::from_io(offset, error)
    }
}

impl From<PayloadError> for io::Error {
    fn from(error: PayloadError) -> Self {
        let kind = match &error {
            PayloadError::Read { source, .. } => source.kind(),
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
