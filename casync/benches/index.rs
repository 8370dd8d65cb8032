//! MB/s of the chunker, the digests, a whole index on one and two threads and an assembly, beside
//! `casync make` and `casync extract`: by the clock, and by CPU time, which a busy machine changes less.
//!
//! `cargo bench -p casync [-- IMAGE]`; without an image, 256 MiB that compress about as a root file
//! system does. `casync` must be installed.

#![allow(clippy::expect_used)] // A benchmark may stop where it stands.

use std::fs::File;
use std::hint::black_box;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use casync::assemble::{Ingredients, assemble};
use casync::chunk::{DigestKind, HashedChunk};
use casync::chunker::{Chunker, CutRule, find_candidates};
use casync::codec::Packing;
use casync::index::Index;
use casync::indexer::Indexer;
use casync::plan::{Plan, Sources};
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
            std::io::Write::write_all(&mut File::create(&path)?, &synthetic())?;
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
    let blob = FileBlob::new(File::open(&path)?)?;
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
    extract(dir.path(), image.len())
}

/// Both put together an image out of casync's store into a new file.
fn extract(dir: &Path, len: usize) -> Result<(), Box<dyn std::error::Error>> {
    let index = Index::read_from(BufReader::new(File::open(dir.join("theirs.caibx"))?))?;
    let store = DirStore::new(dir.join("theirs.castr"), 0, Durability::AtSync);
    let plan = Plan::new(&index, &Sources::default())?;
    for threads in [1, 2].into_iter().filter_map(NonZeroUsize::new) {
        let ingredients = Ingredients {
            index: &index,
            seeds: &[],
            stores: &[&store],
            threads,
        };
        let ours = || -> Result<(), Box<dyn std::error::Error>> {
            let mut options = File::options();
            let file = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(dir.join("a"))?;
            file.set_len(index.image_len())?;
            assemble(&plan, &ingredients, &mut FileBlob::new(file)?)?;
            Ok(())
        };
        report(
            &format!("assemble, local store, {threads} thread(s)"),
            len,
            || {
                ours().expect("the store is whole");
            },
        );
    }
    report("casync extract from a local store", len, || {
        let _ = std::fs::remove_file(dir.join("b"));
        let mut command = Command::new("casync");
        command
            .arg("extract")
            .arg(format!("--store={}", dir.join("theirs.castr").display()));
        let status = command
            .arg(dir.join("theirs.caibx"))
            .arg(dir.join("b"))
            .output();
        assert!(
            status.is_ok_and(|o| o.status.success()),
            "casync extract failed"
        );
    });
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
    report("casync make, store empty", len, || {
        let _ = std::fs::remove_dir_all(dir.join("theirs.castr"));
        make();
    });
    report("casync make, all chunks stored already", len, make);
}

/// Seconds of CPU time of this process and the children it has waited for.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0; // Linux's USER_HZ, the same everywhere.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    // utime, stime, cutime, cstime: fields 14 to 17, of which 3 is the first behind the name.
    let ticks = fields
        .skip(11)
        .take(4)
        .filter_map(|f| f.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

fn report(what: &str, len: usize, mut work: impl FnMut()) {
    let (mut best, mut least) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        work();
        best = best.min(start.elapsed().as_secs_f64());
        least = least.min(cpu_seconds() - cpu);
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let len = len as f64 / 1e6;
    println!(
        "{what:45} {:8.0} MB/s {:8.0} MB per CPU second",
        len / best,
        len / least
    );
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
