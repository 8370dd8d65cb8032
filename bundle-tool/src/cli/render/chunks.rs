//! Indices and stores as text and as JSON.

use std::path::Path;

use anyhow::Result;
use casync::chunk::DigestKind;
use casync::index::Index;
use serde::Serialize;

use super::json::SCHEMA;
use super::{Text, count, size};
use crate::chunks::{AssembledImage, Chop, IndexRequest, Indexed, PackFetch, Stats, StoredTotals};

pub(in crate::cli) fn indexed(request: &IndexRequest, indexed: &Indexed) -> String {
    let mut text = Text::default();
    text.line("Index", request.output.path.display());
    text.index(&indexed.index);
    if let (Some(target), Some(totals)) = (&request.store, &indexed.stored) {
        text.store(&target.directory, totals);
    }
    text.0
}

pub(in crate::cli) fn chopped(directory: &Path, chop: &Chop) -> String {
    let mut text = Text::default();
    text.index(&chop.index);
    text.store(directory, &chop.stored);
    text.0
}

pub(in crate::cli) fn index_fits(image: &Path, index: &Index) -> String {
    format!(
        "Good: all {} of {} are those of the index.\n",
        count(index.len(), "chunk"),
        image.display()
    )
}

pub(in crate::cli) fn assembled(path: &Path, image: &AssembledImage) -> String {
    let mut text = Text::default();
    text.line("Image", path.display());
    text.line("Size", size(image.len));
    text.line("In place", size(image.from.kept));
    text.line("Copied", size(image.from.copied));
    text.line("From stores", size(image.from.fetched));
    if image.from.fell_through > 0 {
        let chunks = count(image.from.fell_through, "chunk");
        text.line(
            "Seeds changed",
            format!("{chunks} came from a store instead"),
        );
    }
    text.0
        .push_str("Every chunk is the one that the index names.\n");
    text.0
}

pub(in crate::cli) fn packed(path: &Path, len: u64) -> String {
    let mut text = Text::default();
    text.line("Pack", path.display());
    text.line("Size", size(len));
    text.0
}

pub(in crate::cli) fn stats(path: &Path, stats: &Stats) -> String {
    let mut text = Text::default();
    text.line("Index", path.display());
    text.index(&stats.index);
    text.line("Different", count(stats.distinct, "chunk"));
    let (smallest, largest) = stats.bounds;
    let found = format!("{smallest} to {largest} bytes");
    text.line("Lengths found", found);
    if let Some(update) = &stats.update {
        text.line("Had already", size(update.seed + update.repeat));
        let runs = count(update.fetch_runs, "run");
        let chunks = count(update.fetch_chunks, "chunk");
        let line = format!("{} in {chunks}, {runs}", size(update.fetch));
        text.line("To fetch", line);
    }
    if let Some(stored) = &stats.stored {
        let present = count(stored.present, "chunk");
        text.line("In the store", format!("{present}, {}", size(stored.bytes)));
        if stored.missing > 0 {
            text.line("NOT in store", count(stored.missing, "chunk"));
        }
        if let Some(bytes) = stored.to_fetch {
            text.line("Over the air", format!("{} ({bytes} bytes)", size(bytes)));
        }
    }
    if let Some(PackFetch { bytes, requests }) = stats.packed {
        let requests = count(requests, "request");
        let line = format!("{} ({bytes} bytes), {requests}", size(bytes));
        text.line("By the pack", line);
    }
    text.0
}

impl Text {
    fn index(&mut self, index: &Index) {
        let sizes = index.sizes();
        let cut = format!("{}:{}:{} bytes", sizes.min(), sizes.avg(), sizes.max());
        self.line("Image", size(index.image_len()));
        self.line("Chunks", index.len());
        self.line("Chunk sizes", cut);
        self.line("Digest", digest_name(index.digest()));
    }

    fn store(&mut self, directory: &Path, totals: &StoredTotals) {
        self.line("Store", directory.display());
        let new = format!("{} chunks, {}", totals.chunks, size(totals.bytes));
        self.line("Stored anew", new);
        self.line("Stored before", format!("{} chunks", totals.present));
    }
}

fn digest_name(digest: DigestKind) -> &'static str {
    match digest {
        DigestKind::Sha512_256 => "SHA-512/256",
        DigestKind::Sha256 => "SHA-256",
    }
}

pub(in crate::cli) fn stats_json(stats: &Stats) -> Result<String> {
    let sizes = stats.index.sizes();
    let shown = StatsJson {
        schema: SCHEMA,
        image_size: stats.index.image_len(),
        digest: digest_name(stats.index.digest()),
        chunk_sizes: [sizes.min(), sizes.avg(), sizes.max()],
        chunks: stats.index.len(),
        distinct_chunks: stats.distinct,
        smallest_chunk: stats.bounds.0,
        largest_chunk: stats.bounds.1,
        update: stats.update.map(|update| UpdateJson {
            had_already: update.seed + update.repeat,
            fetch: update.fetch,
            fetch_chunks: update.fetch_chunks,
            fetch_runs: update.fetch_runs,
        }),
        store: stats.stored.map(|stored| StoreJson {
            chunks: stored.present,
            bytes: stored.bytes,
            missing_chunks: stored.missing,
            fetch_bytes: stored.to_fetch,
        }),
        pack: stats.packed.map(|packed| PackJson {
            fetch_bytes: packed.bytes,
            requests: packed.requests,
        }),
    };
    let mut text = serde_json::to_string_pretty(&shown)?;
    text.push('\n');
    Ok(text)
}

#[derive(Serialize)]
struct StatsJson {
    schema: u32,
    image_size: u64,
    digest: &'static str,
    chunk_sizes: [u32; 3],
    chunks: usize,
    distinct_chunks: usize,
    smallest_chunk: u32,
    largest_chunk: u32,
    update: Option<UpdateJson>,
    store: Option<StoreJson>,
    pack: Option<PackJson>,
}

#[derive(Serialize)]
struct PackJson {
    fetch_bytes: u64,
    requests: usize,
}

#[derive(Serialize)]
struct UpdateJson {
    had_already: u64,
    fetch: u64,
    fetch_chunks: usize,
    fetch_runs: usize,
}

#[derive(Serialize)]
struct StoreJson {
    chunks: usize,
    bytes: u64,
    missing_chunks: usize,
    fetch_bytes: Option<u64>,
}
