//! An index as references to the chunks of another one.

use std::collections::BTreeMap;

use thiserror::Error;

use super::varint::{Numbers, VarintError, put, put_signed};
use crate::chunk::ChunkId;
use crate::index::{FeatureFlags, FlagsError, Index, IndexWriteError};
use crate::limits::INDEX_CHUNKS;
use crate::sizes::{ChunkSizes, SizesError};

/// Why the new index does not come out of a delta.
#[derive(Debug, Error)]
pub enum IndexDeltaError {
    /// Not the numbers that belong there.
    #[error(transparent)]
    Number(#[from] VarintError),
    /// Feature flags that no index has.
    #[error("bad feature flags in the delta")]
    Flags(#[from] FlagsError),
    /// Chunk sizes that no index has.
    #[error("bad chunk sizes in the delta")]
    Sizes(#[from] SizesError),
    /// A chunk that no index can have.
    #[error("a chunk in the delta does not fit into an index")]
    Chunk(#[from] IndexWriteError),
    /// A reference to a chunk that the base does not have.
    #[error("the delta names chunk {0} of the base index, which has fewer")]
    NoSuchChunk(u64),
    /// More chunks than this program handles.
    #[error("the delta lists more than {INDEX_CHUNKS} chunks")]
    TooMany,
}

/// Appends `new` to `out`: its header, then runs of chunks.
///
/// A run is a count and a kind. Kind 0: the chunks follow, length and id each. Kind 1: they are in
/// the base, one after another, from the chunk behind the last run's last one, plus a difference.
pub(super) fn put_index(out: &mut Vec<u8>, new: &Index, base: &Index) {
    let sizes = new.sizes();
    put(out, new.flags().bits());
    for size in [sizes.min(), sizes.avg(), sizes.max()] {
        put(out, size.into());
    }
    put(out, number(new.len()));
    let mut places = BTreeMap::new();
    for (place, chunk) in base.chunks().iter().enumerate() {
        places.entry(chunk.id).or_insert(place);
    }
    let same = |place: usize, at: usize| {
        let (old, chunk) = (base.get(place), new.get(at));
        matches!((old, chunk), (Some(o), Some(c)) if o.id == c.id && o.len == c.len)
    };
    let (mut at, mut expected) = (0, 0);
    while at < new.len() {
        let place_of = |at: usize| {
            let found = || new.get(at).and_then(|chunk| places.get(&chunk.id)).copied();
            if same(expected, at) {
                Some(expected)
            } else {
                found().filter(|p| same(*p, at))
            }
        };
        let start = at;
        if let Some(place) = place_of(at) {
            while at < new.len() && same(place + (at - start), at) {
                at += 1;
            }
            put(out, number(at - start) << 1 | 1);
            put_signed(
                out,
                number(place).cast_signed() - number(expected).cast_signed(),
            );
            expected = place + (at - start);
        } else {
            while at < new.len() && place_of(at).is_none() {
                at += 1;
            }
            put(out, number(at - start) << 1);
            for chunk in &new.chunks()[start..at] {
                put(out, chunk.len.into());
                out.extend_from_slice(chunk.id.as_bytes());
            }
        }
    }
}

/// Reads what [`put_index`] wrote.
pub(super) fn take_index(
    numbers: &mut Numbers<'_>,
    base: &Index,
) -> Result<Index, IndexDeltaError> {
    let flags = FeatureFlags::from_bits(numbers.next()?)?;
    let (min, avg, max) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let mut index = Index::new(flags, ChunkSizes::new(min, avg, max)?);
    let count = numbers.next()?;
    if count > number(INDEX_CHUNKS) {
        return Err(IndexDeltaError::TooMany);
    }
    let mut expected = 0_u64;
    while number(index.len()) < count {
        let word = numbers.next()?;
        let run = word >> 1;
        if run == 0 || run > count - number(index.len()) {
            return Err(IndexDeltaError::TooMany);
        }
        if word & 1 == 0 {
            for _ in 0..run {
                let len = numbers.next_u32()?;
                index.push(len, ChunkId::from_bytes(numbers.array()?))?;
            }
            continue;
        }
        let place = expected.wrapping_add_signed(numbers.next_signed()?);
        expected = place.saturating_add(run);
        for place in place..expected {
            let chunk = usize::try_from(place)
                .ok()
                .and_then(|place| base.get(place));
            let chunk = chunk.ok_or(IndexDeltaError::NoSuchChunk(place))?;
            index.push(chunk.len, chunk.id)?;
        }
    }
    Ok(index)
}

fn number(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
