//! Which parts of a file to fetch together.

use std::ops::Range;

/// When neighbours are fetched by one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunRule {
    /// Bytes between two wanted parts that are fetched along: less than a request costs.
    pub gap: u64,
    /// Longest run. It is held in memory.
    pub longest: u64,
}

impl Default for RunRule {
    /// A request costs about as much as 4 KiB (headers and a round trip); runs of 1 MiB.
    fn default() -> Self {
        Self {
            gap: 4 * 1024,
            longest: 1024 * 1024,
        }
    }
}

/// The runs that cover all `wanted` parts, in ascending order and without overlap. A part that is
/// itself longer than the longest run is a run of its own.
pub(super) fn runs(mut wanted: Vec<Range<u64>>, rule: &RunRule) -> Vec<Range<u64>> {
    wanted.sort_unstable_by_key(|part| (part.start, part.end));
    let mut runs: Vec<Range<u64>> = Vec::new();
    for part in wanted.into_iter().filter(|part| part.start < part.end) {
        match runs.last_mut() {
            Some(run)
                if part.start <= run.end.saturating_add(rule.gap)
                    && part.end.max(run.end) - run.start <= rule.longest =>
            {
                run.end = run.end.max(part.end);
            }
            Some(run) if part.start < run.end => run.end = run.end.max(part.end),
            _ => runs.push(part),
        }
    }
    runs
}
