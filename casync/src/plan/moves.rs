//! In which order old content of the target is moved, so that nothing is overwritten unread.
//!
//! A move must wait for every other move whose old bytes lie where it writes. Visiting a move's
//! predecessors before itself, depth first, gives such an order unless the waiting goes round in a
//! circle. Then the circle is closed by a move that is waiting itself, further up: its old bytes are
//! read into memory at once ("stashed"), which ends all waiting for it, and it is written from
//! there when its own turn comes. If memory does not suffice, its chunk is given up and fetched.
//!
//! Sources do not overlap each other, nor do destinations, so there are hardly more pairs that
//! wait for each other than there are moves, and the time is linear but for sorting.

use std::ops::Range;

/// One chunk that is to come from elsewhere in the target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    /// Its number in the new index.
    pub(super) number: usize,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) len: u64,
}

/// One step of the order that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Copy { number: usize, from: u64 },
    Stash { number: usize, from: u64 },
    Unstash { number: usize },
}

/// How far a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Untouched,
    /// On the stack: waits for others, and its old bytes are not read yet.
    Waiting,
    /// On the stack still, but its old bytes are in memory.
    Stashed,
    /// On the stack still, but its old bytes need not be kept.
    Dropped,
    Done,
}

/// A move on the stack, and the predecessors that it has not looked at yet.
struct Visit {
    at: usize,
    predecessors: Range<usize>,
}

/// The order for moves that are sorted by `to`; then the numbers of the chunks that were given up,
/// and the most bytes that are stashed at one time.
pub(super) fn order(moves: &[Move], budget: u64) -> (Vec<Step>, Vec<usize>, u64) {
    let mut walk = Walk::new(moves, budget);
    for first in 0..moves.len() {
        walk.visit(first);
    }
    (walk.steps, walk.dropped, walk.peak)
}

struct Walk<'a> {
    moves: &'a [Move],
    /// The moves, sorted by `from`.
    by_source: Vec<usize>,
    states: Vec<State>,
    steps: Vec<Step>,
    dropped: Vec<usize>,
    budget: u64,
    stashed: u64,
    peak: u64,
}

impl<'a> Walk<'a> {
    fn new(moves: &'a [Move], budget: u64) -> Self {
        let mut by_source: Vec<usize> = (0..moves.len()).collect();
        by_source.sort_unstable_by_key(|n| moves[*n].from);
        let states = vec![State::Untouched; moves.len()];
        let (steps, dropped) = (Vec::with_capacity(moves.len()), Vec::new());
        Self {
            moves,
            by_source,
            states,
            steps,
            dropped,
            budget,
            stashed: 0,
            peak: 0,
        }
    }

    /// Places `first` and everything that it must wait for. The stack is our own: it may get as
    /// deep as there are chunks.
    fn visit(&mut self, first: usize) {
        if self.states[first] != State::Untouched {
            return;
        }
        let mut stack = vec![self.enter(first)];
        while let Some(top) = stack.last_mut() {
            let at = top.at;
            let Some(next) = top.predecessors.next() else {
                stack.pop();
                self.leave(at);
                continue;
            };
            let other = self.by_source[next];
            match self.states[other] {
                State::Untouched => {
                    let visit = self.enter(other);
                    stack.push(visit);
                }
                State::Waiting if other != at => self.break_circle(other),
                _ => {}
            }
        }
    }

    fn enter(&mut self, at: usize) -> Visit {
        self.states[at] = State::Waiting;
        Visit {
            at,
            predecessors: self.sources_within(self.moves[at]),
        }
    }

    /// The moves whose sources overlap the destination of `this`, as positions in `by_source`.
    fn sources_within(&self, this: Move) -> Range<usize> {
        let end_of = |n: &usize| self.moves[*n].from + self.moves[*n].len;
        let first = self.by_source.partition_point(|n| end_of(n) <= this.to);
        let behind = self
            .by_source
            .partition_point(|n| self.moves[*n].from < this.to + this.len);
        first..behind.max(first)
    }

    /// Frees the old bytes of a waiting move, since somebody it waits for must overwrite them.
    fn break_circle(&mut self, at: usize) {
        let Move {
            number, from, len, ..
        } = self.moves[at];
        if self.stashed.saturating_add(len) <= self.budget {
            self.stashed += len;
            self.peak = self.peak.max(self.stashed);
            self.states[at] = State::Stashed;
            self.steps.push(Step::Stash { number, from });
        } else {
            self.states[at] = State::Dropped;
            self.dropped.push(number);
        }
    }

    fn leave(&mut self, at: usize) {
        let Move {
            number, from, len, ..
        } = self.moves[at];
        match self.states[at] {
            State::Stashed => {
                self.stashed -= len;
                self.steps.push(Step::Unstash { number });
            }
            State::Dropped => {}
            _ => self.steps.push(Step::Copy { number, from }),
        }
        self.states[at] = State::Done;
    }
}
