//! Makes the index of a whole image, on one thread or several.
//!
//! One thread reads the image in batches and cuts them. What it cuts the others hash, each taking
//! the next chunk; when they have enough to do, it hashes as well, so that as many threads work as
//! were asked for, and none waits for another. A chunk that a batch does not end is carried into the
//! next one, so each byte is read once.

use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use thiserror::Error;

use crate::blob::Blob;
use crate::chunk::{ChunkId, DigestKind, HashedChunk};
use crate::chunker::{Chunker, CutRule, Selector, WINDOW, find_candidates};
use crate::index::{FeatureFlags, Index, IndexWriteError};
use crate::parallel::{Jobs, joined};

/// Bytes of a batch for each thread.
const PIECE_LEN: usize = 1024 * 1024;
/// Chunks that wait for each thread that hashes.
const WAITING: usize = 4;
/// From so many threads on, the cuts are searched by all of them. Below, one finds them as fast as
/// the others hash, and with less work: it need not look where no chunk may end.
const SEARCH_TOGETHER: usize = 4;

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
    /// Indexes on one thread, the caller's.
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
    /// Memory: three times 1 MiB for every thread, or three of the largest chunks if they are longer.
    pub fn index(&self, image: &dyn Blob) -> Result<Index, IndexerError> {
        self.index_and_visit(image, &|_, _| Ok(()))
    }

    /// The index of `image`; `visit` sees every chunk on the way, while its bytes are at hand.
    pub fn index_and_visit(
        &self,
        image: &dyn Blob,
        visit: Visit<'_>,
    ) -> Result<Index, IndexerError> {
        let hashing = Hashing {
            digest: self.flags.digest(),
            visit,
            hashed: Mutex::default(),
            idle: Mutex::default(),
        };
        let others = self.threads.get() - 1;
        let (queue, jobs) = sync_channel(WAITING * others);
        let jobs = Jobs::new(jobs);
        thread::scope(|scope| {
            let work = || hashing.all(&jobs);
            let others: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
            let mut results = vec![Cutter::new(self).cut_all(image, queue, &hashing)];
            results.push(hashing.all(&jobs));
            results.extend(others.into_iter().map(joined));
            results.into_iter().collect::<Result<(), _>>()
        })?;
        let mut index = Index::new(self.flags, self.rule.sizes());
        for (_, len, id) in hashing.in_order() {
            index.push(len, id)?;
        }
        Ok(index)
    }

    fn batch_len(&self, image_len: u64) -> usize {
        let wanted = PIECE_LEN
            .saturating_mul(self.threads.get())
            .max(self.rule.longest());
        usize::try_from(image_len).map_or(wanted, |len| len.min(wanted))
    }
}

/// Some bytes of the image that begin where a chunk does.
struct Batch {
    start: u64,
    bytes: Vec<u8>,
}

/// A chunk to hash.
struct Job {
    batch: Arc<Batch>,
    range: Range<usize>,
}

/// Hashes chunks, on any thread.
struct Hashing<'a> {
    digest: DigestKind,
    visit: Visit<'a>,
    hashed: Mutex<Vec<Hashed>>,
    /// Buffers of batches whose chunks are all hashed.
    idle: Mutex<Vec<Vec<u8>>>,
}

/// Where a chunk begins, how long it is, and its id.
type Hashed = (u64, u32, ChunkId);

impl Hashing<'_> {
    /// Hashes what comes until there is no more; after a failure nothing more comes to anyone.
    fn all(&self, jobs: &Jobs<Job>) -> Result<(), IndexerError> {
        while let Some(job) = jobs.next() {
            self.one(job).inspect_err(|_| jobs.close())?;
        }
        Ok(())
    }

    fn one(&self, Job { batch, range }: Job) -> Result<(), IndexerError> {
        let offset = batch.start + offset_of(range.start);
        let len = u32::try_from(range.len()).unwrap_or(u32::MAX);
        let chunk = HashedChunk::new(self.digest, &batch.bytes[range]);
        let seen = (self.visit)(offset, &chunk);
        seen.map_err(|source| IndexerError::Visit { offset, source })?;
        lock(&self.hashed).push((offset, len, chunk.id()));
        // The last one that needs the batch gives its memory back.
        if let Some(batch) = Arc::into_inner(batch) {
            lock(&self.idle).push(batch.bytes);
        }
        Ok(())
    }

    fn in_order(self) -> Vec<Hashed> {
        let hashed = self.hashed.into_inner();
        let mut hashed = hashed.unwrap_or_else(PoisonError::into_inner);
        hashed.sort_unstable_by_key(|(start, ..)| *start);
        hashed
    }
}

