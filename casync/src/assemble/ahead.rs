//! Gets chunks from seeds and stores ready on other threads, in the order in which they are wanted.
//!
//! Seeds and stores do not change while an image is put together, so what comes from them can be
//! read, unpacked and checked before its turn. Chunk k is the work of thread k mod their number, each
//! hands its chunks over in order, and none is ahead by more than [`AHEAD`].

use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::Scope;

use super::{Ingredients, Owned};
use crate::chunk::HashedChunk;
use crate::chunker::widen;
use crate::index::IndexChunk;
use crate::plan::{Op, Plan};
use crate::store::{FetchError, Fetcher};

/// Chunks that one thread keeps ready, besides the one that it works on.
const AHEAD: usize = 2;

/// A chunk that is ready, and how it was come by.
pub(super) struct Ready {
    pub(super) chunk: Owned,
    pub(super) origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// From a seed.
    Seed,
    /// From a store, as planned.
    Store,
    /// From a store, since the seed had other bytes.
    InsteadOfSeed,
}

/// One thread's two ends: what it has ready, and memory that it may use again.
struct Worker {
    ready: Receiver<Result<Ready, FetchError>>,
    used: Sender<Vec<u8>>,
}

/// The threads, and whose turn it is.
pub(super) struct Ahead {
    workers: Vec<Worker>,
    turn: usize,
}

impl Ahead {
    pub(super) fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        plan: &'env Plan,
        ingredients: &'env Ingredients<'env>,
    ) -> Self {
        let threads = ingredients.threads.get();
        let start = |number| {
            let (ready_out, ready) = sync_channel(AHEAD);
            let (used, used_in) = channel();
            scope.spawn(move || {
                let jobs = jobs(plan, ingredients).skip(number).step_by(threads);
                work(jobs, ingredients, &ready_out, &used_in);
            });
            Worker { ready, used }
        };
        Self {
            workers: (0..threads).map(start).collect(),
            turn: 0,
        }
    }

    /// The next chunk that a seed or store was to give; `None` if all have been given.
    pub(super) fn next(&mut self) -> Option<Result<Ready, FetchError>> {
        let next = self.workers.get(self.turn)?.ready.recv().ok();
        self.turn = (self.turn + 1) % self.workers.len();
        next
    }

    /// Hands memory back to the thread whose turn is next.
    pub(super) fn reuse(&self, buffer: Vec<u8>) {
        if let Some(worker) = self.workers.get(self.turn) {
            // A thread that has done its part needs no memory any more.
            let _ = worker.used.send(buffer);
        }
    }
}

/// A chunk, and where a seed has it.
type Job = (IndexChunk, Option<(usize, u64)>);

fn jobs<'a>(plan: &'a Plan, ingredients: &'a Ingredients<'_>) -> impl Iterator<Item = Job> + 'a {
    plan.ops().iter().flat_map(|op| {
        let (chunks, seed) = match op {
            Op::Fetch { chunks } => (chunks.clone(), None),
            Op::Seed { chunks, seed, from } => (chunks.clone(), Some((*seed, *from))),
            _ => (0..0, None),
        };
        let listed = ingredients.index.chunks().get(chunks).unwrap_or_default();
        let first = listed.first().map_or(0, |chunk| chunk.start);
        listed.iter().map(move |chunk| {
            let place =
                |(seed, from): (usize, u64)| (seed, from.saturating_add(chunk.start - first));
            (*chunk, seed.map(place))
        })
    })
}

fn work(
    jobs: impl Iterator<Item = Job>,
    ingredients: &Ingredients<'_>,
    ready: &SyncSender<Result<Ready, FetchError>>,
    used: &Receiver<Vec<u8>>,
) {
    let mut fetcher = Fetcher::new(ingredients.index.digest());
    for (chunk, place) in jobs {
        let mut buffer = match used.try_recv() {
            Ok(buffer) => buffer,
            Err(TryRecvError::Empty) => Vec::new(),
            Err(TryRecvError::Disconnected) => return,
        };
        let copied = place.and_then(|place| from_seed(ingredients, &chunk, place, &mut buffer));
        let result = match copied {
            Some(chunk) => Ok(Ready {
                chunk,
                origin: Origin::Seed,
            }),
            None => {
                let origin = if place.is_some() {
                    Origin::InsteadOfSeed
                } else {
                    Origin::Store
                };
                let fetched = fetcher.fetch(ingredients.stores, &chunk, buffer);
                fetched.map(|chunk| Ready { chunk, origin })
            }
        };
        let failed = result.is_err();
        if ready.send(result).is_err() || failed {
            return;
        }
    }
}

/// The chunk out of a seed; `None` if other bytes are there, or they cannot be read.
fn from_seed(
    ingredients: &Ingredients<'_>,
    chunk: &IndexChunk,
    (seed, offset): (usize, u64),
    buffer: &mut Vec<u8>,
) -> Option<Owned> {
    let seed = ingredients.seeds.get(seed)?;
    buffer.resize(widen(chunk.len), 0);
    // A bad sector in a seed is no reason to stop: the chunk is fetched instead.
    seed.read_exact_at(offset, buffer).ok()?;
    let bytes = std::mem::take(buffer);
    HashedChunk::new(ingredients.index.digest(), bytes)
        .check(&chunk.id)
        .ok()
}
