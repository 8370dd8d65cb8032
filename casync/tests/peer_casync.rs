//! Both ways against Debian's casync: indices to the byte, stores, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may stop where it stands.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use casync::assemble::{AssembleError, Ingredients, assemble};
use casync::chunk::{DigestKind, HashedChunk};
use casync::chunker::CutRule;
use casync::codec::{Format, Packing, StoredForm};
use casync::index::{FeatureFlags, Index};
use casync::indexer::Indexer;
use casync::plan::{Plan, Sources};
use casync::store::{Chopper, ChunkStore, DirStore, Durability};
use casync::{ChunkSizes, FileBlob};

const DIGESTS: [(DigestKind, &str); 2] = [
    (DigestKind::Sha512_256, "sha512-256"),
    (DigestKind::Sha256, "sha256"),
];

const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// A 48-byte window that hits casync's default discriminator 49535.
const HIT: &str = "5a2e2dceebc3dcb73998ba9a81e8cd6d6cd89e3b417338d7b7f577c956662baaf7b72f0fc6d0b1371cb81a679d7c9073";

fn casync(dir: &Path, args: &[&str]) -> Output {
    Command::new("casync")
        .current_dir(dir)
        .args(args)
        .output()
        .expect("casync is installed")
}

fn casync_ok(dir: &Path, args: &[&str]) -> String {
    let out = casync(dir, args);
    assert!(
        out.status.success(),
        "casync {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::File::create(path).unwrap().write_all(bytes).unwrap();
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..len).map(step).collect()
}

fn images() -> Vec<(&'static str, Vec<u8>)> {
    let hit: Vec<u8> = (0..HIT.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&HIT[i..i + 2], 16).unwrap())
        .collect();
    let mut crafted = noise(1 << 20, 7);
    crafted[16384 - 48..16384].copy_from_slice(&hit);
    let mixed = [
        noise(700_000, 1),
        vec![0; 900_000],
        noise(300_000, 2),
        b"ab".repeat(100_000),
    ];
    vec![
        ("empty", Vec::new()),
        ("one byte", vec![1]),
        ("below the window", noise(47, 3)),
        ("the window", noise(48, 3)),
        ("exactly the smallest chunk", noise(16384, 4)),
        ("one more", noise(16385, 4)),
        ("exactly the largest chunk of zeros", vec![0; 262_144]),
        ("zeros", vec![0; 1_000_000]),
        ("noise", noise(3_000_000, 5)),
        ("a hit at the smallest length", crafted),
        ("mixed", mixed.concat()),
    ]
}

fn sizes_of(text: &str) -> ChunkSizes {
    let parts: Vec<u64> = text.split(':').map(|n| n.parse().unwrap()).collect();
    match parts[..] {
        [avg] => ChunkSizes::from_avg(avg).unwrap(),
        [min, avg, max] => ChunkSizes::new(min, avg, max).unwrap(),
        _ => panic!("{text}"),
    }
}

fn our_index(image: &[u8], sizes: ChunkSizes, digest: DigestKind, threads: usize) -> Index {
    let rule = CutRule::new(sizes).unwrap();
    let threads = NonZeroUsize::new(threads).unwrap();
    Indexer::new(rule, digest)
        .with_threads(threads)
        .index(&image.to_vec())
        .unwrap()
}

fn bytes_of(index: &Index) -> Vec<u8> {
    let mut bytes = Vec::new();
    index.write_to(&mut bytes).unwrap();
    bytes
}

/// Indexes and stores an image with our own code.
fn our_make(dir: &Path, image: &[u8], digest: DigestKind, packing: Packing) -> (Index, DirStore) {
    let store = DirStore::new(dir.join("ours.castr"), 1, Durability::AtSync);
    let chopper = Chopper::new(&store, packing);
    let put = |_: u64, chunk: &HashedChunk<&[u8]>| {
        chopper
            .put(chunk)
            .map(|_| ())
            .map_err(std::io::Error::other)
    };
    let indexer = Indexer::new(CutRule::new(ChunkSizes::default()).unwrap(), digest)
        .with_threads(NonZeroUsize::new(2).unwrap());
    let index = indexer.index_and_visit(&image.to_vec(), &put).unwrap();
    store.sync().unwrap();
    write(&dir.join("ours.caibx"), &bytes_of(&index));
    (index, store)
}

