//! What this machine has already: the running system's slots, and indices of what is in them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use bundle_format::Digest;
use bundle_format::block_hash_index::{self, BlockHashIndex};
use casync::chunk::{ChunkId, DigestKind};
use casync::chunker::CutRule;
use casync::index::{FeatureFlags, Index};
use casync::indexer::Indexer;
use casync::{Blob, ChunkSizes, FileBlob};

use super::ChunkedError;
use crate::install::{Site, Step};
use crate::slot::{Role, Slot, SlotKind, role};
use crate::storage::durable::replace_file;

/// Chunks of a slot that are compared with a kept index before it is believed.
const LOOKS: usize = 16;

/// A slot that is only read.
pub(super) struct Seed {
    pub(super) blob: Head<FileBlob>,
    pub(super) index: Index,
}

/// The part of a slot that an image fills: its last chunk ends where the image does.
pub(super) struct Head<B> {
    slot: B,
    len: u64,
}

impl<B: Blob> Head<B> {
    /// The first `len` bytes, as far as the slot has them.
    pub(super) fn new(slot: B, len: u64) -> Self {
        let len = len.min(slot.len());
        Self { slot, len }
    }
}

impl<B: Blob> Blob for Head<B> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.slot.read_exact_at(offset, buffer)
    }
}

/// The slots of the running system that may hold something of the image of `step`.
pub(super) fn find(site: &Site<'_>, step: &Step, new: &Index) -> Vec<Seed> {
    let slots = site.layout.iter().filter(|(id, slot)| {
        let runs = role(site.layout, site.booted, *id) != Role::Inactive;
        let block = matches!(slot.kind, SlotKind::Raw | SlotKind::Ext4 | SlotKind::Vfat);
        runs && block && slot.name.class() == step.slot.class()
    });
    let seeds = slots.filter_map(|(_, slot)| {
        // Without a seed more is fetched, and nothing else is different.
        seed(site, slot, new)
            .inspect_err(|error| tracing::warn!("slot {} gives nothing: {error}", slot.name))
            .ok()
    });
    seeds.collect()
}

fn seed(site: &Site<'_>, slot: &Slot, new: &Index) -> Result<Seed, ChunkedError> {
    let read = |source| ChunkedError::Seed {
        device: slot.device.clone(),
        source,
    };
    let blob = FileBlob::new(File::open(&slot.device).map_err(read)?).map_err(read)?;
    let known = Known::of(site, slot);
    let len = known.as_ref().map_or(blob.len(), |known| known.size);
    let image = Head::new(blob, len);
    let kept = known.as_ref().and_then(|known| kept(known, new, image.len));
    let kept = kept.filter(|index| is_true(index, &image));
    let index = match kept {
        Some(index) => index,
        None => {
            let index = index_of(&image, new)?;
            if let Some(known) = &known {
                keep(known, &index);
            }
            index
        }
    };
    Ok(Seed { blob: image, index })
}

/// Whether the slot holds what the index says, by a look here and there: somebody may have written to
/// it without us, and then hardly anything of the index is true.
fn is_true(index: &Index, image: &dyn Blob) -> bool {
    let step = (index.len() / LOOKS).max(1);
    let mut looks = index.chunks().iter().step_by(step).take(LOOKS);
    looks.all(|chunk| {
        let mut bytes = vec![0; usize::try_from(chunk.len).unwrap_or(0)];
        let read = image.read_exact_at(chunk.start, &mut bytes).is_ok();
        read && index.digest().id_of(&bytes) == chunk.id
    })
}

/// The index of what is there, cut as `new` is.
pub(super) fn index_of(blob: &dyn Blob, new: &Index) -> Result<Index, ChunkedError> {
    let rule = CutRule::new(new.sizes())?;
    let indexer = Indexer::with_flags(rule, new.flags());
    let threads = available_parallelism();
    let indexer = threads.map_or(indexer, |threads| indexer.with_threads(threads));
    Ok(indexer.index(blob)?)
}

/// What the status says of a slot's content, and where an index of it is kept.
pub(super) struct Known {
    size: u64,
    directory: PathBuf,
}

impl Known {
    fn of(site: &Site<'_>, slot: &Slot) -> Option<Known> {
        let status = site.status;
        let name = slot.name.to_string();
        let sha256 = status.get(&name, "sha256")?;
        let directory = home_of(site, &name)?.join(format!("hash-{sha256}"));
        (status.get(&name, "status")? == "ok").then_some(())?;
        Some(Known {
            size: status.get(&name, "size")?.parse().ok()?,
            directory,
        })
    }

    /// Of the image that is being installed.
    pub(super) fn to_be(site: &Site<'_>, step: &Step) -> Option<Known> {
        let home = home_of(site, &step.slot.to_string())?;
        // Of what the slot held before nothing will be left.
        let _ = std::fs::remove_dir_all(&home);
        Some(Known {
            size: step.size,
            directory: home.join(format!("hash-{}", step.sha256)),
        })
    }
}

/// Where RAUC keeps its indices of a slot.
fn home_of(site: &Site<'_>, slot: &str) -> Option<PathBuf> {
    let data = site.policy.home.as_deref()?;
    Some(data.join(format!("slot.{slot}")))
}

/// Name of a kept index: RAUC's own if it is one of blocks.
fn file_name(index: &Index) -> &'static str {
    match is_blocks(index) {
        true => block_hash_index::METHOD,
        false => "index.caibx",
    }
}

fn is_blocks(index: &Index) -> bool {
    index.digest() == DigestKind::Sha256 && index.sizes().is_fixed() && index.sizes().max() == 4096
}

/// A kept index that is of use for `new`.
fn kept(known: &Known, new: &Index, len: u64) -> Option<Index> {
    let file = File::open(known.directory.join(file_name(new))).ok()?;
    let index = if is_blocks(new) {
        let bytes = file.metadata().ok()?.len();
        blocks(&BlockHashIndex::read(io::BufReader::new(file), bytes, len).ok()?).ok()?
    } else {
        Index::read_from(io::BufReader::new(file)).ok()?
    };
    let same_cuts = index.sizes() == new.sizes() && index.flags() == new.flags();
    (same_cuts && index.image_len() == len).then_some(index)
}

/// Keeps the index for the next update. It is a hint: one that is lost is made anew.
pub(super) fn keep(known: &Known, index: &Index) {
    let path = known.directory.join(file_name(index));
    if let Err(error) = write(&path, index) {
        tracing::warn!("cannot keep the index {}: {error}", path.display());
    }
}

fn write(path: &Path, index: &Index) -> io::Result<()> {
    let mut bytes = Vec::new();
    if is_blocks(index) {
        for chunk in index.chunks() {
            bytes.extend_from_slice(chunk.id.as_bytes());
        }
    } else {
        index.write_to(&mut bytes).map_err(io::Error::other)?;
    }
    replace_file(path, &bytes)
}

/// RAUC's digests of blocks as an index of chunks.
pub(super) fn blocks(digests: &BlockHashIndex) -> Result<Index, ChunkedError> {
    let block = 4096;
    let flags = FeatureFlags::for_blob(DigestKind::Sha256);
    let mut index = Index::new(flags, ChunkSizes::new(block, block, block)?);
    for digest in digests.digests() {
        let id = ChunkId::from_bytes(*Digest::as_bytes(digest));
        index.push(4096, id)?;
    }
    Ok(index)
}
