//! What fails on raw flash, and what that says about the chip.

use std::io;

/// What failed on raw flash.
#[derive(Debug, thiserror::Error)]
pub enum MtdError {
    /// Not an MTD character device (`/dev/mtdblockN` is none either).
    #[error("not an MTD device (expected /dev/mtdN)")]
    NotAnMtd,
    /// Open for reading only, or the device is (a `ro` device, a locked block).
    #[error("the flash is write-protected at byte {offset}")]
    Protected {
        /// Where.
        offset: u64,
    },
    /// Not a multiple of the erase block, or beyond the end.
    #[error("bytes {offset} to {} are not whole erase blocks of the flash", offset.saturating_add(*length))]
    NotWholeBlocks {
        /// Where.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// The block could not be erased: it is worn out, or marked bad.
    #[error("cannot erase the block at byte {offset}")]
    EraseFailed {
        /// Where.
        offset: u64,
        /// What the driver said.
        source: io::Error,
    },
    /// The block could not be programmed: it is worn out.
    #[error("cannot program the flash at byte {offset}")]
    ProgramFailed {
        /// Where.
        offset: u64,
        /// What the driver said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot {what} the flash at byte {offset}")]
    Io {
        /// What was being done, as a verb.
        what: &'static str,
        /// Where.
        offset: u64,
        /// What the driver said.
        source: io::Error,
    },
}

impl MtdError {
    /// Whether the block is worn out, so that it has to be marked bad and another one be used.
    #[must_use]
    pub fn is_worn_block(&self) -> bool {
        match self {
            Self::EraseFailed { source, .. } | Self::ProgramFailed { source, .. } => {
                is_chip_failure(source)
            }
            _ => false,
        }
    }
}

/// Whether erasing or programming failed in the chip itself. A refusal (read-only, no permission, a
/// lock) says nothing about the block, which must not be given up for ever because of it.
#[must_use]
pub fn is_chip_failure(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worn_block_is_told_from_a_refusal() {
        let source = io::Error::from_raw_os_error;
        let erase = |errno| MtdError::EraseFailed {
            offset: 0,
            source: source(errno),
        };
        let program = |errno| MtdError::ProgramFailed {
            offset: 0,
            source: source(errno),
        };
        assert!(erase(libc::EIO).is_worn_block() && program(libc::EIO).is_worn_block());
        assert!(!erase(libc::ENOMEM).is_worn_block() && !program(libc::EROFS).is_worn_block());
        assert!(!MtdError::Protected { offset: 0 }.is_worn_block());
    }
}
