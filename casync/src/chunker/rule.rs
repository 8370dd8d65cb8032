//! Where a chunk may end: the rule as numbers, without any state.

use std::ops::ControlFlow;

use thiserror::Error;

use super::table::{ENTER, LEAVE};
use crate::sizes::ChunkSizes;

/// Bytes that the rolling hash looks at.
pub const WINDOW: usize = 48;

/// [`WINDOW`] as a chunk length.
const WINDOW_LEN: u32 = 48;

/// The cut rule of one set of chunk sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutRule {
    pub(super) sizes: ChunkSizes,
    /// Length at which a chunk is first tested for an end.
    pub(super) first_test: u32,
    /// Longest chunk; the chunker's own copy, where `min` and `first_test` lie.
    pub(super) longest: u32,
    /// None: all chunks have one size and content does not matter.
    pub(super) test: Option<BoundaryTest>,
}

/// Why an image cannot be cut with some sizes, although an index may name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// The largest chunk is shorter than the hash window.
    #[error("largest chunk of {0} bytes is below the {WINDOW} bytes that the chunker looks at")]
    BelowWindow(u32),
    /// casync's formula has no meaning for so large an average.
    #[error(
        "average chunk of {0} bytes is too large: casync's cut rule is not defined above 9 MiB; \
         give MIN, AVG and MAX the same value for chunks of fixed size"
    )]
    NoDiscriminator(u32),
}

impl CutRule {
    /// The rule for `sizes`.
    pub fn new(sizes: ChunkSizes) -> Result<Self, RuleError> {
        if sizes.is_fixed() {
            let max = sizes.max();
            return Ok(Self {
                sizes,
                first_test: max,
                longest: max,
                test: None,
            });
        }
        if sizes.max() < WINDOW_LEN {
            return Err(RuleError::BelowWindow(sizes.max()));
        }
        let test = BoundaryTest::new(discriminator(&sizes)?);
        let first_test = sizes.min().max(WINDOW_LEN);
        Ok(Self {
            sizes,
            first_test,
            longest: sizes.max(),
            test: Some(test),
        })
    }

    /// The sizes that the rule was made from.
    #[must_use]
    pub fn sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// Most bytes of a chunk, as a length in memory.
    #[must_use]
    pub fn longest(&self) -> usize {
        widen(self.longest)
    }
}

/// A chunk size as a length in memory; no target that this runs on has less than 32 bits.
pub(crate) fn widen(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// casync's number for an average size: a window ends a chunk when its hash leaves this number
/// less one as remainder. The constants were fitted by casync's author so that chunks come out
/// near the average once `min` and `max` have had their say.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "truncation towards zero is the format; the value is positive and clamped"
)]
fn discriminator(sizes: &ChunkSizes) -> Result<u32, RuleError> {
    let avg = f64::from(sizes.avg());
    let divisor = -1.428_888_52e-7 * avg + 1.332_375_15;
    if divisor <= 0.0 {
        return Err(RuleError::NoDiscriminator(sizes.avg()));
    }
    let fitted = (avg / divisor) as u32;
    Ok(fitted.clamp(sizes.min(), sizes.max()))
}

/// `hash mod d == d - 1` without a division.
///
/// With `d = odd * 2^k`: `hash + 1` is a multiple of `d` exactly if, multiplied by the inverse of
/// `odd` mod 2^32 and turned right by `k`, it is at most `(2^32 - 1) / d` (Warren, Hacker's Delight,
/// 10-17). `hash = 2^32 - 1` wraps to 0 there and would pass; 2^32 is a multiple only of powers
/// of two, so for any other `d` the 0 is taken out by shifting the range by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoundaryTest {
    inverse: u32,
    shift: u32,
    bias: u32,
    limit: u32,
}

impl BoundaryTest {
    pub(super) fn new(discriminator: u32) -> Self {
        let d = discriminator.max(1);
        let shift = d.trailing_zeros();
        let odd = d >> shift;
        let bias = u32::from(odd > 1);
        Self {
            inverse: inverse_of(odd),
            shift,
            bias,
            limit: u32::MAX / d - bias,
        }
    }

    #[inline(always)]
    pub(super) fn hits(self, hash: u32) -> bool {
        let quotient = hash
            .wrapping_add(1)
            .wrapping_mul(self.inverse)
            .rotate_right(self.shift);
        quotient.wrapping_sub(self.bias) <= self.limit
    }
}

/// The inverse of an odd number mod 2^32 (Newton: each step doubles the right bits, from 5).
fn inverse_of(odd: u32) -> u32 {
    let mut x = odd.wrapping_mul(3) ^ 2;
    for _ in 0..3 {
        x = x.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(x)));
    }
    x
}

