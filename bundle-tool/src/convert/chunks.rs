//! One image into a chunk store.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use casync::FileBlob;
use casync::catar::{DecodeError, Decoder, EncodeError, encode, feature_flags};
use casync::chunker::{CutRule, RuleError};
use casync::index::{FeatureFlags, Index, IndexWriteError};
use casync::indexer::{Indexer, IndexerError};
use casync::store::{Chopped, Chopper, DirStore, DirStoreError, Durability};

use super::archive::{ArchiveError, Tree};
use super::options::ChunkOptions;

/// How images are cut and their chunks stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunking {
    /// How large chunks are, what names them, how they are packed.
    pub options: ChunkOptions,
    /// Threads that cut and pack.
    pub threads: NonZeroUsize,
    /// Random number for temporary names in the store.
    pub nonce: u64,
}

impl Chunking {
    /// With a random name for temporary files, and as many threads as there are cores.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(options: ChunkOptions) -> Result<Self, openssl::error::ErrorStack> {
        let mut nonce = [0; 8];
        openssl::rand::rand_bytes(&mut nonce)?;
        Ok(Self {
            options,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            nonce: u64::from_le_bytes(nonce),
        })
    }
}

/// Why an image cannot be chunked.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// A file cannot be read or written.
    #[error("cannot read or write a file")]
    Io(#[from] io::Error),
    /// Sizes that nobody can cut by.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The image cannot be cut.
    #[error(transparent)]
    Cut(#[from] IndexerError),
    /// The index cannot be written.
    #[error(transparent)]
    Index(#[from] IndexWriteError),
    /// The tar archive is no tree.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The tree has no archive in casync's format.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The archive in casync's format is damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The store cannot be brought to the disk.
    #[error(transparent)]
    Store(#[from] DirStoreError),
}

/// A store that is being filled.
pub(super) struct Filling<'a> {
    store: DirStore,
    chunking: &'a Chunking,
    added: AtomicU64,
}

impl<'a> Filling<'a> {
    /// Makes the directory if it is not there.
    pub(super) fn new(root: &Path, chunking: &'a Chunking) -> Result<Self, ChunkError> {
        fs_err::create_dir_all(root)?;
        Ok(Self {
            store: DirStore::new(root, chunking.nonce, Durability::AtSync),
            chunking,
            added: AtomicU64::new(0),
        })
    }

    /// Cuts the image `from` as it is; writes the index to `to`.
    pub(super) fn blob(&self, from: &Path, to: &Path) -> Result<(), ChunkError> {
        let flags = FeatureFlags::for_blob(self.chunking.options.digest);
        self.cut(fs_err::File::open(from)?.into(), flags, to)
    }

    /// Cuts the archive that the tar image `from` makes.
    pub(super) fn tar(&self, from: &Path, to: &Path) -> Result<(), ChunkError> {
        let tree = Tree::read(from)?;
        let flags = feature_flags(&tree.root, self.chunking.options.digest);
        let mut archive = BufWriter::new(tempfile::tempfile()?);
        let copy = &mut |span: &_, output: &mut dyn io::Write| tree.copy(*span, output);
        encode(&tree.root, flags, copy, &mut archive)?;
        archive.flush()?;
        let archive = archive
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        self.cut(archive, flags, to)
    }

    /// Cuts the casync archive `from` after reading all of it: what is damaged is not passed on.
    pub(super) fn catar(&self, from: &Path, to: &Path) -> Result<(), ChunkError> {
        let mut decoder = Decoder::new(BufReader::new(fs_err::File::open(from)?));
        while decoder.next_event()?.is_some() {}
        let same_digest = |flags: &FeatureFlags| flags.digest() == self.chunking.options.digest;
        // An archive names the digest of its chunks in every entry.
        let flags = decoder.feature_flags().filter(same_digest).ok_or_else(|| {
            io::Error::other("the archive is made for chunks with another digest")
        })?;
        self.cut(fs_err::File::open(from)?.into(), flags, to)
    }

    fn cut(&self, from: File, flags: FeatureFlags, to: &Path) -> Result<(), ChunkError> {
        let rule = CutRule::new(self.chunking.options.sizes)?;
        let chopper = Chopper::new(&self.store, self.chunking.options.packing);
        let indexer = Indexer::with_flags(rule, flags).with_threads(self.chunking.threads);
        let index: Index = indexer.index_and_visit(&FileBlob::new(from)?, &|_, chunk| {
            if let Chopped::Put(len) = chopper.put(chunk).map_err(io::Error::other)? {
                self.added.fetch_add(len as u64, Ordering::Relaxed);
            }
            Ok(())
        })?;
        let mut output = BufWriter::new(fs_err::File::create_new(to)?);
        index.write_to(&mut output)?;
        output.flush()?;
        Ok(())
    }

    /// Brings the chunks to the disk; gives the bytes that were added.
    pub(super) fn finish(self) -> Result<u64, ChunkError> {
        self.store.sync()?;
        Ok(self.added.into_inner())
    }
}
