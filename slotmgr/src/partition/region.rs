//! A region of a disk in two halves, of which one is a partition: slots of the types
//! `boot-mbr-switch` and `boot-gpt-switch`.
//!
//! The ROM or firmware starts what is in partition 1. An update is written into the half that is
//! *not* partition 1, and then the partition is moved there.

use std::ops::Range;

/// `region-start` and `region-size` of a slot, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    start: u64,
    half: u64,
}

/// What is wrong with a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRegion {
    /// Halves that are not whole sectors.
    #[error("the region's start and half of its size must be multiples of {align} bytes")]
    Alignment {
        /// The unit.
        align: u64,
    },
    /// Nothing, or beyond all disks.
    #[error("the region is empty or ends beyond all disks")]
    Size,
    /// A partition that is in neither half.
    #[error(
        "the partition (bytes {start} to {end}) is not in one half of the region ({region}): \
         system.conf does not describe this disk"
    )]
    Elsewhere {
        /// First byte of the partition.
        start: u64,
        /// Behind its last byte.
        end: u64,
        /// The region, for people.
        region: Region,
    },
}

impl std::fmt::Display for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, second] = self.halves();
        write!(f, "bytes {} to {}", first.start, second.end)
    }
}

impl Region {
    /// Both in bytes; each half must be a multiple of `align`.
    ///
    /// # Errors
    /// When the halves are not aligned, empty, or too far away.
    pub fn new(start: u64, size: u64, align: u64) -> Result<Region, BadRegion> {
        if size == 0 || start.checked_add(size).is_none() {
            return Err(BadRegion::Size);
        }
        let aligned = |number: u64| align != 0 && number.is_multiple_of(align);
        if !size.is_multiple_of(2) || !aligned(start) || !aligned(size / 2) {
            return Err(BadRegion::Alignment { align });
        }
        Ok(Region {
            start,
            half: size / 2,
        })
    }

    /// The two halves, in bytes.
    #[must_use]
    pub fn halves(&self) -> [Range<u64>; 2] {
        let middle = self.start + self.half;
        [self.start..middle, middle..middle + self.half]
    }

    /// The half that the partition is *not* in: the one that may be written.
    ///
    /// # Errors
    /// When the partition is in neither half. Writing one of them might then destroy what runs.
    pub fn inactive(&self, partition: Range<u64>) -> Result<Range<u64>, BadRegion> {
        let [first, second] = self.halves();
        let within = |half: &Range<u64>| partition.start >= half.start && partition.end <= half.end;
        if partition.is_empty() || !(within(&first) || within(&second)) {
            return Err(BadRegion::Elsewhere {
                start: partition.start,
                end: partition.end,
                region: *self,
            });
        }
        Ok(if within(&first) { second } else { first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_other_half_is_written() {
        let region = Region::new(MIB, 8 * MIB, 512).unwrap();
        assert_eq!(region.inactive(MIB..5 * MIB), Ok(5 * MIB..9 * MIB));
        assert_eq!(region.inactive(5 * MIB..9 * MIB), Ok(MIB..5 * MIB));
        // Smaller than its half: RAUC's partition may be as long as the image.
        assert_eq!(region.inactive(5 * MIB..6 * MIB), Ok(MIB..5 * MIB));
    }

    #[test]
    fn a_partition_elsewhere_means_that_nothing_is_written() {
        let region = Region::new(MIB, 8 * MIB, 512).unwrap();
        for other in [
            0..MIB,
            4 * MIB..6 * MIB,
            9 * MIB..10 * MIB,
            MIB..9 * MIB,
            MIB..MIB,
        ] {
            assert!(matches!(
                region.inactive(other),
                Err(BadRegion::Elsewhere { .. })
            ));
        }
    }

    #[test]
    fn impossible_regions() {
        for (start, size, align) in [
            (0, 0, 512),
            (u64::MAX, 2, 1),
            (512, 512, 512),
            (100, 1024, 512),
            (0, 3, 1),
            (0, 2, 0),
        ] {
            assert!(
                Region::new(start, size, align).is_err(),
                "{start} {size} {align}"
            );
        }
    }
}
