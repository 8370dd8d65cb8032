//! The three chunk sizes of an index.

use thiserror::Error;

use crate::limits::{CHUNK_SIZE_CEILING, CHUNK_SIZE_FLOOR};

/// Smallest, average and largest chunk of an image, in bytes.
///
/// Always `min <= avg <= max`, each within 1 byte and 128 MiB: what casync's own reader asks of an
/// index. A [`crate::chunker::CutRule`] asks a little more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    min: u32,
    avg: u32,
    max: u32,
}

/// Why three numbers are no chunk sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SizesError {
    /// One of the three is outside what casync reads.
    #[error(
        "chunk size {0} is not within {CHUNK_SIZE_FLOOR} and {CHUNK_SIZE_CEILING} bytes (128 MiB)"
    )]
    OutOfRange(u64),
    /// They are not in order.
    #[error("chunk sizes {min}:{avg}:{max} are not in order; give MIN:AVG:MAX, smallest first")]
    Unordered {
        /// Smallest chunk, bytes.
        min: u64,
        /// Average chunk, bytes.
        avg: u64,
        /// Largest chunk, bytes.
        max: u64,
    },
}

impl ChunkSizes {
    /// The three sizes in bytes.
    pub fn new(min: u64, avg: u64, max: u64) -> Result<Self, SizesError> {
        let (small, middle, large) = (one_size(min)?, one_size(avg)?, one_size(max)?);
        if small > middle || middle > large {
            return Err(SizesError::Unordered { min, avg, max });
        }
        Ok(Self {
            min: small,
            avg: middle,
            max: large,
        })
    }

    /// The sizes that casync derives from an average: a quarter of it and four times it.
    pub fn from_avg(avg: u64) -> Result<Self, SizesError> {
        Self::new(avg / 4, avg, avg.saturating_mul(4))
    }

    /// Smallest chunk, in bytes; only the last chunk of an image may be smaller.
    #[must_use]
    pub fn min(&self) -> u32 {
        self.min
    }

    /// Average chunk that is aimed for, in bytes.
    #[must_use]
    pub fn avg(&self) -> u32 {
        self.avg
    }

    /// Largest chunk, in bytes.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.max
    }

    /// Whether all chunks are of one size, so that content does not matter to the cuts.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.min == self.max
    }
}

impl Default for ChunkSizes {
    /// casync's default: 16 KiB, 64 KiB, 256 KiB.
    fn default() -> Self {
        Self {
            min: 16 * 1024,
            avg: 64 * 1024,
            max: 256 * 1024,
        }
    }
}

fn one_size(size: u64) -> Result<u32, SizesError> {
    if !(CHUNK_SIZE_FLOOR..=CHUNK_SIZE_CEILING).contains(&size) {
        return Err(SizesError::OutOfRange(size));
    }
    u32::try_from(size).map_err(|_| SizesError::OutOfRange(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_casync_accepts_and_no_more() {
        assert_eq!(ChunkSizes::from_avg(65536), Ok(ChunkSizes::default()));
        assert!(ChunkSizes::new(1, 1, 128 << 20).is_ok());
        assert_eq!(ChunkSizes::new(0, 1, 1), Err(SizesError::OutOfRange(0)));
        let above = (128 << 20) + 1;
        assert_eq!(
            ChunkSizes::new(1, 1, above),
            Err(SizesError::OutOfRange(above))
        );
        let unordered = SizesError::Unordered {
            min: 5,
            avg: 4,
            max: 6,
        };
        assert_eq!(ChunkSizes::new(5, 4, 6), Err(unordered));
        assert!(matches!(
            ChunkSizes::from_avg(u64::MAX),
            Err(SizesError::OutOfRange(_))
        ));
        assert!(ChunkSizes::new(7, 7, 7).is_ok_and(|s| s.is_fixed()));
    }
}
