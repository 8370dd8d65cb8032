//! Building the tree for a new bundle.

use std::slice::ChunksMut;

use super::{BLOCK, BlockHasher, DIGEST, Geometry};
use crate::digest::Digest;
use crate::limits::BLOCK_SIZE;
use crate::parallel;
use crate::payload_error::PayloadError;
use crate::read_at::ReadAt;

/// Data blocks that one job hashes (2 MiB): their digests fill four hash blocks.
const JOB_BLOCKS: u64 = 512;

/// A finished tree, as it goes behind the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltTree {
    /// The levels, top block first.
    pub bytes: Vec<u8>,
    /// Digest of the top block.
    pub root: Digest,
}

/// Builds the tree over the first `data_len` bytes of `source` (a multiple of the block size, not
/// 0), on all cores. `progress` gets the bytes that are done and the bytes that there are.
///
/// # Errors
/// What the source reports; a payload that is too large for this machine's memory.
pub fn build_tree(
    source: &impl ReadAt,
    data_len: u64,
    salt: &[u8; 32],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BuiltTree, PayloadError> {
    let geometry = Geometry::new(data_len / BLOCK_SIZE);
    let hasher = BlockHasher::new(salt);
    let too_large = |_| PayloadError::TooLarge { len: data_len };
    let mut bytes = vec![0; usize::try_from(geometry.blocks * BLOCK_SIZE).map_err(too_large)?];
    let mut top = None;
    for (index, level) in geometry.levels.iter().enumerate() {
        let start = usize::try_from(level.start * BLOCK_SIZE).map_err(too_large)?;
        let len = usize::try_from(level.blocks * BLOCK_SIZE).map_err(too_large)?;
        // Everything from `start + len` on is the levels below, finished already.
        let (above, below) = bytes.split_at_mut(start + len);
        let digests = &mut above[start..];
        match index
            .checked_sub(1)
            .map(|below| geometry.levels[below].blocks * BLOCK_SIZE)
        {
            None => hash_data(source, data_len, &hasher, digests, progress)?,
            Some(below_len) => {
                let below = &below[..usize::try_from(below_len).map_err(too_large)?];
                hash_blocks(&hasher, below, digests);
            }
        }
        top = Some(hasher.hash(&digests[..BLOCK]));
    }
    top.map(|root| BuiltTree { bytes, root })
        .ok_or(PayloadError::Empty)
}

fn hash_data(
    source: &impl ReadAt,
    data_len: u64,
    hasher: &BlockHasher,
    digests: &mut [u8],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), PayloadError> {
    let job_digests = usize::try_from(JOB_BLOCKS).unwrap_or(1) * DIGEST;
    let jobs: std::iter::Zip<_, ChunksMut<'_, u8>> = (0u64..)
        .map(|job| job * JOB_BLOCKS * BLOCK_SIZE)
        .zip(digests.chunks_mut(job_digests));
    let work = |buffer: &mut Vec<u8>, (offset, digests): (u64, &mut [u8])| {
        let len = (JOB_BLOCKS * BLOCK_SIZE).min(data_len - offset);
        // At most JOB_BLOCKS blocks.
        buffer.resize(usize::try_from(len).unwrap_or(0), 0);
        source
            .read_exact_at(buffer, offset)
            .map_err(|source| PayloadError::read(offset, source))?;
        hash_blocks(hasher, buffer, digests);
        Ok(len)
    };
    let mut done = 0;
    progress(0, data_len);
    parallel::run(jobs, work, &mut |bytes| {
        done += bytes;
        progress(done, data_len);
    })
}

/// `digests` may be longer than needed; the rest stays zero.
fn hash_blocks(hasher: &BlockHasher, blocks: &[u8], digests: &mut [u8]) {
    for (block, digest) in blocks
        .chunks_exact(BLOCK)
        .zip(digests.chunks_exact_mut(DIGEST))
    {
        digest.copy_from_slice(hasher.hash(block).as_bytes());
    }
}