/// Reads the image and finds its cuts.
struct Cutter<'a> {
    indexer: &'a Indexer,
    /// Few threads: finds the cuts without looking at every window.
    chunker: Chunker,
    /// Many threads: chooses the cuts.
    selector: Selector,
    /// What each thread found, used again.
    found: Vec<Vec<usize>>,
    /// The last batch, and how much of it ends no chunk.
    last: Option<(Arc<Batch>, usize)>,
}

impl<'a> Cutter<'a> {
    fn new(indexer: &'a Indexer) -> Self {
        Self {
            indexer,
            chunker: Chunker::new(indexer.rule),
            selector: Selector::new(&indexer.rule),
            found: vec![Vec::new(); indexer.threads.get()],
            last: None,
        }
    }

    /// Cuts the image; leaves early, without an error of its own, when hashing has failed.
    fn cut_all(
        mut self,
        image: &dyn Blob,
        queue: SyncSender<Job>,
        hashing: &Hashing<'_>,
    ) -> Result<(), IndexerError> {
        let (batch_len, mut offset) = (self.indexer.batch_len(image.len()), 0);
        while offset < image.len() {
            let rest = usize::try_from(image.len() - offset).unwrap_or(usize::MAX);
            let len = rest.min(batch_len);
            let (batch, carried) = self.read(image, (offset, len), hashing)?;
            let mut cuts = self.cuts(&batch.bytes, carried);
            offset = offset.saturating_add(offset_of(len));
            let ended = cuts.last().copied().unwrap_or(0);
            // The image has ended: what is left over is the last chunk.
            if offset == image.len() && ended < batch.bytes.len() {
                cuts.push(batch.bytes.len());
            }
            self.last = Some((Arc::clone(&batch), batch.bytes.len() - ended));
            let starts = std::iter::once(0).chain(cuts.iter().copied());
            for (start, end) in starts.zip(&cuts) {
                let batch = Arc::clone(&batch);
                let range = start..*end;
                match queue.try_send(Job { batch, range }) {
                    Ok(()) => {}
                    Err(TrySendError::Full(job)) => hashing.one(job)?,
                    Err(TrySendError::Disconnected(_)) => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// The next bytes of the image, behind those that the last batch has left over.
    fn read(
        &mut self,
        image: &dyn Blob,
        (offset, len): (u64, usize),
        hashing: &Hashing<'_>,
    ) -> Result<(Arc<Batch>, usize), IndexerError> {
        let mut bytes = lock(&hashing.idle).pop().unwrap_or_default();
        let last = self.last.take();
        let carry = last.as_ref().map_or(&[][..], |(batch, left)| {
            &batch.bytes[batch.bytes.len() - left..]
        });
        let carried = carry.len();
        bytes.resize(carried + len, 0);
        bytes[..carried].copy_from_slice(carry);
        image
            .read_exact_at(offset, &mut bytes[carried..])
            .map_err(|source| IndexerError::Read { offset, source })?;
        if let Some(batch) = last.and_then(|(batch, _)| Arc::into_inner(batch)) {
            lock(&hashing.idle).push(batch.bytes);
        }
        let start = offset - offset_of(carried);
        Ok((Arc::new(Batch { start, bytes }), carried))
    }

    /// Where chunks end in `bytes`, of which the first `carried` were searched before.
    fn cuts(&mut self, bytes: &[u8], carried: usize) -> Vec<usize> {
        if self.indexer.threads.get() < SEARCH_TOGETHER {
            self.cut_alone(bytes, carried)
        } else {
            self.cut_together(bytes, carried)
        }
    }

    fn cut_alone(&mut self, bytes: &[u8], carried: usize) -> Vec<usize> {
        let (mut cuts, mut at) = (Vec::new(), carried);
        while let Some(n) = self.chunker.push(&bytes[at..]) {
            at += n;
            cuts.push(at);
        }
        cuts
    }

    fn cut_together(&mut self, bytes: &[u8], carried: usize) -> Vec<usize> {
        let rule = self.indexer.rule;
        let piece = (bytes.len() - carried).div_ceil(self.found.len()).max(1);
        let piece_at = |number: usize| (carried + number * piece).min(bytes.len());
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
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
