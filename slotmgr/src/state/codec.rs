//! One copy of the record as bytes.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | `slotmgr` and a zero byte |
//! | 8 | 4 | version of this layout, 1, little-endian |
//! | 12 | 4 | length of the text, little-endian |
//! | 16 | 8 | generation, little-endian: the higher one counts |
//! | 24 | 32 | SHA-256 over bytes 0 to 23 and the text |
//! | 56 | length | JSON |
//!
//! Whatever follows the text is not looked at.

use sha2::{Digest as _, Sha256};

const MAGIC: &[u8; 8] = b"slotmgr\0";
const LAYOUT: u32 = 1;
const HEADER: usize = 56;
const SUMMED: usize = 24;

/// A copy that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    pub generation: u64,
    pub text: Vec<u8>,
}

pub(super) fn encode(copy: &Copy, size: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEADER + copy.text.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&LAYOUT.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(copy.text.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(&copy.generation.to_le_bytes());
    bytes.extend_from_slice(&checksum(&bytes, &copy.text));
    bytes.extend_from_slice(&copy.text);
    (bytes.len() <= size).then_some(bytes)
}

/// `None` for anything that is not a whole copy: torn, empty, of a later layout.
pub(super) fn decode(bytes: &[u8]) -> Option<Copy> {
    let field = |range: std::ops::Range<usize>| bytes.get(range);
    let u32_at = |at: usize| Some(u32::from_le_bytes(field(at..at + 4)?.try_into().ok()?));
    if field(0..8)? != MAGIC || u32_at(8)? != LAYOUT {
        return None;
    }
    let length = usize::try_from(u32_at(12)?).ok()?;
    let generation = u64::from_le_bytes(field(16..24)?.try_into().ok()?);
    let text = field(HEADER..HEADER.checked_add(length)?)?;
    let whole = checksum(field(0..SUMMED)?, text)[..] == *field(SUMMED..HEADER)?;
    whole.then(|| Copy {
        generation,
        text: text.to_vec(),
    })
}

fn checksum(header: &[u8], text: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(header)
        .chain_update(text)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_bit() {
        let copy = Copy {
            generation: 7,
            text: b"{\"schema\":1}".to_vec(),
        };
        let bytes = encode(&copy, 512).unwrap();
        assert_eq!(decode(&bytes), Some(copy.clone()));
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&broken), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
        assert_eq!(encode(&copy, bytes.len() - 1), None);
    }
}
