//! Makes a delta out of two images and their indices.

mod frames;
mod level;
mod pieces;
mod similar;

use std::collections::HashSet;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::ops::Range;

use thiserror::Error;

use super::directory::{Piece, PieceKind};
use super::file::write_head;
use crate::blob::Blob;
use crate::index::Index;
use pieces::Maker;

/// An image and its index.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The index.
    pub index: &'a Index,
    /// The image.
    pub image: &'a dyn Blob,
}

/// How a delta is built.
#[derive(Clone, Copy, Debug)]
pub struct BuildOptions {
    /// zstd's level for the pieces, 1 to 22. It costs the builder time, and the device nothing.
    pub level: i32,
    /// Threads.
    pub threads: NonZeroUsize,
}

/// Why no delta was built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// An image cannot be read.
    #[error("cannot read the {0} image")]
    Read(&'static str, #[source] io::Error),
    /// zstd failed.
    #[error("cannot compress a piece")]
    Compress(#[source] io::Error),
    /// Ids of different digests cannot be compared.
    #[error("the two indices name their chunks by different digests")]
    Digest,
    /// The similarity of bytes cannot be told with these sizes: a mistake in this program.
    #[error("no rule for sampling")]
    Sampling,
}

/// A delta, ready to be written.
#[derive(Debug)]
pub struct Built {
    pieces: Vec<Piece>,
    data: Vec<u8>,
    totals: Totals,
}

/// What a delta is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Chunks of the new image that the base does not have.
    pub missing_chunks: usize,
    /// Their bytes.
    pub missing_bytes: u64,
    /// Pieces that are stored as they are, and their data.
    pub raw: (usize, u64),
    /// Pieces that are decoded against the base, and their data.
    pub packed: (usize, u64),
    /// Pieces that are zstd frames, made again, and their data.
    pub frames: (usize, u64),
    /// Frames that this zstd does not make again to the byte: other versions of it made them.
    pub foreign_frames: usize,
}

/// Builds the delta from `base` to `new`.
///
/// Memory: a sample of the base's bytes (an eighth of its size at most), and the delta itself.
pub fn build(base: Side<'_>, new: Side<'_>, options: &BuildOptions) -> Result<Built, BuildError> {
    if base.index.digest() != new.index.digest() {
        return Err(BuildError::Digest);
    }
    let (runs, mut totals) = missing(base.index, new.index);
    let maker = Maker::new(base.image, new, options, &runs)?;
    let made = maker.make(&runs)?;
    totals.foreign_frames = made.foreign_frames;
    let (mut pieces, mut data) = (Vec::new(), Vec::new());
    for (piece, bytes) in made.pieces {
        let kind = match piece.kind {
            PieceKind::Raw => &mut totals.raw,
            PieceKind::Packed { .. } => &mut totals.packed,
            PieceKind::Frame { .. } => &mut totals.frames,
        };
        kind.0 += 1;
        kind.1 += u64::from(piece.data_len);
        pieces.push(piece);
        data.extend_from_slice(&bytes);
    }
    Ok(Built {
        pieces,
        data,
        totals,
    })
}

impl Built {
    /// What the delta is made of.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Writes the delta between these two indices; the same that it was built for. Gives its length.
    pub fn write_to(&self, mut out: impl Write, base: &Index, new: &Index) -> io::Result<u64> {
        let head = write_head(&mut out, (base, new), &self.pieces)?;
        out.write_all(&self.data)?;
        Ok(head.saturating_add(u64::try_from(self.data.len()).unwrap_or(u64::MAX)))
    }
}

/// The stretches of the new image that the base has no chunk for, each chunk where it is first.
fn missing(base: &Index, new: &Index) -> (Vec<Range<u64>>, Totals) {
    let mut known: HashSet<_> = base.chunks().iter().map(|chunk| chunk.id).collect();
    let (mut runs, mut totals) = (Vec::<Range<u64>>::new(), Totals::default());
    for chunk in new.chunks() {
        if !known.insert(chunk.id) {
            continue;
        }
        totals.missing_chunks += 1;
        totals.missing_bytes += u64::from(chunk.len);
        match runs.last_mut() {
            Some(last) if last.end == chunk.start => last.end = chunk.end(),
            _ => runs.push(chunk.range()),
        }
    }
    (runs, totals)
}

fn read(image: &dyn Blob, range: &Range<u64>) -> std::io::Result<Vec<u8>> {
    let len = usize::try_from(range.end - range.start).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; len];
    image.read_exact_at(range.start, &mut bytes)?;
    Ok(bytes)
}