fn our_extract(index: &Index, store: &dyn ChunkStore) -> Result<Vec<u8>, AssembleError> {
    let plan = Plan::new(index, &Sources::default()).unwrap();
    let mut target = vec![0; usize::try_from(index.image_len()).unwrap()];
    let ingredients = Ingredients {
        index,
        seeds: &[],
        stores: &[store],
        threads: THREADS,
    };
    assemble(&plan, &ingredients, &mut target).map(|_| target)
}

/// Every file below a store, with its mode.
fn listing(store: &Path) -> BTreeMap<PathBuf, u32> {
    let mut found = BTreeMap::new();
    for sub in fs::read_dir(store).unwrap() {
        for file in fs::read_dir(sub.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let mode = fs::metadata(&path).unwrap().mode() & 0o777;
            found.insert(path.strip_prefix(store).unwrap().to_owned(), mode);
        }
    }
    found
}

#[test]
fn indices_are_casyncs_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    for (name, image) in images() {
        write(&dir.path().join("image"), &image);
        for (digest, digest_name) in DIGESTS {
            for sizes in [
                "65536",
                "16384",
                "4096",
                "262144",
                "20000:30000:31000",
                "65536:65536:65536",
            ] {
                let args = [
                    "make",
                    "--store=theirs.castr",
                    &format!("--digest={digest_name}"),
                    &format!("--chunk-size={sizes}"),
                    "theirs.caibx",
                    "image",
                ];
                casync_ok(dir.path(), &args);
                let theirs = fs::read(dir.path().join("theirs.caibx")).unwrap();
                for threads in [1, 2, 3] {
                    let ours = our_index(&image, sizes_of(sizes), digest, threads);
                    assert!(
                        bytes_of(&ours) == theirs,
                        "{name}, {digest_name}, {sizes}, {threads}"
                    );
                }
                assert_eq!(bytes_of(&Index::read_from(&theirs[..]).unwrap()), theirs);
            }
        }
    }
}

#[test]
fn tiny_chunk_sizes_are_casyncs_too() {
    let dir = tempfile::tempdir().unwrap();
    let image = noise(3000, 8);
    write(&dir.path().join("image"), &image);
    for sizes in [
        "16:20:64",
        "1:50:100",
        "48:60:200",
        "40:44:48",
        "7:7:7",
        "1:1:1",
        "1:1:300",
    ] {
        let ours = sizes_of(sizes);
        let args = [
            "make",
            "--store=s",
            &format!("--chunk-size={sizes}"),
            "theirs.caibx",
            "image",
        ];
        casync_ok(dir.path(), &args);
        let theirs = fs::read(dir.path().join("theirs.caibx")).unwrap();
        for threads in [1, 2] {
            let index = our_index(&image, ours, DigestKind::Sha512_256, threads);
            assert!(bytes_of(&index) == theirs, "{sizes}, {threads} threads");
        }
    }
    // Chunks below the window: casync will not have them either.
    let args = [
        "make",
        "--store=s",
        "--chunk-size=16:20:32",
        "theirs.caibx",
        "image",
    ];
    assert!(!casync(dir.path(), &args).status.success());
    assert!(CutRule::new(sizes_of("16:20:32")).is_err());
}

#[test]
fn casync_reads_our_store_and_index() {
    for (digest, _) in DIGESTS {
        for packing in [
            Packing::default(),
            Packing::Zstd { level: 19 },
            Packing::Xz,
            Packing::Gzip,
        ] {
            let dir = tempfile::tempdir().unwrap();
            for (name, image) in images() {
                our_make(dir.path(), &image, digest, packing);
                let args = ["extract", "--store=ours.castr", "ours.caibx", "out"];
                casync_ok(dir.path(), &args);
                let out = fs::read(dir.path().join("out")).unwrap();
                assert!(out == image, "{name}, {packing:?}");
                fs::remove_file(dir.path().join("out")).unwrap();
            }
        }
    }
}

