//! The index of the adaptive method `block-hash-index`: a digest for every 4096 bytes of an image.
//!
//! It lies beside the image in the payload as `<image>.block-hash-index`: the raw SHA-256 digests
//! one after the other, without header and without salt. A device that has some of the blocks
//! already reads only the others from the bundle.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::limits::{BLOCK_SIZE, MAX_INDEX_BLOCKS};
use crate::parallel;
use crate::read_at::ReadAt;

/// Name of the method in the manifest's `adaptive=`.
pub const METHOD: &str = "block-hash-index";

/// Bytes of a digest.
const DIGEST: usize = 32;

/// Blocks that one job hashes (2 MiB).
const JOB_BLOCKS: usize = 512;

/// Digests that are read at once.
const RUN: usize = 1024;

/// Why there is no index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The image cannot be cut into blocks.
    #[error(
        "the image has {size} bytes, which is not a multiple of {BLOCK_SIZE}: the method {METHOD} needs that"
    )]
    Unaligned {
        /// Its size.
        size: u64,
    },
    /// The image is larger than the method allows.
    #[error(
        "the image has {size} bytes, more than the {MAX_INDEX_BLOCKS} blocks that the method {METHOD} allows"
    )]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// The index belongs to another image.
    #[error("the index has {found} bytes, but an image of {size} bytes needs {expected}")]
    Length {
        /// Bytes of the image.
        size: u64,
        /// Bytes that the index should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Reading fails.
    #[error("cannot read the image or its index")]
    Read(#[from] io::Error),
}

/// The digests of all blocks of an image, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHashIndex(Vec<Digest>);

/// Name of the index file for an image file.
pub fn file_name(image: &str) -> String {
    format!("{image}.{METHOD}")
}

impl BlockHashIndex {
    /// Hashes an image, on all cores.
    ///
    /// # Errors
    /// Its length does not fit the method, or it cannot be read.
    pub fn build(image: &impl ReadAt) -> Result<Self, IndexError> {
        let blocks = block_count(image.len())?;
        let mut digests = vec![Digest::from_bytes([0; DIGEST]); blocks];
        let starts = (0u64..).step_by(JOB_BLOCKS).map(|block| block * BLOCK_SIZE);
        let jobs = starts.zip(digests.chunks_mut(JOB_BLOCKS));
        let work = |buffer: &mut Vec<u8>, (offset, digests): (u64, &mut [Digest])| {
            buffer.resize(digests.len() * 4096, 0);
            image.read_exact_at(buffer, offset)?;
            for (block, digest) in buffer.chunks_exact(4096).zip(digests) {
                *digest = Digest::from_bytes(Sha256::digest(block).into());
            }
            Ok::<_, io::Error>(0)
        };
        parallel::run(jobs, work, &mut |_| {})?;
        Ok(Self(digests))
    }

    /// Reads the index file (of `len` bytes) of an image of `size` bytes.
    ///
    /// # Errors
    /// The lengths do not fit each other, or reading fails.
    pub fn read(mut index: impl Read, len: u64, size: u64) -> Result<Self, IndexError> {
        let mut left = block_count(size)?;
        let expected = left as u64 * DIGEST as u64;
        if len != expected {
            return Err(IndexError::Length {
                size,
                expected,
                found: len,
            });
        }
        // Memory grows with what is really there, not with what the sizes promise.
        let mut digests = Vec::new();
        let mut run = [0; RUN * DIGEST];
        while left > 0 {
            let run = &mut run[..left.min(RUN) * DIGEST];
            index.read_exact(run)?;
            let found = run
                .as_chunks::<DIGEST>()
                .0
                .iter()
                .map(|bytes| Digest::from_bytes(*bytes));
            digests.extend(found);
            left -= run.len() / DIGEST;
        }
        Ok(Self(digests))
    }

    /// The index file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|digest| *digest.as_bytes())
            .collect()
    }

    /// The digests, one per block.
    pub fn digests(&self) -> &[Digest] {
        &self.0
    }
}

fn block_count(size: u64) -> Result<usize, IndexError> {
    if !size.is_multiple_of(BLOCK_SIZE) {
        return Err(IndexError::Unaligned { size });
    }
    match usize::try_from(size / BLOCK_SIZE) {
        Ok(blocks) if blocks as u64 <= MAX_INDEX_BLOCKS => Ok(blocks),
        _ => Err(IndexError::TooLarge { size }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_comes_back() {
        for blocks in [0usize, 1, 511, 513, 1500] {
            let image: Vec<u8> = (0..blocks * 512)
                .flat_map(|n| (n as u64).to_le_bytes())
                .collect();
            let index = BlockHashIndex::build(&image).unwrap();
            let digests: Vec<_> = image.chunks(4096).map(Digest::of).collect();
            assert_eq!(index.digests(), digests);
            let bytes = index.to_bytes();
            let len = bytes.len() as u64;
            let again = BlockHashIndex::read(bytes.as_slice(), len, image.len() as u64).unwrap();
            assert_eq!(again, index);
        }
    }

    #[test]
    fn lengths_have_to_fit() {
        let error = |len, size| {
            let bytes = vec![0; 64];
            BlockHashIndex::read(bytes.as_slice(), len, size)
                .unwrap_err()
                .to_string()
        };
        assert!(error(64, 8193).contains("not a multiple of 4096"));
        assert!(error(64, 4096).contains("has 64 bytes, but an image of 4096 bytes needs 32"));
        assert!(
            error(96, 3 * 4096).contains("cannot read"),
            "the file is shorter than it says"
        );
        assert!(error(64, 1 << 60).contains("more than the"));
        assert!(BlockHashIndex::build(&vec![0u8; 100]).is_err());
    }

    #[test]
    fn a_block_of_zeros_has_the_known_digest() {
        let index = BlockHashIndex::build(&vec![0u8; 4096]).unwrap();
        let zeros = "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7";
        assert_eq!(index.digests()[0].to_string(), zeros);
    }
}
