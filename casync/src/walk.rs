//! Goes through an image by an index that exists already, and compares every chunk.
//!
//! One thread reads in order, so that the image may be a stream; others hash.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use thiserror::Error;

use crate::blob::Blob;
use crate::chunk::{CheckedChunk, HashedChunk, WrongChunk};
use crate::chunker::widen;
use crate::index::{Index, IndexChunk};
use crate::parallel::{Jobs, joined};

/// Chunks that are read ahead for each thread that hashes.
const AHEAD: usize = 2;

/// Is shown every chunk of the index with the image's bytes, by several threads and in no order.
pub type VisitChecked<'a> = &'a (dyn Fn(&IndexChunk, Compared) -> io::Result<()> + Sync);

/// A chunk's bytes if they are those of the index.
pub type Compared = Result<CheckedChunk<Vec<u8>>, WrongChunk>;

/// Why an image could not be gone through.
#[derive(Debug, Error)]
pub enum WalkError {
    /// The image and the index are of different length.
    #[error("the image has {image} bytes, its index lists {index}")]
    Length {
        /// Bytes of the image.
        image: u64,
        /// Bytes by the index.
        index: u64,
    },
    /// The image could not be read.
    #[error("cannot read the image at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// What was to be done with a chunk went wrong.
    #[error("cannot go on with the chunk at byte {offset} of the image")]
    Visit {
        /// Where the chunk begins.
        offset: u64,
        /// Why.
        source: io::Error,
    },
}

/// Whether an image may have bytes behind those that the index lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The image is a file: it has the length that the index says.
    None,
    /// The image is on a device that may be larger.
    Ignored,
}

/// Hands every chunk of `index` to `visit`, with what `image` has in its place.
///
/// Memory: up to three of the largest chunks for every thread, and one that is being read.
pub fn walk(
    index: &Index,
    image: &dyn Blob,
    tail: Tail,
    threads: NonZeroUsize,
    visit: VisitChecked<'_>,
) -> Result<(), WalkError> {
    let (len, listed) = (image.len(), index.image_len());
    if len < listed || (tail == Tail::None && len != listed) {
        return Err(WalkError::Length {
            image: len,
            index: listed,
        });
    }
    let (jobs_out, jobs) = sync_channel(AHEAD * threads.get());
    let jobs = Jobs::new(jobs);
    thread::scope(|scope| {
        let reader = scope.spawn(move || read_all(index, image, &jobs_out));
        let hash = || hash_all(index, &jobs, visit);
        let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(hash)).collect();
        let mut results = vec![hash()];
        results.extend(others.into_iter().map(joined));
        results.push(joined(reader));
        results.into_iter().collect()
    })
}

type Job = (IndexChunk, Vec<u8>);

fn read_all(index: &Index, image: &dyn Blob, jobs: &SyncSender<Job>) -> Result<(), WalkError> {
    for chunk in index.chunks() {
        let mut bytes = vec![0; widen(chunk.len)];
        image
            .read_exact_at(chunk.start, &mut bytes)
            .map_err(|source| WalkError::Read {
                offset: chunk.start,
                source,
            })?;
        if jobs.send((*chunk, bytes)).is_err() {
            break;
        }
    }
    Ok(())
}

fn hash_all(index: &Index, jobs: &Jobs<Job>, visit: VisitChecked<'_>) -> Result<(), WalkError> {
    while let Some((chunk, bytes)) = jobs.next() {
        let compared = HashedChunk::new(index.digest(), bytes).check(&chunk.id);
        if let Err(source) = visit(&chunk, compared) {
            jobs.close();
            let offset = chunk.start;
            return Err(WalkError::Visit { offset, source });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::DigestKind;
    use crate::chunker::CutRule;
    use crate::indexer::Indexer;
    use crate::sizes::ChunkSizes;
    use std::sync::Mutex;

    const THREADS: NonZeroUsize = NonZeroUsize::new(3).unwrap();

    fn image() -> Vec<u8> {
        (0..200_000_u32)
            .map(|n| n.wrapping_mul(n).to_le_bytes()[1])
            .collect()
    }

    fn index(image: &[u8]) -> Index {
        let rule = CutRule::new(ChunkSizes::from_avg(1024).unwrap()).unwrap();
        Indexer::new(rule, DigestKind::default())
            .index(&image.to_vec())
            .unwrap()
    }

    fn wrong_chunks(index: &Index, image: &[u8], tail: Tail) -> Result<Vec<u64>, WalkError> {
        let wrong = Mutex::new(Vec::new());
        let visit = |chunk: &IndexChunk, compared: Compared| {
            if compared.is_err() {
                wrong.lock().unwrap().push(chunk.start);
            }
            Ok(())
        };
        walk(index, &image.to_vec(), tail, THREADS, &visit)?;
        let mut wrong = wrong.into_inner().unwrap();
        wrong.sort_unstable();
        Ok(wrong)
    }

    #[test]
    fn a_changed_byte_is_found_in_its_chunk_alone() {
        let mut image = image();
        let index = index(&image);
        assert_eq!(wrong_chunks(&index, &image, Tail::None).unwrap(), []);
        let hit = index.chunks()[7];
        image[usize::try_from(hit.start).unwrap()] ^= 1;
        assert_eq!(
            wrong_chunks(&index, &image, Tail::None).unwrap(),
            [hit.start]
        );
    }

    #[test]
    fn only_a_device_may_be_longer_than_its_index() {
        let mut image = image();
        let index = index(&image);
        image.push(0);
        assert_eq!(wrong_chunks(&index, &image, Tail::Ignored).unwrap(), []);
        let error = wrong_chunks(&index, &image, Tail::None).unwrap_err();
        assert!(matches!(error, WalkError::Length { image: 200_001, .. }));
        image.truncate(1000);
        assert!(wrong_chunks(&index, &image, Tail::Ignored).is_err());
    }

    #[test]
    fn a_visitor_that_fails_ends_the_walk() {
        let image = image();
        let index = index(&image);
        let fifth = index.chunks()[5].start;
        let visit = |chunk: &IndexChunk, _: Compared| match chunk.start {
            start if start == fifth => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        };
        let error = walk(&index, &image, Tail::None, THREADS, &visit).unwrap_err();
        assert!(matches!(error, WalkError::Visit { offset, .. } if offset == fifth));
    }
}