#[test]
fn casync_finds_the_images_digest_through_our_store() {
    let dir = tempfile::tempdir().unwrap();
    let (_, image) = images().pop().unwrap();
    write(&dir.path().join("image"), &image);
    our_make(
        dir.path(),
        &image,
        DigestKind::Sha512_256,
        Packing::default(),
    );
    let made = casync_ok(
        dir.path(),
        &["make", "--store=theirs.castr", "theirs.caibx", "image"],
    );
    let read = casync_ok(dir.path(), &["digest", "--store=ours.castr", "ours.caibx"]);
    assert_eq!(made, read);
    assert_eq!(
        read.trim(),
        DigestKind::Sha512_256.id_of(&image).to_string()
    );
}

#[test]
fn stores_have_the_same_files_with_the_same_modes() {
    let dir = tempfile::tempdir().unwrap();
    let (_, image) = images().pop().unwrap();
    write(&dir.path().join("image"), &image);
    let (_, store) = our_make(
        dir.path(),
        &image,
        DigestKind::Sha512_256,
        Packing::default(),
    );
    casync_ok(
        dir.path(),
        &["make", "--store=theirs.castr", "theirs.caibx", "image"],
    );
    let theirs = listing(&dir.path().join("theirs.castr"));
    assert!(theirs.len() > 5);
    assert_eq!(listing(store.root()), theirs);
    // casync finds all chunks there, and leaves ours as they are.
    let before = fs::metadata(store.root().join(theirs.keys().next().unwrap()))
        .unwrap()
        .ino();
    casync_ok(
        dir.path(),
        &["make", "--store=ours.castr", "again.caibx", "image"],
    );
    let after = fs::metadata(store.root().join(theirs.keys().next().unwrap()))
        .unwrap()
        .ino();
    assert_eq!(before, after);
}

#[test]
fn we_read_casyncs_stores_of_every_compression() {
    for (format, name) in [
        (Format::Zstd, "zstd"),
        (Format::Xz, "xz"),
        (Format::Gzip, "gzip"),
    ] {
        for (_, digest_name) in DIGESTS {
            let dir = tempfile::tempdir().unwrap();
            for (image_name, image) in images() {
                write(&dir.path().join("image"), &image);
                let args = [
                    "make",
                    "--store=theirs.castr",
                    &format!("--compression={name}"),
                    &format!("--digest={digest_name}"),
                    "theirs.caibx",
                    "image",
                ];
                casync_ok(dir.path(), &args);
                let file = fs::File::open(dir.path().join("theirs.caibx")).unwrap();
                let index = Index::read_from(std::io::BufReader::new(file)).unwrap();
                let store = DirStore::new(dir.path().join("theirs.castr"), 0, Durability::AtSync);
                assert!(
                    our_extract(&index, &store).unwrap() == image,
                    "{image_name}, {name}"
                );
                if let Some(first) = index.get(0) {
                    let mut stored = Vec::new();
                    let form = store.get(&first.id, 1 << 20, &mut stored).unwrap();
                    assert_eq!(
                        (form, Format::of(&stored)),
                        (StoredForm::Packed, Some(format))
                    );
                }
            }
        }
    }
}

#[test]
fn a_chunk_marked_as_missing_is_missing_to_both() {
    let dir = tempfile::tempdir().unwrap();
    let image = noise(100_000, 11);
    let (index, store) = our_make(
        dir.path(),
        &image,
        DigestKind::Sha512_256,
        Packing::default(),
    );
    let path = store.path_of(&index.get(0).unwrap().id, StoredForm::Packed);
    fs::remove_file(&path).unwrap();
    symlink("/dev/null", &path).unwrap();
    let Err(AssembleError::Fetch { source, .. }) = our_extract(&index, &store) else {
        panic!("there is nothing to extract from");
    };
    assert!(source.is_missing());
    let args = ["extract", "--store=ours.castr", "ours.caibx", "out"];
    assert!(!casync(dir.path(), &args).status.success());
}

