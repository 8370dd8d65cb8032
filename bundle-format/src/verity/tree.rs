//! Reading the tree's own blocks, each checked against the one above before it is used.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BLOCK, BlockHasher, DIGEST, FANOUT, Geometry};
use crate::digest::Digest;
use crate::limits::BLOCK_SIZE;
use crate::payload_error::PayloadError;
use crate::read_at::{ReadAt, widened};

/// Tree blocks that are read, checked and kept together.
const RUN: u64 = 16;

/// Runs kept per level; with six levels at most this bounds the cache to 1.5 MiB.
const WAYS: usize = 4;

/// The tree of one payload.
pub(super) struct Tree {
    geometry: Geometry,
    /// Byte offset of the tree in the source.
    offset: u64,
    root: Digest,
    hasher: BlockHasher,
    /// Per level, most recently used first.
    cache: Mutex<Vec<Vec<Run>>>,
}

#[derive(Clone)]
struct Run {
    /// First block of the run, counted within its level.
    first: u64,
    bytes: Arc<[u8]>,
}

/// One checked tree block.
pub(super) struct TreeBlock {
    bytes: Arc<[u8]>,
    start: usize,
}

impl TreeBlock {
    /// The digest of child `index` of this block.
    pub(super) fn digest(&self, index: u64) -> &[u8] {
        let index = usize::try_from(index % FANOUT).unwrap_or(0);
        let start = self.start + index * DIGEST;
        &self.bytes[start..start + DIGEST]
    }
}

impl Tree {
    pub(super) fn new(data_blocks: u64, offset: u64, root: Digest, hasher: BlockHasher) -> Self {
        let geometry = Geometry::new(data_blocks);
        let cache = Mutex::new(vec![Vec::new(); geometry.levels.len()]);
        Self {
            geometry,
            offset,
            root,
            hasher,
            cache,
        }
    }

    pub(super) fn hasher(&self) -> &BlockHasher {
        &self.hasher
    }

    /// Where in the source the tree blocks are that are read for these ranges of data.
    pub(super) fn leaves_over(&self, data: &[Range<u64>]) -> Vec<Range<u64>> {
        let Some(place) = self.geometry.levels.first() else {
            return Vec::new();
        };
        let over = |range: &Range<u64>| {
            let covered = BLOCK_SIZE * FANOUT;
            range.start / covered..range.end.div_ceil(covered)
        };
        let blocks: Vec<_> = data.iter().map(over).collect();
        let runs = widened(&blocks, RUN).into_iter();
        let start = self.offset + place.start * BLOCK_SIZE;
        let bytes = |run: Range<u64>| {
            let end = run.end.min(place.blocks);
            start + run.start * BLOCK_SIZE..start + end * BLOCK_SIZE
        };
        runs.map(bytes).collect()
    }

    /// The checked block `index` of `level`; level 0 lies over the data.
    pub(super) fn block(
        &self,
        source: &impl ReadAt,
        level: usize,
        index: u64,
    ) -> Result<TreeBlock, PayloadError> {
        let first = index - index % RUN;
        let bytes = match self.cached(level, first) {
            Some(bytes) => bytes,
            None => self.load(source, level, first)?,
        };
        let start = usize::try_from(index - first).unwrap_or(0) * BLOCK;
        Ok(TreeBlock { bytes, start })
    }

    /// Reads and checks the run that starts at block `first` of `level`.
    fn load(
        &self,
        source: &impl ReadAt,
        level: usize,
        first: u64,
    ) -> Result<Arc<[u8]>, PayloadError> {
        let place = self.geometry.levels[level];
        let count = RUN.min(place.blocks - first);
        let offset = self.offset + (place.start + first) * BLOCK_SIZE;
        // At most RUN blocks.
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0) * BLOCK];
        source
            .read_exact_at(&mut bytes, offset)
            .map_err(|source| PayloadError::read(offset, source))?;
        for (index, block) in (first..).zip(bytes.chunks_exact(BLOCK)) {
            self.check(source, level, index, block)?;
        }
        let bytes: Arc<[u8]> = bytes.into();
        self.keep(
            level,
            Run {
                first,
                bytes: Arc::clone(&bytes),
            },
        );
        Ok(bytes)
    }

    fn check(
        &self,
        source: &impl ReadAt,
        level: usize,
        index: u64,
        block: &[u8],
    ) -> Result<(), PayloadError> {
        let found = self.hasher.hash(block);
        let offset = self.offset + (self.geometry.levels[level].start + index) * BLOCK_SIZE;
        if level + 1 == self.geometry.levels.len() {
            let expected = self.root;
            return (found == expected)
                .then_some(())
                .ok_or(PayloadError::TreeRoot {
                    offset,
                    expected,
                    found,
                });
        }
        let parent = self.block(source, level + 1, index / FANOUT)?;
        if found.as_bytes() != parent.digest(index) {
            let block = (offset - self.offset) / BLOCK_SIZE;
            return Err(PayloadError::TreeBlock { block, offset });
        }
        Ok(())
    }

    fn cached(&self, level: usize, first: u64) -> Option<Arc<[u8]>> {
        let mut cache = self.lock();
        let runs = cache.get_mut(level)?;
        let position = runs.iter().position(|run| run.first == first)?;
        let run = runs.remove(position);
        let bytes = Arc::clone(&run.bytes);
        runs.insert(0, run);
        Some(bytes)
    }

    fn keep(&self, level: usize, run: Run) {
        if let Some(runs) = self.lock().get_mut(level) {
            runs.retain(|kept| kept.first != run.first);
            runs.truncate(WAYS - 1);
            runs.insert(0, run);
        }
    }

    /// A panic elsewhere leaves only whole, checked runs behind.
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Run>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
