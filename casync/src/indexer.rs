//! Makes the index of a whole image, on one thread or several.
//!
//! The image goes by in batches. While one is worked on, the next is read. A batch is searched for
//! candidate cuts in as many pieces as there are threads, the cuts are chosen among them, then the
//! threads hash whole chunks, each taking the next. A chunk that a batch does not end is carried
//! into the next one, so each byte is read once.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use thiserror::Error;

use crate::blob::Blob;
use crate::chunk::{ChunkId, DigestKind, HashedChunk};
use crate::chunker::{Chunker, CutRule, Selector, WINDOW, find_candidates};
use crate::index::{FeatureFlags, Index, IndexWriteError};

/// Bytes of a batch that one thread gets to search.
const PIECE_LEN: usize = 1024 * 1024;
/// Batches in memory: one that is worked on, one that is read.
const BATCHES: usize = 2;

/// How to index: cut rule, feature flags (with the digest) and threads.
#[derive(Clone, Copy, Debug)]
pub struct Indexer {
    rule: CutRule,
    flags: FeatureFlags,
    threads: NonZeroUsize,
}

/// Is shown every chunk with its offset, by several threads and in no order.
pub type Visit<'a> = &'a (dyn Fn(u64, &HashedChunk<&[u8]>) -> io::Result<()> + Sync);

/// An image could not be indexed.
#[derive(Debug, Error)]
pub enum IndexerError {
    /// It could not be read.
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
    /// An index cannot hold the chunk.
    #[error("cannot list the image's chunks")]
    Index(#[from] IndexWriteError),
}

impl Indexer {
    /// Indexes on one thread, besides one that reads.
    #[must_use]
    pub fn new(rule: CutRule, digest: DigestKind) -> Self {
        Self::with_flags(rule, FeatureFlags::for_blob(digest))
    }

    /// The same for what is no image: an archive, whose index repeats the archive's flags.
    #[must_use]
    pub fn with_flags(rule: CutRule, flags: FeatureFlags) -> Self {
        Self {
            rule,
            flags,
            threads: NonZeroUsize::MIN,
        }
    }

    /// The same on several threads. The index does not depend on their number.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// The index of `image`.
    ///
    /// Memory: about twice 1 MiB for every thread and twice the largest chunk size.
    pub fn index(&self, image: &dyn Blob) -> Result<Index, IndexerError> {
        self.index_and_visit(image, &|_, _| Ok(()))
    }

    /// The index of `image`; `visit` sees every chunk on the way, while its bytes are at hand.
    pub fn index_and_visit(
        &self,
        image: &dyn Blob,
        visit: Visit<'_>,
    ) -> Result<Index, IndexerError> {
        let mut run = Run::new(self, visit);
        let (head, batch_len) = (self.rule.longest(), self.batch_len(image.len()));
        thread::scope(|scope| {
            let (empty_out, empty_in) = channel();
            let (full_out, full_in) = sync_channel(BATCHES);
            for _ in 0..BATCHES {
                // A failure would mean that the receiver is gone, which is on this side still.
                let _ = empty_out.send(vec![0; head + batch_len]);
            }
            scope.spawn(move || read_batches(image, head, &empty_in, &full_out));
            for batch in full_in {
                let mut batch: Batch = batch?;
                run.take(&mut batch)?;
                // The reader leaves when it has read all; then nobody wants the buffer.
                let _ = empty_out.send(batch.buffer);
            }
            run.finish(image.len())
        })
    }

    fn batch_len(&self, image_len: u64) -> usize {
        let wanted = PIECE_LEN
            .saturating_mul(self.threads.get())
            .max(self.rule.longest());
        usize::try_from(image_len).map_or(wanted, |len| len.min(wanted))
    }
}

/// A piece of the image behind `head` bytes of room for what the last one left over.
struct Batch {
    buffer: Vec<u8>,
    /// Bytes of the image, behind the room.
    len: usize,
}

fn read_batches(
    image: &dyn Blob,
    head: usize,
    empty: &Receiver<Vec<u8>>,
    full: &SyncSender<Result<Batch, IndexerError>>,
) {
    let mut offset = 0;
    while offset < image.len() {
        let Ok(mut buffer) = empty.recv() else { return };
        let rest = usize::try_from(image.len() - offset).unwrap_or(usize::MAX);
        let len = rest.min(buffer.len() - head);
        let read = image.read_exact_at(offset, &mut buffer[head..head + len]);
        let batch = match read {
            Ok(()) => Ok(Batch { buffer, len }),
            Err(source) => Err(IndexerError::Read { offset, source }),
        };
        let failed = batch.is_err();
        if full.send(batch).is_err() || failed {
            return;
        }
        offset = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
}

/// A chunk to hash: where it is in the batch, and its id when that is known.
struct Job {
    range: Range<usize>,
    id: ChunkId,
}

/// The state that goes from batch to batch.
struct Run<'a> {
    indexer: &'a Indexer,
    visit: Visit<'a>,
    index: Index,
    /// One thread: finds the cuts without looking at every window.
    chunker: Chunker,
    /// Several threads: chooses the cuts.
    selector: Selector,
    /// What each thread found, used again.
    found: Vec<Vec<usize>>,
    /// Bytes since the last cut.
    carry: Vec<u8>,
    jobs: Vec<Job>,
}

impl<'a> Run<'a> {
    fn new(indexer: &'a Indexer, visit: Visit<'a>) -> Self {
        let flags = indexer.flags;
        Self {
            indexer,
            visit,
            index: Index::new(flags, indexer.rule.sizes()),
            chunker: Chunker::new(indexer.rule),
            selector: Selector::new(&indexer.rule),
            found: vec![Vec::new(); indexer.threads.get()],
            carry: Vec::new(),
            jobs: Vec::new(),
        }
    }

