//! The chunks of an image in order, for targets that are written from their start to their end.

use std::io::{self, Read};

use bundle_format::{ReadAt, VerifiedBundle};
use casync::Blob as _;
use casync::chunk::HashedChunk;
use casync::index::Index;
use casync::plan::{Op, Plan, Sources};
use casync::store::{ChunkStore, Fetcher};

use super::seeds::{self, Seed};
use super::{ChunkedError, index};
use crate::install::{Site, Step};
use crate::writer::Method;

/// Reads an image out of seeds and stores, chunk by chunk.
pub(in crate::install) struct Chunks {
    index: Index,
    stores: Vec<Box<dyn ChunkStore>>,
    fetcher: Fetcher,
    seeds: Vec<Seed>,
    /// For each chunk the seed that should have it, and where.
    places: Vec<Option<(usize, u64)>>,
    next: usize,
    ready: io::Cursor<Vec<u8>>,
}

impl Chunks {
    /// The chunks of the image of `step`.
    pub(in crate::install) fn of<R: ReadAt>(
        bundle: &VerifiedBundle<R>,
        site: &Site<'_>,
        step: &Step,
    ) -> Result<Self, ChunkedError> {
        let index = index(bundle, step)?;
        // What a slot holds is no archive: hardly a chunk of a tree would be found in it.
        let seeds = match step.method {
            Method::Tree => Vec::new(),
            _ => seeds::find(site, step, &index),
        };
        let indices: Vec<&Index> = seeds.iter().map(|seed| &seed.index).collect();
        let sources = Sources {
            seeds: &indices,
            target: None,
            stash: 0,
        };
        let plan = Plan::new(&index, &sources)?;
        let places = places(&index, &plan);
        Ok(Self {
            fetcher: Fetcher::new(index.digest()),
            index,
            stores: site.policy.supply.stores(),
            seeds,
            places,
            next: 0,
            ready: io::Cursor::default(),
        })
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(chunk) = self.index.get(self.next) else {
            return Ok(None);
        };
        let place = self.places.get(self.next).copied().flatten();
        self.next += 1;
        let copied = place.and_then(|(seed, offset)| {
            let mut bytes = vec![0; usize::try_from(chunk.len).ok()?];
            let seed = self.seeds.get(seed)?;
            seed.blob.read_exact_at(offset, &mut bytes).ok()?;
            let hashed = HashedChunk::new(self.index.digest(), bytes);
            Some(hashed.check(&chunk.id).ok()?.into_inner())
        });
        if copied.is_some() {
            return Ok(copied);
        }
        let stores: Vec<&dyn ChunkStore> = self.stores.iter().map(|store| &**store).collect();
        let fetched = self.fetcher.fetch(&stores, &chunk, Vec::new());
        Ok(Some(fetched.map_err(io::Error::other)?.into_inner()))
    }
}

fn places(index: &Index, plan: &Plan) -> Vec<Option<(usize, u64)>> {
    let mut places = vec![None; index.len()];
    for op in plan.ops() {
        let Op::Seed { chunks, seed, from } = op else {
            continue;
        };
        let first = index.get(chunks.start).map_or(0, |chunk| chunk.start);
        for number in chunks.clone() {
            if let (Some(place), Some(chunk)) = (places.get_mut(number), index.get(number)) {
                *place = Some((*seed, from + (chunk.start - first)));
            }
        }
    }
    places
}

impl Read for Chunks {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.ready.read(buf)?;
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            match self.chunk()? {
                Some(bytes) => self.ready = io::Cursor::new(bytes),
                None => return Ok(0),
            }
        }
    }
}
