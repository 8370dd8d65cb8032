//! A pack as a store of chunks.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use thiserror::Error;

use super::file::{Pack, Place};
use super::runs::{RunRule, runs};
use crate::blob::Blob;
use crate::chunk::ChunkId;
use crate::codec::StoredForm;
use crate::store::{ChunkStore, Recent, StoreError};

/// Runs that are kept: threads that work on neighbouring chunks are at most two apart.
const KEPT: usize = 4;

/// Gives the chunks of a pack, and reads those that are wanted together together.
pub struct PackStore<'a> {
    name: String,
    pack: &'a Pack,
    file: &'a dyn Blob,
    runs: Vec<Range<u64>>,
    recent: Recent<Vec<u8>, io::Error>,
}

/// A run could not be read. Several chunks may be told.
#[derive(Debug, Error)]
#[error("cannot read bytes {} to {} of the pack", run.start, run.end)]
struct BadRun {
    run: Range<u64>,
    source: Arc<io::Error>,
}

impl<'a> PackStore<'a> {
    /// The store of `pack`, whose file is `file`; `wanted` are the chunks that will be asked for, as
    /// far as they are known. In messages it is called `name`.
    pub fn new(
        name: impl Into<String>,
        (pack, file): (&'a Pack, &'a dyn Blob),
        wanted: impl Iterator<Item = ChunkId>,
        rule: &RunRule,
    ) -> Self {
        let wanted = wanted.filter_map(|id| pack.places.get(&id)).map(range_of);
        Self {
            name: name.into(),
            pack,
            file,
            runs: runs(wanted.collect(), rule),
            recent: Recent::new(KEPT),
        }
    }

    /// What these requests fetch, in the order of the file.
    #[must_use]
    pub fn runs(&self) -> &[Range<u64>] {
        &self.runs
    }

    /// Requests that it takes to get all that is wanted.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.runs.len()
    }

    /// Bytes that these requests fetch.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    fn read(&self, range: &Range<u64>) -> io::Result<Vec<u8>> {
        let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(range.start, &mut bytes)?;
        Ok(bytes)
    }
}

impl ChunkStore for PackStore<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn get(
        &self,
        id: &ChunkId,
        max_len: u64,
        into: &mut Vec<u8>,
    ) -> Result<StoredForm, StoreError> {
        let place = self.pack.places.get(id).ok_or(StoreError::Missing)?;
        if u64::from(place.len) > max_len {
            return Err(StoreError::TooLong { max: max_len });
        }
        let wanted = range_of(place);
        let number = self.runs.partition_point(|run| run.end < wanted.end);
        let run = self
            .runs
            .get(number)
            .filter(|run| run.start <= wanted.start);
        let (run, bytes) = match run {
            Some(run) => (run, self.recent.get_or_make(number, || self.read(run))),
            None => (&wanted, self.read(&wanted).map(Arc::new).map_err(Arc::new)),
        };
        let bytes = bytes.map_err(|source| {
            let run = run.clone();
            StoreError::Unreadable(Box::new(BadRun { run, source }))
        })?;
        let at = |offset: u64| usize::try_from(offset - run.start).ok();
        let part = at(wanted.start).zip(at(wanted.end));
        let part = part.and_then(|(start, end)| bytes.get(start..end));
        into.clear();
        into.extend_from_slice(part.ok_or(StoreError::Missing)?);
        Ok(place.form)
    }
}

fn range_of(place: &Place) -> Range<u64> {
    place.start..place.start + u64::from(place.len)
}
