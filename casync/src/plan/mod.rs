//! What to do to turn a target's old content into a new image, decided before anything is read.
//!
//! A [`Plan`] is made from indices alone: the new image's, those of read-only seeds, and that of
//! the target's own old content. It is a list of operations in an order in which nothing is
//! overwritten that a later operation reads. Nothing in it is a promise about bytes: seeds change
//! and indices lie, so whoever carries it out checks each chunk against the new index and fetches
//! singly what is not what it should be. A wrong plan costs time; it cannot make a wrong image.
//!
//! The operations come in two parts. First everything that moves old content of the target: it is
//! the only part in which the order matters. Then the rest in image order, so that a disk is written
//! in ascending order and missing chunks can be fetched ahead in long runs.

mod choice;
mod lookup;
mod moves;

use std::ops::Range;

use crate::index::Index;
use choice::{Choice, choose};
use moves::{Move, Step};

/// One operation. Chunks are numbered as in the new index; each is written where that index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Copy chunks from old content elsewhere in the target, one after another in the given order.
    /// Each is read whole before it is written: source and destination may overlap.
    Move {
        /// The chunks.
        chunks: Range<usize>,
        /// Offset in the target of the first chunk's old bytes; the others follow without a gap.
        from: u64,
        /// Which end to begin at.
        order: Order,
    },
    /// Read a chunk's old bytes into memory, since they are about to be overwritten.
    Stash {
        /// The chunk.
        chunk: usize,
        /// Offset in the target of its old bytes.
        from: u64,
    },
    /// Write a chunk from memory, and forget it there.
    Unstash {
        /// The chunk.
        chunk: usize,
    },
    /// These chunks are in their place already: check them, write nothing.
    Keep {
        /// The chunks.
        chunks: Range<usize>,
    },
    /// Copy chunks from a seed.
    Seed {
        /// The chunks.
        chunks: Range<usize>,
        /// Number of the seed.
        seed: usize,
        /// Offset in the seed of the first; the others follow without a gap.
        from: u64,
    },
    /// Copy chunks that are in their new place elsewhere in the target by now.
    Repeat {
        /// The chunks, in ascending order: a later one may repeat an earlier one of the same run.
        chunks: Range<usize>,
        /// The number of the chunk that the first one repeats; the others follow.
        of: usize,
    },
    /// Fetch chunks that are nowhere here.
    Fetch {
        /// The chunks.
        chunks: Range<usize>,
    },
}

/// In which order the chunks of a [`Op::Move`] are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the first to the last.
    Ascending,
    /// From the last to the first.
    Descending,
}

/// Bytes of the new image by where they come from. They add up to the image's length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// In place already.
    pub keep: u64,
    /// From elsewhere in the target.
    pub moved: u64,
    /// From seeds.
    pub seed: u64,
    /// Copies of other chunks of the image.
    pub repeat: u64,
    /// To be fetched, uncompressed.
    pub fetch: u64,
    /// Chunks to be fetched.
    pub fetch_chunks: usize,
    /// Runs of neighbouring chunks to be fetched.
    pub fetch_runs: usize,
    /// Most bytes that are stashed in memory at one time.
    pub stash_peak: u64,
}

impl Totals {
    /// Bytes that will be written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.moved + self.seed + self.repeat + self.fetch
    }
}

/// Why no plan can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Ids of different digests cannot be compared.
    #[error("the index of {what} names its chunks by another digest than the new image's")]
    Digest {
        /// Whose index it is.
        what: Whose,
    },
}

/// Whose index an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The target's old content.
    Target,
    /// The seed with this number.
    Seed(usize),
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Target => f.write_str("the target's old content"),
            Self::Seed(number) => write!(f, "seed {number}"),
        }
    }
}

/// What there is to make the new image from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// Indices of blobs that are read only, best first. They must not overlap the target.
    pub seeds: &'a [&'a Index],
    /// Index of what the target holds now, from its first byte on. `None` if the target cannot be
    /// read or must be written in ascending order only.
    pub target: Option<&'a Index>,
    /// Bytes of old content that may be held in memory at one time. Where more would be needed, the
    /// chunk is fetched.
    pub stash: u64,
}

/// An ordered list of operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    ops: Vec<Op>,
    totals: Totals,
}

impl Plan {
    /// Plans the image with the index `new`.
    pub fn new(new: &Index, sources: &Sources<'_>) -> Result<Self, PlanError> {
        check_digests(new, sources)?;
        let mut choices = choose(new, sources);
        let moves = wanted_moves(new, &choices);
        let (steps, dropped, stash_peak) = moves::order(&moves, sources.stash);
        for number in dropped {
            choices[number] = Choice::Fetch;
        }
        let mut ops = Vec::new();
        for step in steps {
            append(&mut ops, op_of_step(&step), new);
        }
        for (number, choice) in choices.iter().enumerate() {
            if let Some(op) = op_of_choice(number, choice) {
                append(&mut ops, op, new);
            }
        }
        let totals = totals(new, &choices, &ops, stash_peak);
        Ok(Self { ops, totals })
    }

