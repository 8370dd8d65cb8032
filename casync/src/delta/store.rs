//! A delta and its base image as a store of chunks.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use thiserror::Error;

use super::decode::{PieceError, decode};
use super::file::Delta;
use super::tools::Toolbox;
use crate::blob::Blob;
use crate::chunk::ChunkId;
use crate::chunker::widen;
use crate::codec::StoredForm;
use crate::index::IndexChunk;
use crate::store::{ChunkStore, Recent, StoreError};

/// Pieces that are kept: a chunk and its neighbours on other threads share some.
const KEPT: usize = 8;

/// Gives the chunks that a delta has pieces for.
pub struct DeltaStore<'a> {
    name: String,
    delta: &'a Delta,
    file: &'a dyn Blob,
    base: &'a dyn Blob,
    chunks: BTreeMap<ChunkId, IndexChunk>,
    recent: Recent<Vec<u8>, PieceError>,
    toolbox: Toolbox,
}

/// A piece, and what was wrong with it. Several chunks may be told.
#[derive(Debug, Error)]
#[error("piece {number} of the delta, for byte {start} of the image, is no use")]
struct BadPiece {
    number: usize,
    start: u64,
    source: Arc<PieceError>,
}

impl<'a> DeltaStore<'a> {
    /// The store of `delta`, whose file is `file`, on top of the image `base`. In messages it is
    /// called `name`. It makes one piece at a time.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        delta: &'a Delta,
        file: &'a dyn Blob,
        base: &'a dyn Blob,
    ) -> Self {
        let mut chunks = BTreeMap::new();
        for chunk in delta.index().chunks() {
            // Pieces are made for the first place that a chunk is in.
            chunks.entry(chunk.id).or_insert(*chunk);
        }
        Self {
            name: name.into(),
            delta,
            file,
            base,
            chunks,
            recent: Recent::new(KEPT),
            toolbox: Toolbox::new(NonZeroUsize::MIN),
        }
    }

    /// Makes so many pieces at a time; more than there are processors take memory and no less time.
    #[must_use]
    pub fn with_workers(self, workers: NonZeroUsize) -> Self {
        Self {
            toolbox: Toolbox::new(workers),
            ..self
        }
    }

    /// Gives these chunks only.
    #[must_use]
    pub fn only(mut self, chunks: &[IndexChunk]) -> Self {
        let wanted: BTreeSet<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
        self.chunks.retain(|id, _| wanted.contains(id));
        self
    }

    fn make(&self, number: usize) -> Result<Vec<u8>, PieceError> {
        let piece = &self.delta.pieces[number];
        let mut data = vec![0; widen(piece.data_len)];
        let offset = self.delta.data_offset.saturating_add(piece.data_start);
        self.file
            .read_exact_at(offset, &mut data)
            .map_err(PieceError::Data)?;
        self.toolbox
            .with(|tools| decode(piece, data, self.base, tools))
    }

    /// Appends what piece `number` has of the chunk, from `at` on.
    fn append(
        &self,
        number: usize,
        (at, end): (u64, u64),
        into: &mut Vec<u8>,
    ) -> Result<u64, StoreError> {
        let piece = self.delta.pieces.get(number).ok_or(StoreError::Missing)?;
        if piece.start > at {
            return Err(StoreError::Missing);
        }
        let made = self.recent.get_or_make(number, || self.make(number));
        let bytes = made.map_err(|source| {
            let start = piece.start;
            StoreError::Unreadable(Box::new(BadPiece {
                number,
                start,
                source,
            }))
        })?;
        let until = end.min(piece.end());
        let place = |offset: u64| usize::try_from(offset - piece.start).ok();
        let part = place(at)
            .zip(place(until))
            .and_then(|(a, b)| bytes.get(a..b));
        into.extend_from_slice(part.ok_or(StoreError::Missing)?);
        Ok(until)
    }
}

impl ChunkStore for DeltaStore<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn get(
        &self,
        id: &ChunkId,
        max_len: u64,
        into: &mut Vec<u8>,
    ) -> Result<StoredForm, StoreError> {
        let chunk = self.chunks.get(id).ok_or(StoreError::Missing)?;
        if u64::from(chunk.len) > max_len {
            return Err(StoreError::TooLong { max: max_len });
        }
        into.clear();
        let mut at = chunk.start;
        let mut number = self.delta.pieces.partition_point(|piece| piece.end() <= at);
        while at < chunk.end() {
            at = self.append(number, (at, chunk.end()), into)?;
            number += 1;
        }
        Ok(StoredForm::Raw)
    }
}
