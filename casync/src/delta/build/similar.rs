//! Finds what in the base is like some bytes of the new image.
//!
//! The base is divided into units. Of each, the hashes of some windows are kept, chosen by their
//! content, so that the same windows are chosen wherever the bytes are. The units that share most of
//! them with the bytes in question are the most similar ones.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::chunker::{CutRule, WINDOW, find_candidates};
use crate::sizes::ChunkSizes;

/// Units that may share a window before it tells nothing.
const COMMON: usize = 8;

/// One window in about a hundred is kept.
pub(super) fn sampling() -> Option<CutRule> {
    let sizes = ChunkSizes::new(48, 128, 512).ok()?;
    CutRule::new(sizes).ok()
}

/// The windows of the base: hash and unit, sorted.
pub(super) struct Similar {
    rule: CutRule,
    windows: Vec<(u64, u32)>,
}

impl Similar {
    pub(super) fn new(rule: CutRule, mut windows: Vec<(u64, u32)>) -> Self {
        windows.sort_unstable();
        windows.dedup();
        Self { rule, windows }
    }

    /// Units that are like `bytes`, most similar first.
    pub(super) fn to(&self, bytes: &[u8]) -> Vec<u32> {
        let mut votes: HashMap<u32, u32> = HashMap::new();
        each_window(&self.rule, bytes, |hash| {
            let first = self.windows.partition_point(|(h, _)| *h < hash);
            let same = self.windows[first..].iter().take_while(|(h, _)| *h == hash);
            let units: Vec<u32> = same.take(COMMON + 1).map(|(_, unit)| *unit).collect();
            if units.len() <= COMMON {
                for unit in units {
                    *votes.entry(unit).or_default() += 1;
                }
            }
        });
        let mut units: Vec<(u32, u32)> = votes.into_iter().collect();
        units.sort_unstable_by_key(|(unit, votes)| (u32::MAX - votes, *unit));
        units.into_iter().map(|(unit, _)| unit).collect()
    }
}

/// Calls `take` with the hash of each window that is chosen.
pub(super) fn each_window(rule: &CutRule, bytes: &[u8], mut take: impl FnMut(u64)) {
    find_candidates(rule, bytes, |end| {
        let window = &bytes[end - WINDOW..end];
        // A run of one byte is everywhere.
        if window.iter().any(|byte| *byte != window[0]) {
            let mut hasher = DefaultHasher::new();
            window.hash(&mut hasher);
            take(hasher.finish());
        }
    });
}