/// The hash of one full window.
pub(super) fn hash_of(window: &[u8; WINDOW]) -> u32 {
    window.iter().fold(0, |hash, byte| {
        hash.rotate_left(1) ^ ENTER[usize::from(*byte)]
    })
}

/// The hash one byte further on.
#[inline(always)]
fn rolled(hash: u32, leave: u8, enter: u8) -> u32 {
    hash.rotate_left(1) ^ (LEAVE[usize::from(leave)] ^ ENTER[usize::from(enter)])
}

/// Bytes that are rolled over before their hashes are tested: testing several at once is half as
/// fast again as testing each when it is there, since hardly any of them hits.
const STRIDE: usize = 8;

/// Rolls the hash over as many bytes as the shorter of the two slices has.
///
/// Calls `found(n)` where the hash hits after `n` bytes; on `Break` stops there and gives `n`,
/// otherwise gives the hash after the last byte.
#[inline(always)]
pub(super) fn roll_over(
    mut hash: u32,
    leaves: &[u8],
    enters: &[u8],
    test: BoundaryTest,
    mut found: impl FnMut(usize) -> ControlFlow<()>,
) -> ControlFlow<usize, u32> {
    let len = leaves.len().min(enters.len());
    let (leave_strides, leave_rest) = leaves[..len].as_chunks::<STRIDE>();
    let (enter_strides, enter_rest) = enters[..len].as_chunks::<STRIDE>();
    let mut at = 0;
    for (leave, enter) in leave_strides.iter().zip(enter_strides) {
        let mut hashes = [0; STRIDE];
        for i in 0..STRIDE {
            hash = rolled(hash, leave[i], enter[i]);
            hashes[i] = hash;
        }
        if hashes.iter().fold(false, |any, h| any | test.hits(*h)) {
            for (n, _) in (at + 1..).zip(hashes).filter(|(_, h)| test.hits(*h)) {
                if found(n).is_break() {
                    return ControlFlow::Break(n);
                }
            }
        }
        at += STRIDE;
    }
    for (leave, enter) in leave_rest.iter().zip(enter_rest) {
        hash = rolled(hash, *leave, *enter);
        at += 1;
        if test.hits(hash) && found(at).is_break() {
            return ControlFlow::Break(at);
        }
    }
    ControlFlow::Continue(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn discriminators_are_casyncs() {
        let known = [
            (4, 3075),
            (8, 6153),
            (16, 12318),
            (32, 24680),
            (64, 49535),
            (128, 99777),
            (256, 202_440),
        ];
        for (kib, d) in known {
            let sizes = ChunkSizes::from_avg(kib * 1024).unwrap();
            assert_eq!(discriminator(&sizes), Ok(d), "{kib} KiB");
        }
        let narrow = ChunkSizes::new(65530, 65536, 65540).unwrap();
        assert_eq!(discriminator(&narrow), Ok(65530), "clamped to min");
    }

    #[test]
    fn sizes_without_a_rule_are_refused() {
        let tiny = ChunkSizes::new(16, 20, 32).unwrap();
        assert_eq!(CutRule::new(tiny), Err(RuleError::BelowWindow(32)));
        let huge = ChunkSizes::new(1 << 22, 1 << 24, 1 << 26).unwrap();
        assert_eq!(CutRule::new(huge), Err(RuleError::NoDiscriminator(1 << 24)));
        assert!(CutRule::new(ChunkSizes::new(7, 7, 7).unwrap()).is_ok());
        assert!(CutRule::new(ChunkSizes::new(1 << 24, 1 << 24, 1 << 24).unwrap()).is_ok());
    }

    fn by_division(hash: u32, d: u32) -> bool {
        hash % d == d - 1
    }

    #[test]
    fn the_test_agrees_with_division_at_the_edges() {
        for d in [
            1,
            2,
            3,
            4,
            5,
            6,
            7,
            8,
            12,
            3075,
            12318,
            49535,
            65536,
            99777,
            u32::MAX,
            1 << 31,
        ] {
            let test = BoundaryTest::new(d);
            for hash in [
                0,
                1,
                2,
                d.wrapping_sub(2),
                d - 1,
                d,
                u32::MAX - 1,
                u32::MAX,
                u32::MAX / 2,
            ] {
                assert_eq!(test.hits(hash), by_division(hash, d), "hash {hash} d {d}");
            }
            let last = (u32::MAX / d) * d;
            for hash in [last.wrapping_sub(1), last, last.wrapping_sub(2)] {
                assert_eq!(test.hits(hash), by_division(hash, d), "hash {hash} d {d}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_test_agrees_with_division(hash: u32, d in 1_u32.., multiple: u32) {
            let test = BoundaryTest::new(d);
            prop_assert_eq!(test.hits(hash), by_division(hash, d));
            let near = multiple.wrapping_mul(d).wrapping_sub(1);
            prop_assert_eq!(test.hits(near), by_division(near, d));
        }
    }
}
