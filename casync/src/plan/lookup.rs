//! Chunks of an index by id.

use crate::chunk::ChunkId;
use crate::index::Index;

/// An index with its chunk numbers sorted by id: 8 bytes a chunk beside the index.
pub(super) struct Lookup<'a> {
    index: &'a Index,
    by_id: Vec<usize>,
}

/// A chunk that was found.
pub(super) struct Found {
    pub(super) number: usize,
    pub(super) start: u64,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        let mut by_id: Vec<usize> = (0..index.len()).collect();
        let chunks = index.chunks();
        by_id.sort_unstable_by_key(|n| (chunks[*n].id, *n));
        Self { index, by_id }
    }

    pub(super) fn index(&self) -> &'a Index {
        self.index
    }

    /// The first chunk with this id.
    pub(super) fn find(&self, id: &ChunkId) -> Option<Found> {
        let chunks = self.index.chunks();
        let at = self.by_id.partition_point(|n| chunks[*n].id < *id);
        let number = *self.by_id.get(at)?;
        let chunk = chunks[number];
        (chunk.id == *id).then_some(Found {
            number,
            start: chunk.start,
        })
    }
}
