//! The same boundaries from independent pieces of an image.
//!
//! Whether the hash hits depends on 48 bytes and nothing else, so the hits of any piece can be found
//! without knowing where chunks begin. Which of them become cuts depends on the previous cut only,
//! and is a few comparisons per hit. (Guessing a chunk start in each piece and waiting for the
//! guesses to fall in step, as is done elsewhere, never does on long runs of zeros.)

use std::ops::ControlFlow;

use super::rule::{CutRule, WINDOW, hash_of, roll_over};

/// Calls `found` with every length `n` at which the last 48 bytes of `bytes[..n]` hit, ascending.
///
/// To search an image in pieces, let each begin 47 bytes before the end of the one before it.
/// There are at most as many hits as bytes; for data that was not made to hit, about one in `avg`.
pub fn find_candidates(rule: &CutRule, bytes: &[u8], mut found: impl FnMut(usize)) {
    let Some(test) = rule.test else { return };
    let Some(first) = bytes.first_chunk::<WINDOW>() else {
        return;
    };
    let hash = hash_of(first);
    if test.hits(hash) {
        found(WINDOW);
    }
    // It never asks to stop, so what is returned tells nothing.
    let _ = roll_over(hash, bytes, &bytes[WINDOW..], test, |n| {
        found(WINDOW + n);
        ControlFlow::Continue(())
    });
}

/// Chooses the cuts among the candidates of an image.
///
/// Give it every candidate in ascending order, between them (as often as liked) the length of what
/// was searched, and the image's length at the end.
#[derive(Clone, Debug)]
pub struct Selector {
    first_test: u64,
    longest: u64,
    last_cut: u64,
}

impl Selector {
    /// A selector at the start of an image.
    #[must_use]
    pub fn new(rule: &CutRule) -> Self {
        let (first_test, longest) = (u64::from(rule.first_test), u64::from(rule.longest));
        Self {
            first_test,
            longest,
            last_cut: 0,
        }
    }

    /// The last cut that was made; 0 at the start.
    #[must_use]
    pub fn last_cut(&self) -> u64 {
        self.last_cut
    }

    /// A hit at the offset `at`: calls `cut` with every chunk end up to and including it.
    pub fn candidate(&mut self, at: u64, mut cut: impl FnMut(u64)) {
        self.searched(at, &mut cut);
        if at.saturating_sub(self.last_cut) >= self.first_test {
            self.last_cut = at;
            cut(at);
        }
    }

    /// All candidates below the offset `to` were given: calls `cut` with the ends that chunks reach
    /// for their length alone.
    pub fn searched(&mut self, to: u64, mut cut: impl FnMut(u64)) {
        while to.saturating_sub(self.last_cut) >= self.longest {
            self.last_cut += self.longest;
            cut(self.last_cut);
        }
    }

    /// The image ends at `len`: calls `cut` with the end of the last chunk, if anything is left.
    pub fn end(&mut self, len: u64, mut cut: impl FnMut(u64)) {
        self.searched(len, &mut cut);
        if len > self.last_cut {
            self.last_cut = len;
            cut(len);
        }
    }
}

/// Every cut of `bytes`, found in pieces of `piece` bytes: the shape that the parallel run has.
#[cfg(test)]
pub(super) fn cuts_in_pieces(rule: &CutRule, bytes: &[u8], piece: usize) -> Vec<u64> {
    let (mut cuts, mut selector) = (Vec::new(), Selector::new(rule));
    for start in (0..bytes.len()).step_by(piece) {
        let lead = start.saturating_sub(WINDOW - 1);
        let end = bytes.len().min(start + piece);
        find_candidates(rule, &bytes[lead..end], |n| {
            selector.candidate(u64::try_from(lead + n).unwrap(), |c| cuts.push(c));
        });
        selector.searched(u64::try_from(end).unwrap(), |c| cuts.push(c));
    }
    selector.end(u64::try_from(bytes.len()).unwrap(), |c| cuts.push(c));
    cuts
}
