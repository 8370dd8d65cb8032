//! A delta as a file.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;

use thiserror::Error;
use zstd::zstd_safe::version_number;

use super::directory::{DirectoryError, Piece, put_pieces, take_pieces};
use super::frame::{pack, unpack};
use super::index_delta::{IndexDeltaError, put_index, take_index};
use super::varint::Numbers;
use crate::blob::Blob;
use crate::chunk::DigestKind;
use crate::chunker::widen;
use crate::codec::DecodeError;
use crate::index::{Index, IndexChunk, IndexWriteError};
use crate::limits::{DELTA_DIRECTORY, packed_len};

const MAGIC: [u8; 8] = *b"SLOTDLT1";
const HEADER_LEN: usize = 88;
/// Level of the directory: it is small, and built once.
const DIRECTORY_LEVEL: i32 = 19;

/// SHA-256 over the bytes of an index file: what tells one image's index from another's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexDigest([u8; 32]);

impl IndexDigest {
    /// The digest of `index` as casync would write it.
    pub fn of(index: &Index) -> Result<Self, IndexWriteError> {
        let mut bytes = Vec::new();
        index.write_to(&mut bytes)?;
        Ok(Self(*DigestKind::Sha256.id_of(&bytes).as_bytes()))
    }

    /// A digest that was read.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for IndexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for IndexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IndexDigest({self})")
    }
}

