//! A pack as a file.

use std::collections::BTreeMap;
use std::io::{self, Write};

use thiserror::Error;

use crate::blob::Blob;
use crate::chunk::ChunkId;
use crate::codec::StoredForm;
use crate::delta::IndexDigest;
use crate::index::{Index, IndexError, IndexWriteError, encoded_len};
use crate::limits::{INDEX_CHUNKS, packed_len};
use crate::store::{ChunkStore, StoreError};

const MAGIC: [u8; 8] = *b"SLOTPCK1";
const HEADER_LEN: u64 = 48;
/// In a stored length: the chunk is not compressed.
const RAW: u32 = 1 << 31;

/// Where a chunk is in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) len: u32,
    pub(super) form: StoredForm,
}

/// The head of a pack, in memory: the index, and where its chunks are.
#[derive(Debug)]
pub struct Pack {
    index: Index,
    digest: IndexDigest,
    pub(super) places: BTreeMap<ChunkId, Place>,
}

/// Why a pack cannot be used or made.
#[derive(Debug, Error)]
pub enum PackError {
    /// It cannot be read.
    #[error("cannot read the pack at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// Something else than a pack.
    #[error("not a pack: it does not begin with SLOTPCK1")]
    Magic,
    /// More chunks than this program handles, or another number than there are.
    #[error("the pack's index has {0} bytes, which is not what it can have")]
    LongIndex(u64),
    /// Its index is none.
    #[error("the pack's index is not good")]
    Index(#[from] IndexError),
    /// Its index is another than the pack says.
    #[error("the pack names an index with the digest {wanted} and holds one with {found}")]
    OtherIndex {
        /// By the header.
        wanted: IndexDigest,
        /// What it holds.
        found: IndexDigest,
    },
    /// The table has not one entry for each different chunk.
    #[error("the pack lists {found} chunks, its index {expected} different ones")]
    Count {
        /// By the index.
        expected: usize,
        /// By the pack.
        found: u32,
    },
    /// A stored length that no chunk has.
    #[error("the pack holds {len} bytes for chunk {id}, which is not possible")]
    Length {
        /// The chunk.
        id: ChunkId,
        /// By the pack.
        len: u32,
    },
    /// The index has no digest.
    #[error("the index cannot be written")]
    Digest(#[from] IndexWriteError),
    /// A chunk that belongs into the pack cannot be had.
    #[error("cannot get chunk {id} for the pack")]
    Chunk {
        /// The chunk.
        id: ChunkId,
        /// Why.
        source: StoreError,
    },
    /// The pack cannot be written.
    #[error("cannot write the pack")]
    Write(#[source] io::Error),
}

/// What a pack begins with.
struct Header {
    /// Of its index.
    digest: IndexDigest,
    /// Entries of the table.
    count: u32,
    /// Bytes of the index.
    index_len: u32,
}

impl Header {
    fn read(file: &dyn Blob) -> Result<Self, PackError> {
        let mut header = [0; 48];
        read(file, 0, &mut header)?;
        let (magic, rest) = header.split_at(8);
        if magic != MAGIC {
            return Err(PackError::Magic);
        }
        let (digest, words) = rest.split_at(32);
        let digest = IndexDigest::from_bytes(digest.first_chunk().copied().unwrap_or_default());
        let (count, index_len) = (word(words), word(&words[4..]));
        if u64::from(index_len) > encoded_len(INDEX_CHUNKS as u64) {
            return Err(PackError::LongIndex(index_len.into()));
        }
        Ok(Self {
            digest,
            count,
            index_len,
        })
    }
}

impl Pack {
    /// Reads the head of a pack.
    pub fn open(file: &dyn Blob) -> Result<Self, PackError> {
        let header = Header::read(file)?;
        let bytes = part(file, HEADER_LEN, header.index_len.into())?;
        let index = Index::read_from(&bytes[..])?;
        Self::with_index(file, &header, index)
    }

    /// Reads the head of the pack of the image that `index` is of, without the index in it.
    pub fn open_for(file: &dyn Blob, index: &Index) -> Result<Self, PackError> {
        let header = Header::read(file)?;
        Self::with_index(file, &header, index.clone())
    }

    fn with_index(file: &dyn Blob, header: &Header, index: Index) -> Result<Self, PackError> {
        let (count, index_len) = (header.count, header.index_len);
        let (wanted, found) = (header.digest, IndexDigest::of(&index)?);
        if found != wanted {
            return Err(PackError::OtherIndex { wanted, found });
        }
        let expected = distinct(&index).len();
        if usize::try_from(count).ok() != Some(expected) {
            return Err(PackError::Count {
                expected,
                found: count,
            });
        }
        if u64::from(index_len) != encoded_len(index.len() as u64) {
            return Err(PackError::LongIndex(index_len.into()));
        }
        let table_start = HEADER_LEN + u64::from(index_len);
        let table = part(file, table_start, u64::from(count) * 4)?;
        let data_start = table_start + u64::from(count) * 4;
        let places = places(&index, &table, data_start)?;
        Ok(Self {
            index,
            digest: found,
            places,
        })
    }

    /// The image's index. Nobody has said that it is the wanted one: compare [`Self::digest`].
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The digest of the index.
    #[must_use]
    pub fn digest(&self) -> IndexDigest {
        self.digest
    }

    /// Bytes that [`Self::open_for`] reads.
    #[must_use]
    pub fn table_len(&self) -> u64 {
        HEADER_LEN + self.places.len() as u64 * 4
    }

    /// Bytes before the first chunk.
    #[must_use]
    pub fn head_len(&self) -> u64 {
        self.table_len() + encoded_len(self.index.len() as u64)
    }
}

/// Different chunks in the order in which they are first wanted.
fn distinct(index: &Index) -> Vec<(ChunkId, u32)> {
    let mut seen = std::collections::HashSet::new();
    let chunks = index.chunks().iter();
    let first = chunks.filter(|chunk| seen.insert(chunk.id));
    first.map(|chunk| (chunk.id, chunk.len)).collect()
}

fn places(
    index: &Index,
    table: &[u8],
    data_start: u64,
) -> Result<BTreeMap<ChunkId, Place>, PackError> {
    let (mut places, mut start) = (BTreeMap::new(), data_start);
    for ((id, chunk_len), entry) in distinct(index).into_iter().zip(table.chunks_exact(4)) {
        let entry = word(entry);
        let (len, form) = match entry & RAW {
            0 => (entry, StoredForm::Packed),
            _ => (entry & !RAW, StoredForm::Raw),
        };
        if len == 0 || u64::from(len) > packed_len(chunk_len.into()) {
            return Err(PackError::Length { id, len });
        }
        places.insert(id, Place { start, len, form });
        start += u64::from(len);
    }
    Ok(places)
}

/// Writes the pack of the image that `index` is of, with the chunks of a store as they are stored.
/// Gives its length.
///
/// The store is asked twice for every chunk, first for its length.
pub fn write_pack(
    index: &Index,
    store: &dyn ChunkStore,
    mut out: impl Write,
) -> Result<u64, PackError> {
    let chunks = distinct(index);
    let mut stored = Vec::new();
    let mut get = |id: &ChunkId, len: u32| -> Result<(StoredForm, Vec<u8>), PackError> {
        let got = store.get(id, packed_len(len.into()), &mut stored);
        let form = got.map_err(|source| PackError::Chunk { id: *id, source })?;
        Ok((form, std::mem::take(&mut stored)))
    };
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(IndexDigest::of(index)?.as_bytes());
    let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    let index_len = encoded_len(index.len() as u64);
    let index_len = u32::try_from(index_len).map_err(|_| PackError::LongIndex(index_len))?;
    for word in [count, index_len] {
        head.extend_from_slice(&word.to_le_bytes());
    }
    index.write_to(&mut head)?;
    let mut entries = Vec::new();
    for (id, len) in &chunks {
        let (form, bytes) = get(id, *len)?;
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = len | if form == StoredForm::Raw { RAW } else { 0 };
        entries.push((form, bytes.len()));
        head.extend_from_slice(&entry.to_le_bytes());
    }
    out.write_all(&head).map_err(PackError::Write)?;
    let mut total = head.len() as u64;
    for ((id, len), before) in chunks.iter().zip(entries) {
        let (form, bytes) = get(id, *len)?;
        if (form, bytes.len()) != before {
            let source = io::Error::other("the store changed while the pack was written");
            return Err(PackError::Write(source));
        }
        out.write_all(&bytes).map_err(PackError::Write)?;
        total += bytes.len() as u64;
    }
    Ok(total)
}

fn read(file: &dyn Blob, offset: u64, into: &mut [u8]) -> Result<(), PackError> {
    file.read_exact_at(offset, into)
        .map_err(|source| PackError::Read { offset, source })
}

/// A part of the head; it is taken only if the file is long enough for it.
fn part(file: &dyn Blob, offset: u64, len: u64) -> Result<Vec<u8>, PackError> {
    let short = || PackError::Read {
        offset,
        source: io::ErrorKind::UnexpectedEof.into(),
    };
    if offset.saturating_add(len) > file.len() {
        return Err(short());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| short())?];
    read(file, offset, &mut bytes)?;
    Ok(bytes)
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default())
}