#[test]
fn a_damaged_store_is_refused_by_both() {
    let dir = tempfile::tempdir().unwrap();
    let image = noise(100_000, 12);
    let (index, store) = our_make(
        dir.path(),
        &image,
        DigestKind::Sha512_256,
        Packing::default(),
    );
    let (first, second) = (index.get(0).unwrap(), index.get(1).unwrap());
    let path = store.path_of(&first.id, StoredForm::Packed);
    fs::remove_file(&path).unwrap();
    fs::copy(store.path_of(&second.id, StoredForm::Packed), &path).unwrap();
    assert!(our_extract(&index, &store).is_err());
    let args = ["extract", "--store=ours.castr", "ours.caibx", "out"];
    assert!(!casync(dir.path(), &args).status.success());
}

#[test]
fn we_take_and_refuse_the_feature_flags_that_casync_does() {
    let dir = tempfile::tempdir().unwrap();
    let empty = bytes_of(&our_index(
        &[],
        ChunkSizes::default(),
        DigestKind::Sha256,
        1,
    ));
    let singles = (0..64).map(|bit| 1_u64 << bit);
    let related = [0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 26, 27, 29, 63];
    let pairs = related.iter().flat_map(|a| {
        related
            .iter()
            .filter(move |b| a < *b)
            .map(move |b| 1_u64 << a | 1_u64 << b)
    });
    let whole = [
        0xb000_0001_ffef_fe26,
        0xb000_0001_ffef_ff26,
        0xb000_0001_dfef_ff26,
        1 << 29 | 2 | 1 << 8,
    ];
    for bits in singles.chain(pairs).chain(whole) {
        let mut index = empty.clone();
        index[16..24].copy_from_slice(&bits.to_le_bytes());
        write(&dir.path().join("x.caibx"), &index);
        let theirs = casync(dir.path(), &["extract", "--store=s", "x.caibx", "out"])
            .status
            .success();
        assert_eq!(
            FeatureFlags::from_bits(bits).is_ok(),
            theirs,
            "{bits:#018x}"
        );
        assert_eq!(Index::read_from(&index[..]).is_ok(), theirs, "{bits:#018x}");
    }
}

#[test]
fn our_extract_writes_over_old_content_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let old = [noise(700_000, 1), vec![0; 900_000], noise(300_000, 2)].concat();
    let new = [
        noise(50_000, 9),
        old[..500_000].to_vec(),
        vec![0; 400_000],
        old[500_000..].to_vec(),
    ]
    .concat();
    write(&dir.path().join("image"), &new);
    casync_ok(
        dir.path(),
        &["make", "--store=theirs.castr", "theirs.caibx", "image"],
    );
    let index = Index::read_from(&fs::read(dir.path().join("theirs.caibx")).unwrap()[..]).unwrap();
    let was = our_index(&old, index.sizes(), index.digest(), 1);
    let sources = Sources {
        seeds: &[],
        target: Some(&was),
        stash: 1 << 20,
    };
    let plan = Plan::new(&index, &sources).unwrap();
    assert!(
        plan.totals().moved > 800_000 && plan.totals().fetch < 600_000,
        "{:?}",
        plan.totals()
    );
    let path = dir.path().join("slot");
    write(&path, &old);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(3_000_000)
        .unwrap();
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut slot = FileBlob::new(file).unwrap();
    let store = DirStore::new(dir.path().join("theirs.castr"), 0, Durability::AtSync);
    let ingredients = Ingredients {
        index: &index,
        seeds: &[],
        stores: &[&store],
        threads: THREADS,
    };
    let done = assemble(&plan, &ingredients, &mut slot).unwrap();
    assert_eq!(done.fell_through, 0);
    assert!(fs::read(&path).unwrap()[..new.len()] == new[..]);
}
