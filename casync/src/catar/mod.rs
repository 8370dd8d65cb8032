//! casync's archive of a directory tree (`.catar`): a writer whose archives are casync's byte for
//! byte, and a strict reader.
//!
//! An archive is a sequence of objects. Each begins with its whole size and its type (two `u64`,
//! little-endian); what follows depends on the type. One node of the tree is
//!
//! ```text
//! ENTRY                                       what kind of node, permissions, owner, time
//! + file:     PAYLOAD                         the content
//! + link:     SYMLINK                         the target, ended by a NUL
//! + device:   DEVICE                          major and minor number
//! + directory: (FILENAME node)* GOODBYE       the children, sorted by name, and a table of them
//! + pipe, socket: nothing
//! ```
//!
//! and the archive is the node of the root directory. The table in GOODBYE lists, for each child,
//! how far before the table it begins, its size, and the SipHash-2-4 of its name, in the order of a
//! complete binary search tree over the hashes, level by level; its last item points to the
//! directory's own ENTRY and carries a marker.
//!
//! What an archive records is told by its feature flags, which every ENTRY repeats. Written here is
//! what `casync --with=unix` writes: 16-bit owners, permissions, times in seconds, links, devices,
//! pipes and sockets; with 32-bit owners where there are larger ones.

mod decode;
mod encode;
mod goodbye;
mod siphash;
mod tree;

pub use decode::{DecodeError, Decoder, Event};
pub use encode::{EncodeError, encode, feature_flags};
pub use tree::{Directory, Kind, Metadata, Node, NodeKind, TreeError};

use crate::chunk::DigestKind;

/// Types of objects.
const ENTRY: u64 = 0x1396_fabc_ea5b_bb51;
const FILENAME: u64 = 0x6dbb_6ebc_b316_1f0b;
const PAYLOAD: u64 = 0x8b9e_1d93_d6dc_ffc9;
const SYMLINK: u64 = 0x664a_6fb6_830e_0d6c;
const DEVICE: u64 = 0xac3d_ace3_69df_e643;
const GOODBYE: u64 = 0xdfd3_5c5e_8327_c403;
/// Ends the table of a directory.
const GOODBYE_TAIL: u64 = 0x5744_6fa5_3370_2943;

/// Size and type.
const HEADER_SIZE: u64 = 16;
/// Header, flags, mode, attributes, user, group, time.
const ENTRY_SIZE: u64 = HEADER_SIZE + 6 * 8;
const DEVICE_SIZE: u64 = HEADER_SIZE + 2 * 8;
/// One item of the table of a directory.
const GOODBYE_ITEM: u64 = 3 * 8;

/// Nanoseconds of the second in which times are recorded.
const SECOND: u64 = 1_000_000_000;

/// Feature flags that say what entries record.
mod flag {
    pub(super) const UIDS_16_BIT: u64 = 1;
    pub(super) const UIDS_32_BIT: u64 = 1 << 1;
    pub(super) const SECONDS: u64 = 1 << 3;
    pub(super) const PERMISSIONS: u64 = 1 << 8;
    pub(super) const KINDS: u64 = 0xf << 9;
    /// Written by casync whatever is recorded: files with the no-dump attribute and those named in
    /// exclusion lists are left out.
    pub(super) const EXCLUDES: u64 = 1 << 63 | 1 << 60;
    pub(super) const SHA512_256: u64 = 1 << 61;
}

/// What `--with=unix` records, with owners of this width.
fn unix_flags(uids: u64, digest: DigestKind) -> u64 {
    let digest = match digest {
        DigestKind::Sha512_256 => flag::SHA512_256,
        DigestKind::Sha256 => 0,
    };
    uids | flag::SECONDS | flag::PERMISSIONS | flag::KINDS | flag::EXCLUDES | digest
}

#[cfg(test)]
mod tests;
