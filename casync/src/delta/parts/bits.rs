//! Bits, as zstd writes them: low ones first, and read from the end.

/// Reads what was written last first. The last byte's highest set bit only marks the end.
pub(super) struct BitsFromEnd<'a> {
    bytes: &'a [u8],
    left: usize,
}

/// More bits than any field has.
const WIDEST: u32 = 32;

impl<'a> BitsFromEnd<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let last = bytes.last().filter(|last| **last != 0)?;
        let padding = usize::try_from(last.leading_zeros()).ok()? + 1;
        let left = bytes.len().checked_mul(8)? - padding;
        Some(Self { bytes, left })
    }

    pub(super) fn left(&self) -> usize {
        self.left
    }

    pub(super) fn read(&mut self, count: u32) -> Option<u32> {
        if count > WIDEST {
            return None;
        }
        self.left = self.left.checked_sub(usize::try_from(count).ok()?)?;
        let word = word_at(self.bytes, self.left / 8) >> (self.left % 8);
        u32::try_from(word & ((1 << count) - 1)).ok()
    }
}

/// Reads what was written first first.
pub(super) struct BitsFromStart<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitsFromStart<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next bits, which stay there. Behind the end there are zeros: [`BitsFromStart::end`] tells.
    pub(super) fn peek(&self, count: u32) -> Option<u32> {
        let word = word_at(self.bytes, self.at / 8) >> (self.at % 8);
        u32::try_from(word & ((1 << count.min(WIDEST)) - 1)).ok()
    }

    pub(super) fn skip(&mut self, count: u32) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?)?;
        Some(())
    }

    pub(super) fn read(&mut self, count: u32) -> Option<u32> {
        let bits = self.peek(count)?;
        self.skip(count)?;
        Some(bits)
    }

    /// Bytes that were read, whole or in part, unless there were not so many.
    pub(super) fn end(&self) -> Option<usize> {
        Some(self.at.div_ceil(8)).filter(|end| *end <= self.bytes.len())
    }
}

/// The eight bytes there, or what there is of them.
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(eight) = rest.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}

/// Writes bits behind bits.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    filled: u32,
}

impl BitWriter {
    /// Adds the `count` low bits of `value`; at most 32.
    pub(super) fn put(&mut self, value: u32, count: u32) {
        let low = u64::from(value) & ((1_u64 << count.min(WIDEST)) - 1);
        self.word |= low << self.filled;
        self.filled += count.min(WIDEST);
        while self.filled >= 8 {
            let [first, ..] = self.word.to_le_bytes();
            self.bytes.push(first);
            self.word >>= 8;
            self.filled -= 8;
        }
    }

    /// Marks the end.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.put(1, 1);
        if self.filled > 0 {
            self.put(0, 8 - self.filled);
        }
        self.bytes
    }
}
