//! Every cap that this room enforces, in one place. Each is checked before anything is allocated.

/// Bytes of the trailer: one big-endian `u64` with the length of the signature before it.
pub const TRAILER_SIZE: u64 = 8;

/// Size of a block of the payload and of the hash tree, in bytes (dm-verity and RAUC fix it).
pub const BLOCK_SIZE: u64 = 4096;

/// Default cap on the signature, in bytes; the manifest of a verity bundle lives inside it.
/// RAUC's default for `max-bundle-signature-size`.
pub const DEFAULT_MAX_SIGNATURE_SIZE: u64 = 64 * 1024;

/// No setting may raise the signature cap beyond this, in bytes.
pub const CEILING_SIGNATURE_SIZE: u64 = 16 * 1024 * 1024;

/// Cap on a text file in key-file syntax (manifest, system.conf), in bytes.
pub const MAX_KEYFILE_SIZE: usize = 1024 * 1024;

/// Cap on the number of lines of such a file.
pub const MAX_KEYFILE_LINES: u64 = 16 * 1024;

/// Cap on the number of images that a manifest may name.
pub const MAX_IMAGES: usize = 1024;

/// Cap on a keyring file, in bytes.
pub const MAX_KEYRING_SIZE: u64 = 4 * 1024 * 1024;

/// Cap on the certificates that a signature may carry.
pub const MAX_CERTIFICATES: usize = 64;

/// Cap on the recipients of an envelope that are tried with a key on a token, which may take a second for each.
pub const MAX_RECIPIENTS_TRIED: usize = 256;

/// Cap on a bundle's payload, in bytes (1 TiB): keeps every sum of offsets far from overflow.
pub const MAX_PAYLOAD_SIZE: u64 = 1 << 40;

/// Cap on the payload of a plain bundle, in bytes. RAUC refuses 2 GiB and more since
/// CVE-2026-34155, where a truncated length left the rest of the file unsigned.
pub const MAX_PLAIN_PAYLOAD_SIZE: u64 = (1 << 31) - 1;

/// Blocks of an image that the adaptive method block-hash-index covers, at most (RAUC's limit).
pub const MAX_INDEX_BLOCKS: u64 = 0x7ff_ffff;

/// Threads that hash at the same time, at most.
pub const MAX_HASH_THREADS: usize = 8;

/// Squashfs: largest data block, in bytes (the format's own limit).
pub const MAX_SQUASHFS_BLOCK: u32 = 1024 * 1024;

/// Squashfs: a metadata block holds at most this many bytes once unpacked (the format's own limit).
pub const SQUASHFS_METADATA_SIZE: usize = 8192;

/// Squashfs: entries that one directory of a bundle may have.
pub const MAX_DIRECTORY_ENTRIES: usize = 64 * 1024;

/// Squashfs: bytes of one directory's listing.
pub const MAX_DIRECTORY_BYTES: u64 = 8 * 1024 * 1024;

/// Squashfs: extended attributes that one inode may have.
pub const MAX_XATTRS: u32 = 1024;

/// Squashfs: bytes of one inode's extended attributes, names and values.
pub const MAX_XATTR_BYTES: usize = 1024 * 1024;

/// Squashfs: data blocks of one file (4 million blocks of 128 KiB are 512 GiB).
pub const MAX_FILE_BLOCKS: u64 = 4 * 1024 * 1024;

/// Squashfs: memory that the xz decoder may take for one block, in bytes.
pub const MAX_XZ_MEMORY: u64 = 64 * 1024 * 1024;

/// Squashfs: depth of a path inside a bundle.
pub const MAX_PATH_DEPTH: usize = 16;

/// The caps that a device's configuration may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest signature (with the manifest inside it) that is read, in bytes.
    pub max_signature_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_signature_size: DEFAULT_MAX_SIGNATURE_SIZE,
        }
    }
}
