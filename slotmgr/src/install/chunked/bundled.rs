//! The blocks of an image in the bundle as a store of chunks.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bundle_format::{ImageReader, ReadAt};
use casync::chunk::ChunkId;
use casync::codec::StoredForm;
use casync::index::Index;
use casync::store::{ChunkStore, StoreError};

/// Gives the blocks of an image out of the bundle. It is quick for those that stand in a row.
pub(super) struct BundledBlocks<'b, R: ReadAt> {
    places: BTreeMap<ChunkId, Range<u64>>,
    /// Parts of the image that will be asked for, ascending.
    runs: Vec<Range<u64>>,
    content: Mutex<Content<'b, R>>,
}

struct Content<'b, R: ReadAt> {
    reader: ImageReader<'b, R>,
    /// What the reader gives if it is read on.
    next: Range<u64>,
}

impl<'b, R: ReadAt> BundledBlocks<'b, R> {
    /// `wanted` are the chunks that will be asked for, in runs.
    pub(super) fn new(
        reader: ImageReader<'b, R>,
        index: &Index,
        wanted: impl Iterator<Item = Range<usize>>,
    ) -> Self {
        let mut places = BTreeMap::new();
        let mut runs = Vec::new();
        for run in wanted {
            let chunks = index.chunks().get(run).unwrap_or_default();
            if let (Some(first), Some(last)) = (chunks.first(), chunks.last()) {
                runs.push(first.start..last.end());
            }
            for chunk in chunks {
                places.entry(chunk.id).or_insert(chunk.range());
            }
        }
        // What falls through was not planned for.
        for chunk in index.chunks() {
            places.entry(chunk.id).or_insert(chunk.range());
        }
        reader.expect(&runs);
        Self {
            places,
            runs,
            content: Mutex::new(Content { reader, next: 0..0 }),
        }
    }

    /// Bytes of the image that are wanted.
    pub(super) fn wanted(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }
}

impl<R: ReadAt> ChunkStore for BundledBlocks<'_, R> {
    fn name(&self) -> &'static str {
        "the bundle"
    }

    fn get(
        &self,
        id: &ChunkId,
        max_len: u64,
        into: &mut Vec<u8>,
    ) -> Result<StoredForm, StoreError> {
        let place = self.places.get(id).ok_or(StoreError::Missing)?;
        let len = place.end - place.start;
        if len > max_len {
            return Err(StoreError::TooLong { max: max_len });
        }
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if content.next.start != place.start || content.next.end < place.end {
            let mut runs = self.runs.iter();
            let run = runs.find(|run| run.start <= place.start && place.end <= run.end);
            let end = run.map_or(place.end, |run| run.end);
            content.reader.restrict(place.start..end);
            content.next = place.start..end;
        }
        into.clear();
        let mut part = content.reader.by_ref().take(len);
        let read = part.read_to_end(into);
        content.next.start = match read {
            Ok(count) if count as u64 == len => place.end,
            // Nothing is known of where the reader stands.
            _ => u64::MAX,
        };
        match read {
            Ok(count) if count as u64 == len => Ok(StoredForm::Raw),
            Ok(_) => Err(StoreError::Missing),
            Err(error) => Err(StoreError::Unreadable(Box::new(error))),
        }
    }
}
