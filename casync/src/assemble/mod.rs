//! Carries out a plan: reads, checks, writes, in one pass.
//!
//! One thread writes; others get ready what comes from seeds and stores. Every chunk is compared with the new index before it is written, wherever it came from. One that
//! is not what the plan took it for is fetched instead, singly.

mod ahead;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::thread;

use thiserror::Error;

use ahead::{Ahead, Origin};

use crate::blob::{Blob, BlobMut};
use crate::chunk::{CheckedChunk, HashedChunk};
use crate::chunker::widen;
use crate::index::{Index, IndexChunk};
use crate::plan::{Op, Order, Plan};
use crate::store::{ChunkStore, FetchError, Fetcher};

/// What an assembly did, in bytes of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// Found in place, and not written.
    pub kept: u64,
    /// Copied from seeds and from elsewhere in the target.
    pub copied: u64,
    /// Fetched from stores.
    pub fetched: u64,
    /// Chunks that were fetched although the plan had them here: a seed changed underneath.
    pub fell_through: usize,
}

/// Why an assembly stopped. The target is incomplete; a new run with a new plan goes on from what is
/// right in it by then.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// The target is shorter than the image.
    #[error("the image has {image} bytes, the target only {target}")]
    TargetTooShort {
        /// Length of the image.
        image: u64,
        /// Length of the target.
        target: u64,
    },
    /// The plan was made for another index or other seeds.
    #[error("the plan names {0}, which there is not: it was made for something else")]
    PlanMismatch(&'static str),
    /// The target could not be written.
    #[error("cannot write the target at byte {offset}")]
    Write {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// A chunk is nowhere to be had.
    #[error("cannot get the chunk for byte {offset} of the image")]
    Fetch {
        /// Where the chunk belongs.
        offset: u64,
        /// What the stores said.
        source: FetchError,
    },
}

/// What an image is assembled from.
pub struct Ingredients<'a> {
    /// The new image's index.
    pub index: &'a Index,
    /// The seeds, numbered as for the plan.
    pub seeds: &'a [&'a dyn Blob],
    /// The stores, best first.
    pub stores: &'a [&'a dyn ChunkStore],
    /// Threads that read seeds and ask stores, besides the one that writes; each holds up to four
    /// chunks in memory.
    pub threads: NonZeroUsize,
}

/// Carries out `plan` on `target`. The target is not synced: that is its owner's to do.
pub fn assemble(
    plan: &Plan,
    ingredients: &Ingredients<'_>,
    target: &mut dyn BlobMut,
) -> Result<Assembled, AssembleError> {
    let (image, len) = (ingredients.index.image_len(), target.len());
    if image > len {
        return Err(AssembleError::TargetTooShort { image, target: len });
    }
    thread::scope(|scope| {
        let mut run = Run {
            ingredients,
            target,
            ahead: Ahead::start(scope, plan, ingredients),
            fetcher: Fetcher::new(ingredients.index.digest()),
            buffer: Vec::new(),
            last: None,
            stash: BTreeMap::new(),
            done: Assembled::default(),
        };
        plan.ops().iter().try_for_each(|op| run.carry_out(op))?;
        Ok(run.done)
    })
}

type Owned = CheckedChunk<Vec<u8>>;

struct Run<'a> {
    ingredients: &'a Ingredients<'a>,
    target: &'a mut dyn BlobMut,
    /// Brings what the plan has from seeds and stores.
    ahead: Ahead,
    /// Brings what was to be here and is not.
    fetcher: Fetcher,
    /// Memory for the next chunk.
    buffer: Vec<u8>,
    /// The chunk that was written last: often the next one is the same (zeros).
    last: Option<Owned>,
    stash: BTreeMap<usize, Owned>,
    done: Assembled,
}

