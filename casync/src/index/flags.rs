//! The feature flags of an index header.

use thiserror::Error;

use crate::chunk::DigestKind;

const UIDS_16_BIT: u64 = 1;
const UIDS_32_BIT: u64 = 1 << 1;
const USER_NAMES: u64 = 1 << 2;
/// Time stamps in seconds, microseconds, nanoseconds, two seconds: at most one of the four.
const TIMES: u64 = 0xf << 3;
const READ_ONLY: u64 = 1 << 7;
const PERMISSIONS: u64 = 1 << 8;
const FLAG_NODUMP: u64 = 1 << 20;
const SUBVOLUME: u64 = 1 << 26;
const SUBVOLUME_READ_ONLY: u64 = 1 << 27;
const ACL: u64 = 1 << 29;
const METADATA: u64 = (1 << 33) - 1;
const EXCLUDE_FILE: u64 = 1 << 60;
const SHA512_256: u64 = 1 << 61;
const EXCLUDE_SUBMOUNTS: u64 = 1 << 62;
const EXCLUDE_NODUMP: u64 = 1 << 63;
const KNOWN: u64 = METADATA | EXCLUDE_FILE | SHA512_256 | EXCLUDE_SUBMOUNTS | EXCLUDE_NODUMP;

/// The feature flags of an index: the digest, and what an archive's entries record.
///
/// For the image of a block device only the digest means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureFlags(u64);

/// Flags that casync's reader refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FlagsError {
    /// Bits that have no meaning yet.
    #[error("unknown feature flags {0:#018x}")]
    Unknown(u64),
    /// Two flags of which one includes the other, or one without the one that it needs.
    #[error("feature flags {0:#018x} contradict each other")]
    Contradictory(u64),
}

impl FeatureFlags {
    /// The flags that casync writes for the image of a block device.
    #[must_use]
    pub fn for_blob(digest: DigestKind) -> Self {
        match digest {
            DigestKind::Sha512_256 => Self(EXCLUDE_NODUMP | SHA512_256 | EXCLUDE_FILE),
            DigestKind::Sha256 => Self(EXCLUDE_NODUMP | EXCLUDE_FILE),
        }
    }

    /// Flags of an archive that this crate writes; `bits` are in the form that casync takes.
    pub(crate) fn for_archive(bits: u64) -> Self {
        Self(bits)
    }

    /// Flags from a header.
    ///
    /// casync takes them only in the one form that it would write itself; the rules below were
    /// found by handing it every single flag and every pair.
    pub fn from_bits(bits: u64) -> Result<Self, FlagsError> {
        if bits & !KNOWN != 0 {
            return Err(FlagsError::Unknown(bits & !KNOWN));
        }
        let all = |mask: u64| bits & mask == mask;
        let any = |mask: u64| bits & mask != 0;
        let contradictory = all(UIDS_16_BIT | UIDS_32_BIT)
            || (bits & TIMES).count_ones() > 1
            || all(READ_ONLY | PERMISSIONS)
            || all(FLAG_NODUMP | EXCLUDE_NODUMP)
            || (any(SUBVOLUME_READ_ONLY) && !any(SUBVOLUME))
            || (any(ACL) && any(READ_ONLY | PERMISSIONS))
            || (any(ACL) && !any(UIDS_16_BIT | UIDS_32_BIT | USER_NAMES));
        if contradictory {
            return Err(FlagsError::Contradictory(bits));
        }
        Ok(Self(bits))
    }

    /// The flags as a header holds them.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The hash that names the chunks.
    #[must_use]
    pub fn digest(self) -> DigestKind {
        if self.0 & SHA512_256 != 0 {
            DigestKind::Sha512_256
        } else {
            DigestKind::Sha256
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_flags_are_casyncs() {
        assert_eq!(
            FeatureFlags::for_blob(DigestKind::Sha512_256).bits(),
            0xb000_0000_0000_0000
        );
        assert_eq!(
            FeatureFlags::for_blob(DigestKind::Sha256).bits(),
            0x9000_0000_0000_0000
        );
        // What other tools wrote for a time, and casync's flags for a directory tree.
        for bits in [0xa000_0000_0000_0000, 0, 1 << 61, 0xb000_0001_ffef_fe26] {
            assert_eq!(FeatureFlags::from_bits(bits).unwrap().bits(), bits);
        }
        assert_eq!(
            FeatureFlags::from_bits(0).unwrap().digest(),
            DigestKind::Sha256
        );
        assert_eq!(
            FeatureFlags::from_bits(1 << 61).unwrap().digest(),
            DigestKind::Sha512_256
        );
    }

    #[test]
    fn unknown_and_contradictory_flags_are_refused() {
        for bit in 33..60 {
            assert_eq!(
                FeatureFlags::from_bits(1 << bit),
                Err(FlagsError::Unknown(1 << bit))
            );
        }
        let pairs = [
            (0, 1),
            (3, 4),
            (3, 6),
            (5, 6),
            (7, 8),
            (20, 63),
            (27, 27),
            (29, 29),
            (29, 8),
        ];
        for (a, b) in pairs {
            let bits = 1 << a | 1 << b;
            assert_eq!(
                FeatureFlags::from_bits(bits),
                Err(FlagsError::Contradictory(bits))
            );
        }
    }
}
