//! Every cap of this crate, in one place. Each is checked before memory is taken for what it limits.

/// Smallest chunk size that an index header may name, in bytes.
pub const CHUNK_SIZE_FLOOR: u64 = 1;

/// Largest chunk size that an index header may name, in bytes: 128 MiB, as casync has it.
pub const CHUNK_SIZE_CEILING: u64 = 128 * 1024 * 1024;

/// Most chunks that an index may list. At 64 KiB a chunk this is an image of 256 GiB, and an index
/// of 160 MiB; a table is only ever grown by what was really read.
pub const INDEX_CHUNKS: usize = 4 * 1024 * 1024;

/// Largest window that a zstd frame may ask for, as a power of two (8 MiB).
pub const ZSTD_WINDOW_LOG: u32 = 23;

/// Memory that an xz decoder may take: enough for `xz -9` (64 MiB dictionary), no more.
pub const XZ_MEMORY: u64 = 66 * 1024 * 1024;

/// Longest name in a directory tree, in bytes (Linux's own limit).
pub const MAX_NAME: usize = 255;

/// Longest target of a symbolic link, in bytes (Linux's own limit).
pub const MAX_LINK_TARGET: usize = 4095;

/// Directories in directories of a tree, at most.
pub const MAX_TREE_DEPTH: usize = 256;

/// Nodes of a tree that is read, at most: 24 bytes of memory for each.
pub const MAX_TREE_NODES: u64 = 1 << 20;

/// What any of the compressors may add to bytes that do not compress.
const PACKED_OVERHEAD: u64 = 1024;

/// Longest stored form of a chunk of `len` bytes, compressed or not.
///
/// Incompressible data grows by far less than an eighth in zstd, xz and gzip.
#[must_use]
pub fn packed_len(len: u64) -> u64 {
    len.saturating_add(len / 8).saturating_add(PACKED_OVERHEAD)
}

/// Longest piece of a delta, and longest content of a zstd frame in an image: 1 MiB, a squashfs's
/// largest block.
pub const DELTA_PIECE: u32 = 1024 * 1024;

/// Most bytes of the base image (uncompressed) that one piece of a delta is decoded against.
pub const DELTA_PREFIX: usize = 2 * 1024 * 1024;

/// Most bytes that a zstd frame is taken apart into: 8 for each sequence. Images of real programs need a
/// tenth of it for a block of 1 MiB.
pub const DELTA_PARTS: usize = 2 * 1024 * 1024;

/// Most ranges of the base image that one piece of a delta names.
pub const DELTA_RANGES: u64 = 256;

/// Longest directory of a delta, unpacked: 64 MiB.
pub const DELTA_DIRECTORY: u32 = 64 * 1024 * 1024;
