//! `delta stats`: what an update costs over the air, in several ways.

use std::collections::HashSet;

use casync::chunk::DigestKind;
use casync::chunker::CutRule;
use casync::codec::{Encoder, Packing};
use casync::index::{Index, encoded_len};
use casync::indexer::Indexer;
use casync::{Blob, ChunkSizes};

use super::create::between;
use super::{DeltaRequest, DeltaToolError, Opened};
use crate::observer::Observer;

/// One way to update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What it is called.
    pub name: &'static str,
    /// Bytes that are fetched besides the bundle's head: data and what describes it.
    pub bytes: u64,
    /// Requests, if neighbours are fetched together.
    pub requests: usize,
}

/// The ways beside each other.
#[derive(Debug)]
pub struct Comparison {
    /// Bytes of the new image.
    pub image: u64,
    /// The ways, from most bytes to fewest.
    pub ways: Vec<Way>,
    /// What the delta is made of.
    pub totals: casync::delta::Totals,
}

/// Level of zstd that chunks are stored with, and whole images are compared with.
const STORE_LEVEL: i32 = casync::codec::DEFAULT_ZSTD_LEVEL;
/// Bytes of a block of RAUC's adaptive mode.
const BLOCK: usize = 4096;
/// Bytes of a block's hash, of which RAUC's index is made.
const HASH: u64 = 32;
/// Whole images are compressed in pieces of this size here.
const PIECE: usize = 8 * 1024 * 1024;

/// Finds out what each way would fetch.
///
/// # Errors
/// An image cannot be read.
pub fn compare(
    request: &DeltaRequest,
    observer: &mut dyn Observer,
) -> Result<Comparison, DeltaToolError> {
    let from = request.from.open(request.cut, request.workers, observer)?;
    let to = request.to.open(request.cut, request.workers, observer)?;
    let count = Count {
        request,
        from: &from,
        to: &to,
    };
    observer.step("counting other ways");
    let mut ways = vec![
        count.whole()?,
        count.blocks()?,
        count.chunks("casync, chunks of 64 KiB", 64 * 1024)?,
        count.chunks("casync, chunks of 16 KiB", 16 * 1024)?,
    ];
    let built = between(request, (&from, &to), observer)?;
    let bytes = built
        .write_to(std::io::sink(), &from.index, &to.index)
        .map_err(|error| count.failed(error))?;
    ways.push(Way {
        name: "delta",
        bytes,
        requests: 1,
    });
    ways.sort_by_key(|way| std::cmp::Reverse(way.bytes));
    Ok(Comparison {
        image: to.index.image_len(),
        ways,
        totals: *built.totals(),
    })
}

struct Count<'a> {
    request: &'a DeltaRequest,
    from: &'a Opened,
    to: &'a Opened,
}

impl Count<'_> {
    fn failed(&self, source: std::io::Error) -> DeltaToolError {
        DeltaToolError::Read {
            path: self.request.to.image.clone(),
            source,
        }
    }

    fn packed(&self, encoder: &mut Encoder, start: u64, len: usize) -> Result<u64, DeltaToolError> {
        let (mut bytes, mut out) = (vec![0; len], Vec::new());
        let read = self.to.blob.read_exact_at(start, &mut bytes);
        read.map_err(|error| self.failed(error))?;
        let packed = encoder.encode(&bytes, &mut out);
        packed.map_err(|error| self.failed(std::io::Error::other(error)))?;
        Ok(out.len().min(len) as u64)
    }

    fn encoder(&self) -> Result<Encoder, DeltaToolError> {
        Encoder::new(Packing::Zstd { level: STORE_LEVEL })
            .map_err(|error| self.failed(std::io::Error::other(error)))
    }

    fn whole(&self) -> Result<Way, DeltaToolError> {
        let (mut encoder, len) = (self.encoder()?, self.to.index.image_len());
        let (mut at, mut bytes) = (0, 0);
        while at < len {
            let piece = usize::try_from(len - at).map_or(PIECE, |rest| rest.min(PIECE));
            bytes += self.packed(&mut encoder, at, piece)?;
            at += piece as u64;
        }
        Ok(Way {
            name: "the whole image, compressed",
            bytes,
            requests: 1,
        })
    }

    /// RAUC's adaptive mode fetches each 4 KiB block that the device does not have. It is not
    /// compressed, save as the bundle is: here, as if in groups of neighbours.
    fn blocks(&self) -> Result<Way, DeltaToolError> {
        let hash = |side: &Opened| -> std::io::Result<Vec<_>> {
            let (len, mut block) = (side.index.image_len(), vec![0; BLOCK]);
            let starts = (0..len / BLOCK as u64).map(|n| n * BLOCK as u64);
            starts
                .map(|start| {
                    side.blob.read_exact_at(start, &mut block)?;
                    Ok(DigestKind::Sha256.id_of(&block))
                })
                .collect()
        };
        let known: HashSet<_> = hash(self.from)
            .map_err(|error| self.failed(error))?
            .into_iter()
            .collect();
        let blocks = hash(self.to).map_err(|error| self.failed(error))?;
        let mut encoder = self.encoder()?;
        let (mut bytes, mut requests, mut at) = (HASH * blocks.len() as u64, 0, 0);
        while at < blocks.len() {
            if known.contains(&blocks[at]) {
                at += 1;
                continue;
            }
            let missing = blocks[at..]
                .iter()
                .take(16)
                .take_while(|id| !known.contains(id));
            let count = missing.count();
            bytes += self.packed(&mut encoder, (at * BLOCK) as u64, count * BLOCK)?;
            requests += 1;
            at += count;
        }
        Ok(Way {
            name: "RAUC, blocks of 4 KiB, as if compressed",
            bytes,
            requests,
        })
    }

    fn chunks(&self, name: &'static str, avg: u64) -> Result<Way, DeltaToolError> {
        let (from, to) = (self.cut(self.from, avg)?, self.cut(self.to, avg)?);
        let mut known: HashSet<_> = from.chunks().iter().map(|chunk| chunk.id).collect();
        let mut encoder = self.encoder()?;
        let (mut bytes, mut requests, mut last) = (encoded_len(to.len() as u64), 0, None);
        for chunk in to.chunks() {
            if !known.insert(chunk.id) {
                continue;
            }
            let len = usize::try_from(chunk.len).unwrap_or(usize::MAX);
            bytes += self.packed(&mut encoder, chunk.start, len)?;
            requests += usize::from(last != Some(chunk.start));
            last = Some(chunk.end());
        }
        Ok(Way {
            name,
            bytes,
            requests,
        })
    }

    fn cut(&self, side: &Opened, avg: u64) -> Result<Index, DeltaToolError> {
        let sizes = ChunkSizes::from_avg(avg).unwrap_or_default();
        let rule = CutRule::new(sizes).map_err(crate::chunks::ChunksError::from)?;
        let threads = self.request.workers.threads;
        let indexer = Indexer::new(rule, self.request.cut.digest).with_threads(threads);
        Ok(indexer
            .index(&side.blob)
            .map_err(crate::chunks::ChunksError::from)?)
    }
}