/// Why a delta cannot be used.
#[derive(Debug, Error)]
pub enum DeltaError {
    /// It cannot be read.
    #[error("cannot read the delta at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// Something else than a delta.
    #[error("not a delta: it does not begin with SLOTDLT1")]
    Magic,
    /// It was made for another base.
    #[error("the delta is for a base whose index has the digest {wanted}, this one has {found}")]
    OtherBase {
        /// By the delta.
        wanted: IndexDigest,
        /// What is here.
        found: IndexDigest,
    },
    /// The directory claims to be larger than any.
    #[error("the delta's directory has {0} bytes, more than {DELTA_DIRECTORY}")]
    LongDirectory(u32),
    /// The directory does not unpack.
    #[error("the delta's directory is damaged")]
    Unpack(#[source] DecodeError),
    /// The new index does not come out.
    #[error(transparent)]
    Index(#[from] IndexDeltaError),
    /// Another index comes out.
    #[error("the delta gives an index with the digest {found}, not {wanted}")]
    OtherIndex {
        /// By the delta.
        wanted: IndexDigest,
        /// What came out.
        found: IndexDigest,
    },
    /// The pieces do not make sense.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// An index has no digest.
    #[error("the index cannot be written")]
    Digest(#[from] IndexWriteError),
}

/// A delta's directory, in memory: the new index and the list of pieces.
#[derive(Debug)]
pub struct Delta {
    pub(super) index: Index,
    pub(super) pieces: Vec<Piece>,
    pub(super) data_offset: u64,
    zstd: u32,
    digest: IndexDigest,
}

impl Delta {
    /// Reads the directory of a delta for the image that `base` is the index of.
    ///
    /// The new index that comes out is whole, but nobody has said that it is the wanted one: compare
    /// [`Self::digest`] with what is signed.
    pub fn open(file: &dyn Blob, base: &Index) -> Result<Self, DeltaError> {
        let mut header = [0; HEADER_LEN];
        read(file, 0, &mut header)?;
        if !header.starts_with(&MAGIC) {
            return Err(DeltaError::Magic);
        }
        let (wanted, digest) = (digest_at(&header, 8), digest_at(&header, 40));
        let found = IndexDigest::of(base)?;
        if wanted != found {
            return Err(DeltaError::OtherBase { wanted, found });
        }
        let (len, packed) = (word_at(&header, 72), word_at(&header, 76));
        if len > DELTA_DIRECTORY || u64::from(packed) > packed_len(len.into()) {
            return Err(DeltaError::LongDirectory(len.max(packed)));
        }
        let mut frame = vec![0; widen(packed)];
        read(file, offset_of(HEADER_LEN), &mut frame)?;
        let mut directory = vec![0; widen(len)];
        unpack(&[], &frame, &mut directory).map_err(DeltaError::Unpack)?;
        let mut numbers = Numbers::new(&directory);
        let index = take_index(&mut numbers, base)?;
        let found = IndexDigest::of(&index)?;
        if found != digest {
            return Err(DeltaError::OtherIndex {
                wanted: digest,
                found,
            });
        }
        Ok(Self {
            pieces: take_pieces(&mut numbers)?,
            data_offset: offset_of(HEADER_LEN) + u64::from(packed),
            zstd: word_at(&header, 80),
            index,
            digest,
        })
    }

    /// The new image's index.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The digest of the new image's index, which it has.
    #[must_use]
    pub fn digest(&self) -> IndexDigest {
        self.digest
    }

    /// The pieces, in image order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Which bytes of the delta's file it takes to make these chunks, in ascending order and without
    /// overlap.
    pub fn data_for<'c>(
        &self,
        chunks: impl IntoIterator<Item = &'c IndexChunk>,
    ) -> Vec<Range<u64>> {
        let mut needed = vec![false; self.pieces.len()];
        for chunk in chunks {
            needed[self.pieces_of(chunk)].fill(true);
        }
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let pieces = self.pieces.iter().zip(needed);
        for (piece, _) in pieces.filter(|(_, needed)| *needed) {
            let start = self.data_offset.saturating_add(piece.data_start);
            let end = start.saturating_add(piece.data_len.into());
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        ranges
    }

    /// The numbers of the pieces that it takes to make a chunk.
    pub(super) fn pieces_of(&self, chunk: &IndexChunk) -> Range<usize> {
        let first = self
            .pieces
            .partition_point(|piece| piece.end() <= chunk.start);
        let behind = self.pieces.partition_point(|p| p.start < chunk.end());
        first..behind.max(first)
    }

    /// Bytes of the delta without the pieces' data.
    #[must_use]
    pub fn directory_len(&self) -> u64 {
        self.data_offset
    }

    /// Whether this program has the zstd that the delta was made with. If not, pieces that are zstd
    /// frames may come out otherwise, and are then fetched as chunks.
    #[must_use]
    pub fn has_same_encoder(&self) -> bool {
        self.zstd == version_number()
    }
}

/// Writes header and directory; the pieces' data is to follow.
pub(super) fn write_head(
    mut out: impl Write,
    (base, new): (&Index, &Index),
    pieces: &[Piece],
) -> io::Result<u64> {
    let mut directory = Vec::new();
    put_index(&mut directory, new, base);
    put_pieces(&mut directory, pieces);
    let packed = pack(&[], &directory, DIRECTORY_LEVEL)?;
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
    let mut head = Vec::with_capacity(HEADER_LEN + packed.len());
    head.extend_from_slice(&MAGIC);
    for index in [base, new] {
        head.extend_from_slice(&IndexDigest::of(index).map_err(io::Error::other)?.0);
    }
    for word in [len(&directory)?, len(&packed)?, version_number(), 0] {
        head.extend_from_slice(&word.to_le_bytes());
    }
    head.extend_from_slice(&packed);
    out.write_all(&head)?;
    Ok(offset_of(head.len()))
}

fn read(file: &dyn Blob, offset: u64, into: &mut [u8]) -> Result<(), DeltaError> {
    file.read_exact_at(offset, into)
        .map_err(|source| DeltaError::Read { offset, source })
}

fn digest_at(header: &[u8; HEADER_LEN], at: usize) -> IndexDigest {
    let mut digest = [0; 32];
    digest.copy_from_slice(&header[at..at + 32]);
    IndexDigest(digest)
}

fn word_at(header: &[u8; HEADER_LEN], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&header[at..at + 4]);
    u32::from_le_bytes(word)
}

fn offset_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