    /// The operations, in the order in which they must be carried out.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Where how many bytes come from.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The runs of chunks to fetch, in the order in which they will be wanted.
    pub fn fetches(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.ops.iter().filter_map(|op| match op {
            Op::Fetch { chunks } => Some(chunks.clone()),
            _ => None,
        })
    }
}

fn check_digests(new: &Index, sources: &Sources<'_>) -> Result<(), PlanError> {
    let seeds = sources
        .seeds
        .iter()
        .enumerate()
        .map(|(n, seed)| (Whose::Seed(n), *seed));
    let target = sources.target.map(|target| (Whose::Target, target));
    match seeds
        .chain(target)
        .find(|(_, index)| index.digest() != new.digest())
    {
        Some((what, _)) => Err(PlanError::Digest { what }),
        None => Ok(()),
    }
}

fn wanted_moves(new: &Index, choices: &[Choice]) -> Vec<Move> {
    let chunks = new.chunks().iter().zip(choices).enumerate();
    chunks
        .filter_map(|(number, (chunk, choice))| match choice {
            Choice::Move { from } => Some(Move {
                number,
                from: *from,
                to: chunk.start,
                len: u64::from(chunk.len),
            }),
            _ => None,
        })
        .collect()
}

fn op_of_step(step: &Step) -> Op {
    match *step {
        Step::Copy { number, from } => Op::Move {
            chunks: number..number + 1,
            from,
            order: Order::Ascending,
        },
        Step::Stash { number, from } => Op::Stash {
            chunk: number,
            from,
        },
        Step::Unstash { number } => Op::Unstash { chunk: number },
    }
}

/// The operation of the second part; what was moved has had its own.
fn op_of_choice(number: usize, choice: &Choice) -> Option<Op> {
    let chunks = number..number + 1;
    match *choice {
        Choice::Keep => Some(Op::Keep { chunks }),
        Choice::Seed { seed, from, .. } => Some(Op::Seed { chunks, seed, from }),
        Choice::Move { .. } => None,
        Choice::Repeat { of } => Some(Op::Repeat { chunks, of }),
        Choice::Fetch => Some(Op::Fetch { chunks }),
    }
}

/// Adds an operation of one chunk, or lets the last one cover it, too.
fn append(ops: &mut Vec<Op>, op: Op, new: &Index) {
    if !ops.last_mut().is_some_and(|last| extend(last, &op, new)) {
        ops.push(op);
    }
}

/// Extends `last` by the one chunk of `op` if that is its continuation.
fn extend(last: &mut Op, op: &Op, new: &Index) -> bool {
    // A run has no gaps in the image, so its length is told by its two ends.
    let bytes = |run: &Range<usize>| match (new.get(run.start), new.get(run.end - 1)) {
        (Some(first), Some(last)) => last.end() - first.start,
        _ => 0,
    };
    match (last, op) {
        (Op::Keep { chunks }, Op::Keep { chunks: more })
        | (Op::Fetch { chunks }, Op::Fetch { chunks: more })
            if chunks.end == more.start =>
        {
            chunks.end = more.end;
            true
        }
        (
            Op::Seed { chunks, seed, from },
            Op::Seed {
                chunks: more,
                seed: same,
                from: at,
            },
        ) if chunks.end == more.start && seed == same && *from + bytes(chunks) == *at => {
            chunks.end = more.end;
            true
        }
        (
            Op::Repeat { chunks, of },
            Op::Repeat {
                chunks: more,
                of: at,
            },
        ) if chunks.end == more.start && *of + chunks.len() == *at => {
            chunks.end = more.end;
            true
        }
        (
            Op::Move {
                chunks,
                from,
                order,
            },
            Op::Move {
                chunks: more,
                from: at,
                ..
            },
        ) => {
            let up = chunks.end == more.start && *from + bytes(chunks) == *at;
            let down = more.end == chunks.start && *at + bytes(more) == *from;
            if up && (*order == Order::Ascending) {
                chunks.end = more.end;
            } else if down && (chunks.len() == 1 || *order == Order::Descending) {
                (chunks.start, *from, *order) = (more.start, *at, Order::Descending);
            } else {
                return false;
            }
            true
        }
        _ => false,
    }
}

fn totals(new: &Index, choices: &[Choice], ops: &[Op], stash_peak: u64) -> Totals {
    let mut totals = Totals {
        stash_peak,
        ..Totals::default()
    };
    for (chunk, choice) in new.chunks().iter().zip(choices) {
        let len = u64::from(chunk.len);
        match choice {
            Choice::Keep => totals.keep += len,
            Choice::Seed { .. } => totals.seed += len,
            Choice::Move { .. } => totals.moved += len,
            Choice::Repeat { .. } => totals.repeat += len,
            Choice::Fetch => {
                totals.fetch += len;
                totals.fetch_chunks += 1;
            }
        }
    }
    totals.fetch_runs = ops
        .iter()
        .filter(|op| matches!(op, Op::Fetch { .. }))
        .count();
    totals
}

#[cfg(test)]
mod tests;