impl Run<'_> {
    fn carry_out(&mut self, op: &Op) -> Result<(), AssembleError> {
        match op.clone() {
            Op::Keep { mut chunks } => chunks.try_for_each(|n| self.keep(n)),
            Op::Fetch { mut chunks } | Op::Seed { mut chunks, .. } => {
                chunks.try_for_each(|n| self.take_ready(n))
            }
            Op::Stash { chunk, from } => self.stash(chunk, from),
            Op::Unstash { chunk } => self.unstash(chunk),
            Op::Repeat { chunks, of } => {
                chunks.zip(of..).try_for_each(|(n, of)| self.repeat(n, of))
            }
            Op::Move {
                mut chunks,
                from,
                order,
            } => {
                let first = self.chunk(chunks.start)?.start;
                let mut one = |n| {
                    let shift = self.chunk(n)?.start.saturating_sub(first);
                    self.copy(n, from.saturating_add(shift))
                };
                match order {
                    Order::Ascending => chunks.try_for_each(&mut one),
                    Order::Descending => chunks.rev().try_for_each(&mut one),
                }
            }
        }
    }

    fn chunk(&self, number: usize) -> Result<IndexChunk, AssembleError> {
        self.ingredients
            .index
            .get(number)
            .ok_or(AssembleError::PlanMismatch("a chunk"))
    }

    fn keep(&mut self, number: usize) -> Result<(), AssembleError> {
        let chunk = self.chunk(number)?;
        let Some(found) = self.read(&chunk, chunk.start) else {
            return self.fall_through(number);
        };
        self.done.kept += u64::from(chunk.len);
        self.remember(found);
        Ok(())
    }

    fn copy(&mut self, number: usize, from: u64) -> Result<(), AssembleError> {
        let chunk = self.chunk(number)?;
        match self.read(&chunk, from) {
            Some(found) => {
                self.done.copied += u64::from(chunk.len);
                self.write(&chunk, found)
            }
            None => self.fall_through(number),
        }
    }

    fn repeat(&mut self, number: usize, of: usize) -> Result<(), AssembleError> {
        let (chunk, from) = (self.chunk(number)?, self.chunk(of)?.start);
        match self.last.take().filter(|last| last.id() == chunk.id) {
            Some(last) => {
                self.done.copied += u64::from(chunk.len);
                self.write(&chunk, last)
            }
            None => self.copy(number, from),
        }
    }

    fn stash(&mut self, number: usize, from: u64) -> Result<(), AssembleError> {
        let chunk = self.chunk(number)?;
        if let Some(found) = self.read(&chunk, from) {
            self.stash.insert(number, found);
        }
        Ok(())
    }

    fn unstash(&mut self, number: usize) -> Result<(), AssembleError> {
        let chunk = self.chunk(number)?;
        match self.stash.remove(&number) {
            Some(found) => {
                self.done.copied += u64::from(chunk.len);
                self.write(&chunk, found)
            }
            None => self.fall_through(number),
        }
    }

    /// Writes a chunk that a seed or a store was to give.
    fn take_ready(&mut self, number: usize) -> Result<(), AssembleError> {
        let chunk = self.chunk(number)?;
        let ready = self
            .ahead
            .next()
            .ok_or(AssembleError::PlanMismatch("a chunk"))?;
        let ready = ready.map_err(|source| AssembleError::Fetch {
            offset: chunk.start,
            source,
        })?;
        if ready.chunk.id() != chunk.id {
            return Err(AssembleError::PlanMismatch("a chunk"));
        }
        let len = u64::from(chunk.len);
        match ready.origin {
            Origin::Seed => self.done.copied += len,
            Origin::Store | Origin::InsteadOfSeed => self.done.fetched += len,
        }
        self.done.fell_through += usize::from(ready.origin == Origin::InsteadOfSeed);
        self.ahead.reuse(std::mem::take(&mut self.buffer));
        self.write(&chunk, ready.chunk)
    }

    fn fall_through(&mut self, number: usize) -> Result<(), AssembleError> {
        self.done.fell_through += 1;
        self.fetch(number)
    }

    fn fetch(&mut self, number: usize) -> Result<(), AssembleError> {
        let chunk = self.chunk(number)?;
        let buffer = std::mem::take(&mut self.buffer);
        let found = self
            .fetcher
            .fetch(self.ingredients.stores, &chunk, buffer)
            .map_err(|source| AssembleError::Fetch {
                offset: chunk.start,
                source,
            })?;
        self.done.fetched += u64::from(chunk.len);
        self.write(&chunk, found)
    }

    /// The chunk out of the target; `None` if other bytes are there, or they cannot be read.
    fn read(&mut self, chunk: &IndexChunk, from: u64) -> Option<Owned> {
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.resize(widen(chunk.len), 0);
        // A bad sector is no reason to stop: the chunk is fetched, and writing may mend it.
        self.target.read_exact_at(from, &mut bytes).ok()?;
        HashedChunk::new(self.ingredients.index.digest(), bytes)
            .check(&chunk.id)
            .ok()
    }

    fn write(&mut self, chunk: &IndexChunk, found: Owned) -> Result<(), AssembleError> {
        self.target
            .write_all_at(chunk.start, found.bytes())
            .map_err(|source| AssembleError::Write {
                offset: chunk.start,
                source,
            })?;
        self.remember(found);
        Ok(())
    }

    /// Keeps the chunk at hand for a repetition, and takes back the memory of the one before.
    fn remember(&mut self, chunk: Owned) {
        if let Some(last) = self.last.replace(chunk) {
            self.buffer = last.into_inner();
        }
    }
}
