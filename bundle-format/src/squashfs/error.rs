//! Why a squashfs cannot be read.

use crate::limits::{MAX_DIRECTORY_BYTES, MAX_DIRECTORY_ENTRIES, MAX_FILE_BLOCKS};

/// Why a squashfs cannot be read. Offsets are bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SquashfsError {
    /// No magic number at its start.
    #[error("the payload is not a squashfs image")]
    NotSquashfs,
    /// Another version than 4.0.
    #[error("the payload is squashfs version {major}.{minor}; only 4.0 can be read")]
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// The block size is not one that the format allows.
    #[error("squashfs: block size {block_size} (2^{block_log}) is not allowed")]
    BlockSize {
        /// In bytes.
        block_size: u32,
        /// What its logarithm is said to be.
        block_log: u16,
    },
    /// The image is cut off.
    #[error("squashfs: the image says it has {used} bytes, but the payload has {available}")]
    Truncated {
        /// What the superblock says.
        used: u64,
        /// What is there.
        available: u64,
    },
    /// A compressor that we do not have.
    #[error("squashfs: compressed with {name}; gzip, xz and zstd can be read")]
    Compressor {
        /// Its name or number.
        name: String,
    },
    /// Something points outside of the image.
    #[error("squashfs: {what} at byte {offset} lies outside of the image")]
    Bounds {
        /// What it is.
        what: &'static str,
        /// Where it is said to be.
        offset: u64,
    },
    /// A structure contradicts itself.
    #[error("squashfs: damaged {what} at byte {offset}")]
    Damaged {
        /// What it is.
        what: &'static str,
        /// Where its block starts.
        offset: u64,
    },
    /// A block does not unpack, or to a wrong size.
    #[error("squashfs: block at byte {offset} cannot be unpacked ({problem})")]
    Unpack {
        /// Where it starts.
        offset: u64,
        /// What the decoder said.
        problem: String,
    },
    /// A structure ends too early.
    #[error("squashfs: a structure is cut off")]
    Short,
    /// A directory larger than the caps.
    #[error(
        "squashfs: a directory of {entries} entries or {bytes} bytes is too large (limits: {MAX_DIRECTORY_ENTRIES}, {MAX_DIRECTORY_BYTES})"
    )]
    DirectoryTooLarge {
        /// Entries so far.
        entries: usize,
        /// Bytes of its listing.
        bytes: u64,
    },
    /// A file larger than the caps.
    #[error(
        "squashfs: a file of {size} bytes has {blocks} blocks, more than the limit of {MAX_FILE_BLOCKS}"
    )]
    FileTooLarge {
        /// Its size.
        size: u64,
        /// Its blocks.
        blocks: u64,
    },
    /// A name that is not in the root directory.
    #[error("the bundle has no file called {name}")]
    NoSuchFile {
        /// The name.
        name: String,
    },
    /// A name that is something else than a file.
    #[error("{name} in the bundle is not a regular file")]
    NotRegular {
        /// The name.
        name: String,
    },
    /// An inode that is not a directory.
    #[error("squashfs: not a directory")]
    NotDirectory,
    /// An inode that is not a regular file.
    #[error("squashfs: not a regular file")]
    NotFile,
    /// An inode that is not a symbolic link.
    #[error("squashfs: not a symbolic link")]
    NotLink,
    /// An inode that is no device, pipe or socket.
    #[error("squashfs: not a device, pipe or socket")]
    NotSpecial,
}
