//! Numbers of 1 to 10 bytes: 7 bits in each, low ones first, the top bit set in all but the last.

use thiserror::Error;

/// Bytes that are no number, or not one that is possible here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VarintError {
    /// The input ends within a number.
    #[error("the delta's directory ends too early")]
    Truncated,
    /// The number has more than 64 bits.
    #[error("a number at byte {0} of the delta's directory is too large")]
    TooLarge(usize),
}

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Differences of either sign: 0, -1, 1, -2 become 0, 1, 2, 3.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Reads numbers one after the other.
pub(super) struct Numbers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn next(&mut self) -> Result<u64, VarintError> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(VarintError::Truncated)?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(VarintError::TooLarge(start));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(VarintError::TooLarge(start))
    }

    pub(super) fn next_signed(&mut self) -> Result<i64, VarintError> {
        let value = self.next()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A number that fits into 32 bits.
    pub(super) fn next_u32(&mut self) -> Result<u32, VarintError> {
        let start = self.at;
        u32::try_from(self.next()?).map_err(|_| VarintError::TooLarge(start))
    }

    /// Bytes as they are.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], VarintError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let array = rest.first_chunk().ok_or(VarintError::Truncated)?;
        self.at += N;
        Ok(*array)
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(values in prop::collection::vec(any::<u64>(), 0..20)) {
            let mut bytes = Vec::new();
            for value in &values {
                put(&mut bytes, *value);
                put_signed(&mut bytes, value.cast_signed());
            }
            let mut numbers = Numbers::new(&bytes);
            for value in values {
                prop_assert_eq!(numbers.next(), Ok(value));
                prop_assert_eq!(numbers.next_signed(), Ok(value.cast_signed()));
            }
            prop_assert!(numbers.is_done());
            prop_assert_eq!(numbers.next(), Err(VarintError::Truncated));
        }
    }

    #[test]
    fn numbers_above_64_bits_are_refused() {
        let error = Numbers::new(&[0xff; 12]).next();
        assert_eq!(error, Err(VarintError::TooLarge(0)));
        let mut largest = Vec::new();
        put(&mut largest, u64::MAX);
        assert_eq!(largest.len(), 10);
        assert_eq!(
            Numbers::new(&largest).next_u32(),
            Err(VarintError::TooLarge(0))
        );
    }
}
