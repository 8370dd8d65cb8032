//! The hash tree of verity and crypt bundles: checked on every read, built for new bundles.
//!
//! It is dm-verity's version 1 without a superblock: SHA-256 over `salt || block`, 4096-byte data
//! and hash blocks, 128 digests to a hash block, the rest of a hash block zero. The levels lie one
//! after the other, the top block first and the level over the data last, directly behind the data.

mod build;
mod reader;
mod tree;

pub use build::{BuiltTree, build_tree};
pub use reader::VerityReader;

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::limits::BLOCK_SIZE;

/// A block's size where memory is meant.
pub(crate) const BLOCK: usize = 4096;

/// Digests in one hash block.
pub(crate) const FANOUT: u64 = 128;

/// Bytes of a digest.
pub(crate) const DIGEST: usize = 32;

const _: () = assert!(BLOCK as u64 == BLOCK_SIZE && FANOUT * DIGEST as u64 == BLOCK_SIZE);

/// Hashes blocks; the salt is absorbed once.
#[derive(Clone)]
pub(crate) struct BlockHasher(Sha256);

impl BlockHasher {
    pub(crate) fn new(salt: &[u8; 32]) -> Self {
        Self(Sha256::new_with_prefix(salt))
    }

    pub(crate) fn hash(&self, block: &[u8]) -> Digest {
        Digest::from_bytes(self.0.clone().chain_update(block).finalize().into())
    }
}

/// Where the levels of a tree over `data_blocks` blocks lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Index 0 is the level over the data, the last one is the top block.
    pub(crate) levels: Vec<Level>,
    /// Blocks of all levels together.
    pub(crate) blocks: u64,
}

/// One level: `start` counts blocks from the beginning of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) start: u64,
    pub(crate) blocks: u64,
}

impl Geometry {
    pub(crate) fn new(data_blocks: u64) -> Self {
        let mut sizes = vec![data_blocks.div_ceil(FANOUT)];
        while let Some(&blocks @ 2..) = sizes.last() {
            sizes.push(blocks.div_ceil(FANOUT));
        }
        let mut start = 0;
        let mut levels: Vec<_> = sizes
            .iter()
            .rev()
            .map(|&blocks| {
                let level = Level { start, blocks };
                start += blocks;
                level
            })
            .collect();
        levels.reverse();
        Self {
            levels,
            blocks: start,
        }
    }
}

/// Bytes of the tree over `data_len` bytes, which must be a multiple of the block size.
pub fn tree_size(data_len: u64) -> u64 {
    Geometry::new(data_len / BLOCK_SIZE).blocks * BLOCK_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry() {
        assert_eq!(tree_size(5 * 4096), 4096);
        assert_eq!(tree_size(128 * 4096), 4096);
        assert_eq!(tree_size(129 * 4096), 3 * 4096);
        let deep = Geometry::new(128 * 128 + 1);
        assert_eq!(deep.blocks, 1 + 2 + 129);
        assert_eq!(
            deep.levels[0],
            Level {
                start: 3,
                blocks: 129
            }
        );
        assert_eq!(
            deep.levels[2],
            Level {
                start: 0,
                blocks: 1
            }
        );
    }
}
