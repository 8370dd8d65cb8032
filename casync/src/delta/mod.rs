//! Deltas: what a device that has one image needs to fetch to make another of it.
//!
//! A delta belongs to two indices, the *base* and the *new* one. It holds the new index as
//! references to the base's, and *pieces*: stretches of the new image that the base's chunks do not
//! give, most of them as zstd frames whose prefix is read from the base image. A piece may also be a
//! zstd frame *of the image* (a block of a squashfs): then its content is made in the same way and
//! compressed again, with the very encoder that made it, or with another one and mended.
//!
//! A delta is a hint and is not trusted. [`DeltaStore`] is one [`crate::store::ChunkStore`] among
//! others: what it gives is compared with the index like any chunk, and where it fails the next
//! store is asked. The builder tries every piece with the code that the device runs.
//!
//! The bytes of the file are described in `docs/formats/delta.md`.

mod build;
mod decode;
mod directory;
mod file;
mod frame;
mod index_delta;
mod pace;
mod parts;
mod store;
mod tools;
mod varint;

pub use build::{BuildError, BuildOptions, Built, Side, Totals, build};
pub use decode::PieceError;
pub use directory::{BaseRange, DirectoryError, Mend, Piece, PieceKind};
pub use file::{Delta, DeltaError, IndexDigest};
pub use frame::frame_of;
pub use index_delta::IndexDeltaError;
pub use pace::{Affordable, Pace};
pub use store::DeltaStore;

/// What a fuzzer drives: past the digests, which no fuzzer finds.
#[doc(hidden)]
pub mod fuzzing {
    use super::*;
    use crate::chunk::DigestKind;
    use crate::index::{FeatureFlags, Index};
    use crate::sizes::ChunkSizes;

    /// Reads a directory, and makes every piece of `data`, which is the base as well.
    pub fn read(directory: &[u8], data: &[u8]) {
        let flags = FeatureFlags::for_blob(DigestKind::default());
        let base = Index::new(flags, ChunkSizes::default());
        let mut numbers = varint::Numbers::new(directory);
        let _ = index_delta::take_index(&mut numbers, &base);
        let mut numbers = varint::Numbers::new(directory);
        let (base, mut tools) = (data.to_vec(), tools::Tools::default());
        for piece in directory::take_pieces(&mut numbers).unwrap_or_default() {
            let len = crate::chunker::widen(piece.data_len).min(data.len());
            let _ = decode::decode(&piece, data[..len].to_vec(), &base, &mut tools);
        }
    }

    /// Takes `bytes` apart as a frame, and puts them together as parts; neither need work. What zstd makes of
    /// `content` has to come together again.
    ///
    /// # Panics
    /// It does not.
    pub fn parts(bytes: &[u8], content: &[u8]) {
        let _ = parts::put_together(bytes, content);
        if let Some(parts) = parts::take_apart(bytes) {
            let _ = parts::put_together(&parts, content);
        }
        for level in [1, 5, 9, 15] {
            let frame = frame_of(content, level).unwrap_or_default();
            let parts = parts::take_apart(&frame).unwrap_or_default();
            assert!(parts::put_together(&parts, content).as_ref() == Some(&frame));
        }
    }
}

#[cfg(test)]
mod tests;
