//! Huffman codes of a block's literals: read from their description, to encode by.

use super::bits::{BitWriter, BitsFromEnd};
use super::fse::{Counts, Decoder};

/// Longest code.
const LONGEST: u32 = 11;
/// Heaviest weight.
const HEAVIEST: u8 = 12;
/// Largest table of weights.
const WEIGHTS_LOG: u32 = 6;
/// From here on, a description's first byte is followed by weights as they are, two in a byte.
const PLAIN: u8 = 128;
/// Weights: those of 256 symbols, and the last one is not written.
const WEIGHTS: usize = 255;

/// A code for each symbol: its bits, and how many.
#[derive(Clone, Debug)]
pub(super) struct Codes {
    codes: Vec<(u32, u32)>,
}

/// Length of the description at the front of `bytes`.
pub(super) fn description_len(bytes: &[u8]) -> Option<usize> {
    let head = *bytes.first()?;
    let len = match head {
        PLAIN.. => 1 + plain_weights(head).div_ceil(2),
        _ => 1 + usize::from(head),
    };
    (len <= bytes.len()).then_some(len)
}

impl Codes {
    pub(super) fn read(description: &[u8]) -> Option<Self> {
        let (head, rest) = description.split_first()?;
        let mut weights: Vec<u8> = if *head >= PLAIN {
            let nibbles = rest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            nibbles.take(plain_weights(*head)).collect()
        } else {
            packed_weights(rest)?
        };
        if weights.iter().any(|weight| *weight > HEAVIEST) {
            return None;
        }
        // The last weight is what lacks to a power of two.
        let total: u32 = weights.iter().map(|weight| (1 << *weight) >> 1).sum();
        if total == 0 {
            return None;
        }
        let longest = total.ilog2() + 1;
        let lacking = (1_u32 << longest) - total;
        if longest > LONGEST || !lacking.is_power_of_two() {
            return None;
        }
        weights.push(u8::try_from(lacking.ilog2() + 1).ok()?);
        Some(Self {
            codes: canonical(&weights, longest),
        })
    }

    /// One stream: from the last symbol to the first.
    pub(super) fn encode(&self, symbols: &[u8]) -> Option<Vec<u8>> {
        let mut out = BitWriter::default();
        for symbol in symbols.iter().rev() {
            let (code, bits) = *self.codes.get(usize::from(*symbol))?;
            if bits == 0 {
                return None;
            }
            out.put(code, bits);
        }
        Some(out.finish())
    }
}

fn plain_weights(head: u8) -> usize {
    usize::from(head.saturating_sub(PLAIN)) + 1
}

/// Shorter codes have the larger values; among codes of one length the symbols ascend.
fn canonical(weights: &[u8], longest: u32) -> Vec<(u32, u32)> {
    let bits = |weight: u8| match weight {
        0 => 0,
        weight => longest + 1 - u32::from(weight),
    };
    let mut codes = vec![(0, 0); weights.len()];
    let mut next = 0_u32;
    for length in (1..=longest).rev() {
        for (code, weight) in codes.iter_mut().zip(weights) {
            if bits(*weight) == length {
                *code = (next, length);
                next += 1;
            }
        }
        next >>= 1;
    }
    codes
}

/// Two states take turns, until there are no more bits.
fn packed_weights(bytes: &[u8]) -> Option<Vec<u8>> {
    let (counts, len) = Counts::read(bytes, WEIGHTS_LOG, usize::from(HEAVIEST) + 1)?;
    let decoder = Decoder::new(&counts)?;
    let mut bits = BitsFromEnd::new(bytes.get(len..)?)?;
    let mut states = [decoder.first(&mut bits)?, decoder.first(&mut bits)?];
    let mut weights = Vec::new();
    loop {
        let [state, other] = &mut states;
        weights.push(state.symbol);
        if weights.len() >= WEIGHTS {
            return None;
        }
        if bits.left() < usize::from(state.bits) {
            weights.push(other.symbol);
            return Some(weights);
        }
        *state = decoder.next(*state, &mut bits)?;
        states.swap(0, 1);
    }
}
