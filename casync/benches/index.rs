//! MB/s of the chunker, the digests and a whole index on one and two threads, beside `casync make`.
//!
//! `cargo bench -p casync [-- IMAGE]`; without an image, 256 MiB that compress about as a root file
//! system does. `casync` is left out if it is not installed.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use casync::chunk::{DigestKind, HashedChunk};
use casync::chunker::{Chunker, CutRule, find_candidates};
use casync::codec::Packing;
use casync::indexer::Indexer;
use casync::store::{Chopper, DirStore, Durability};
use casync::{ChunkSizes, FileBlob};

const SYNTHETIC_LEN: usize = 256 * 1024 * 1024;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let given = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let path = match given {
        Some(path) => path.into(),
        None => {
            let path = dir.path().join("image");
            std::io::Write::write_all(&mut std::fs::File::create(&path)?, &synthetic())?;
            path
        }
    };
    let image = std::fs::read(&path)?;
    println!("{}: {} bytes", path.display(), image.len());
    let rule = CutRule::new(ChunkSizes::default())?;

    report("chunker, one stream", image.len(), || {
        let (mut chunker, mut rest, mut cuts) = (Chunker::new(rule), &image[..], 0_u64);
        while let Some(n) = chunker.push(rest) {
            (rest, cuts) = (&rest[n..], cuts + 1);
        }
        black_box(cuts);
    });
    report("candidates, every window", image.len(), || {
        let mut found = 0_u64;
        find_candidates(&rule, &image, |_| found += 1);
        black_box(found);
    });
    for digest in [DigestKind::Sha512_256, DigestKind::Sha256] {
        report(&format!("{digest:?}"), image.len(), || {
            black_box(digest.id_of(&image));
        });
    }
    let blob = FileBlob::new(std::fs::File::open(&path)?)?;
    for digest in [DigestKind::Sha512_256, DigestKind::Sha256] {
        for threads in [1, 2].into_iter().filter_map(NonZeroUsize::new) {
            let indexer = Indexer::new(rule, digest).with_threads(threads);
            report(
                &format!("index, {digest:?}, {threads} thread(s)"),
                image.len(),
                || {
                    black_box(indexer.index(&blob).ok());
                },
            );
        }
    }
    for threads in [1, 2].into_iter().filter_map(NonZeroUsize::new) {
        let indexer = Indexer::new(rule, DigestKind::default()).with_threads(threads);
        report(
            &format!("index and store, {threads} thread(s)"),
            image.len(),
            || {
                let _ = std::fs::remove_dir_all(dir.path().join("ours.castr"));
                let store = DirStore::new(dir.path().join("ours.castr"), 0, Durability::AtSync);
                let chopper = Chopper::new(&store, Packing::default());
                let put = |_: u64, chunk: &HashedChunk<&[u8]>| {
                    chopper
                        .put(chunk)
                        .map(|_| ())
                        .map_err(std::io::Error::other)
                };
                black_box(indexer.index_and_visit(&blob, &put).ok());
            },
        );
    }
    casync_make(&path, dir.path(), image.len());
    Ok(())
}

/// casync into an empty store, and into one that has everything (its nearest to a mere index).
fn casync_make(image: &Path, dir: &Path, len: usize) {
    let make = || {
        let mut command = Command::new("casync");
        command
            .arg("make")
            .arg(format!("--store={}", dir.join("theirs.castr").display()));
        let status = command.arg(dir.join("theirs.caibx")).arg(image).output();
        assert!(
            status.is_ok_and(|o| o.status.success()),
            "casync make failed"
        );
    };
    if Command::new("casync").arg("--version").output().is_err() {
        println!("casync is not installed");
        return;
    }
    report("casync make, store empty", len, || {
        let _ = std::fs::remove_dir_all(dir.join("theirs.castr"));
        make();
    });
    report("casync make, all chunks stored already", len, make);
}

fn report(what: &str, len: usize, mut work: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let rate = len as f64 / best / 1e6;
    println!("{what:45} {rate:8.0} MB/s");
}

/// Half noise, half text, in runs of a few KiB.
fn synthetic() -> Vec<u8> {
    let (mut out, mut state) = (Vec::with_capacity(SYNTHETIC_LEN), 1_u64);
    while out.len() < SYNTHETIC_LEN {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let [.., kind, byte] = state.to_le_bytes();
        if out.len() / 8192 % 2 == 0 {
            out.push(byte);
        } else {
            out.push(b'a' + kind % 16);
        }
    }
    out
}