    fn take(&mut self, batch: &mut Batch) -> Result<(), IndexerError> {
        let head = self.indexer.rule.longest();
        let begin = head - self.carry.len();
        batch.buffer[begin..head].copy_from_slice(&self.carry);
        let bytes = &batch.buffer[begin..head + batch.len];
        let cuts = match self.indexer.threads.get() {
            1 => self.cut_alone(bytes),
            _ => self.cut_together(bytes),
        };
        self.hash(bytes, &cuts)?;
        let kept = cuts.last().copied().unwrap_or(0);
        self.carry.clear();
        self.carry.extend_from_slice(&bytes[kept..]);
        Ok(())
    }

    /// The image has ended: what is left over is the last chunk.
    fn finish(mut self, image_len: u64) -> Result<Index, IndexerError> {
        let last = std::mem::take(&mut self.carry);
        if !last.is_empty() {
            self.hash(&last, &[last.len()])?;
        }
        debug_assert_eq!(self.index.image_len(), image_len);
        Ok(self.index)
    }

    fn cut_alone(&mut self, bytes: &[u8]) -> Vec<usize> {
        let mut cuts = Vec::new();
        let mut at = self.carry.len();
        while let Some(n) = self.chunker.push(&bytes[at..]) {
            at += n;
            cuts.push(at);
        }
        cuts
    }

    fn cut_together(&mut self, bytes: &[u8]) -> Vec<usize> {
        let (rule, start) = (self.indexer.rule, self.carry.len());
        let piece = (bytes.len() - start).div_ceil(self.found.len()).max(1);
        let piece_at = |number: usize| (start + number * piece).min(bytes.len());
        on_threads(&mut self.found, |number, found| {
            found.clear();
            let lead = piece_at(number).saturating_sub(WINDOW - 1);
            let end = piece_at(number + 1);
            find_candidates(&rule, &bytes[lead..end], |n| found.push(lead + n));
        });
        // Offsets in the image for the selector, and back: the batch begins at the last cut.
        let base = self.selector.last_cut();
        let (mut cuts, selector) = (Vec::new(), &mut self.selector);
        let mut cut = |at: u64| cuts.extend(usize::try_from(at - base));
        for at in self.found.iter().flatten() {
            selector.candidate(base + offset_of(*at), &mut cut);
        }
        selector.searched(base + offset_of(bytes.len()), &mut cut);
        cuts
    }

    fn hash(&mut self, bytes: &[u8], cuts: &[usize]) -> Result<(), IndexerError> {
        let (visit, base) = (self.visit, self.index.image_len());
        let digest = self.indexer.flags.digest();
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let unknown = ChunkId::from_bytes([0; ChunkId::LEN]);
        self.jobs.clear();
        self.jobs.extend(starts.zip(cuts).map(|(s, e)| Job {
            range: s..*e,
            id: unknown,
        }));
        let jobs = Mutex::new(self.jobs.iter_mut());
        let mut results: Vec<_> = self.found.iter().map(|_| Ok(())).collect();
        on_threads(&mut results, |_, result| {
            while let Some(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).next() {
                let chunk = HashedChunk::new(digest, &bytes[job.range.clone()]);
                job.id = chunk.id();
                let offset = base + offset_of(job.range.start);
                if let Err(source) = visit(offset, &chunk) {
                    *result = Err(IndexerError::Visit { offset, source });
                    return;
                }
            }
        });
        results.into_iter().collect::<Result<(), _>>()?;
        for job in &self.jobs {
            let len = u32::try_from(job.range.len()).unwrap_or(u32::MAX);
            self.index.push(len, job.id)?;
        }
        Ok(())
    }
}

fn offset_of(position: usize) -> u64 {
    u64::try_from(position).unwrap_or(u64::MAX)
}

/// Calls `work` for each item on a thread of its own, the first on this one.
fn on_threads<T: Send>(items: &mut [T], work: impl Fn(usize, &mut T) + Sync) {
    let Some((first, others)) = items.split_first_mut() else {
        return;
    };
    thread::scope(|scope| {
        for (number, item) in (1..).zip(others) {
            let work = &work;
            scope.spawn(move || work(number, item));
        }
        work(0, first);
    });
}

#[cfg(test)]
mod tests;
