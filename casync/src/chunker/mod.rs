//! Content-defined chunking with casync's boundaries.
//!
//! - [`CutRule`]: the numbers, made once from the chunk sizes.
//! - [`Chunker`]: bytes in, chunk ends out; one thread, no memory but its window.
//! - [`find_candidates`] and [`Selector`]: the same boundaries in two steps, of which the costly
//!   one runs over any pieces of the image at the same time.
//!
//! The rule, as anybody may implement it: see the [crate documentation](crate#chunk-boundaries).

mod candidates;
mod rule;
mod table;

pub use candidates::{Selector, find_candidates};
pub(crate) use rule::widen;
pub use rule::{CutRule, RuleError, WINDOW};

use rule::{BoundaryTest, hash_of, roll_over};
use std::ops::ControlFlow;

/// Cuts a stream of bytes, pushed in pieces of any size.
#[derive(Clone, Debug)]
pub struct Chunker {
    rule: CutRule,
    /// Bytes since the last cut.
    len: usize,
    /// The last 48 bytes, valid once `len` has reached the first test; filled from the left before.
    window: [u8; WINDOW],
    hash: u32,
}

impl Chunker {
    /// A chunker at the start of an image.
    #[must_use]
    pub fn new(rule: CutRule) -> Self {
        Self {
            rule,
            len: 0,
            window: [0; WINDOW],
            hash: 0,
        }
    }

    /// Bytes since the last cut: at the end of the image, the length of the last chunk (0 if none).
    #[must_use]
    pub fn pending(&self) -> usize {
        self.len
    }

    /// Takes bytes up to the next cut.
    ///
    /// `Some(n)`: a chunk ends after the first `n` bytes (`1 <= n`); push the rest again.
    /// `None`: all of `bytes` was taken and no chunk has ended.
    pub fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        let cut = match self.rule.test {
            Some(test) => self.push_hashed(bytes, test),
            None => self.push_to(bytes, widen(self.rule.longest)),
        };
        if cut.is_some() {
            self.len = 0;
        }
        cut
    }

    /// Counts bytes up to the chunk length `end`; `Some` if it was reached.
    fn push_to(&mut self, bytes: &[u8], end: usize) -> Option<usize> {
        let taken = end.saturating_sub(self.len).min(bytes.len());
        self.len += taken;
        (self.len >= end).then_some(taken)
    }

    fn push_hashed(&mut self, bytes: &[u8], test: BoundaryTest) -> Option<usize> {
        let first_test = widen(self.rule.first_test);
        let mut at = self.push_to(bytes, first_test - WINDOW)?;
        if self.len < first_test {
            at += self.fill_window(&bytes[at..], first_test)?;
            self.hash = hash_of(&self.window);
            if self.len >= widen(self.rule.longest) || test.hits(self.hash) {
                return Some(at);
            }
        }
        let rest = &bytes[at..];
        let scan = &rest[..rest.len().min(widen(self.rule.longest) - self.len)];
        if let Some(n) = self.roll(scan, test) {
            return Some(at + n);
        }
        self.len += scan.len();
        if self.len >= widen(self.rule.longest) {
            return Some(at + scan.len());
        }
        self.keep_tail(scan);
        None
    }

    /// Collects the first window of a chunk; `None` while it is not full.
    fn fill_window(&mut self, bytes: &[u8], first_test: usize) -> Option<usize> {
        let filled = WINDOW - (first_test - self.len);
        let taken = (WINDOW - filled).min(bytes.len());
        self.window[filled..filled + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        (self.len == first_test).then_some(taken)
    }

    /// Rolls the hash over `scan`; `Some(n)` where it hits, after `n` bytes.
    fn roll(&mut self, scan: &[u8], test: BoundaryTest) -> Option<usize> {
        let stop = |_| ControlFlow::Break(());
        self.hash = match roll_over(self.hash, &self.window, scan, test, stop) {
            ControlFlow::Break(n) => return Some(n),
            ControlFlow::Continue(hash) => hash,
        };
        let (_, later) = scan.split_at_checked(WINDOW)?;
        match roll_over(self.hash, scan, later, test, stop) {
            ControlFlow::Break(n) => return Some(WINDOW + n),
            ControlFlow::Continue(hash) => self.hash = hash,
        }
        None
    }

    /// Remembers the last 48 bytes for the next piece.
    fn keep_tail(&mut self, scan: &[u8]) {
        if let Some(tail) = scan.len().checked_sub(WINDOW) {
            self.window.copy_from_slice(&scan[tail..]);
        } else {
            self.window.rotate_left(scan.len());
            self.window[WINDOW - scan.len()..].copy_from_slice(scan);
        }
    }
}

#[cfg(test)]
mod tests;
