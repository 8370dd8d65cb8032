//! Our squashfs reader against `mksquashfs`, and against damage.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use bundle_format::squashfs::{EntryKind, InodeRef, Squashfs, SquashfsError};
use bundle_format::{PayloadError, ReadAt};
use proptest::prelude::*;
use support::{noise, run, text, write};

/// Everything in an image: path to content, with `/` behind directories and `@` behind links.
type Tree = BTreeMap<String, Vec<u8>>;

fn read_tree<R: ReadAt + Clone>(image: R) -> Result<Tree, PayloadError> {
    let fs = Squashfs::open(image)?;
    let mut tree = Tree::new();
    let mut budget = 10_000;
    walk(&fs, fs.root(), "", &mut tree, &mut budget)?;
    Ok(tree)
}

fn walk<R: ReadAt + Clone>(
    fs: &Squashfs<R>,
    directory: InodeRef,
    path: &str,
    tree: &mut Tree,
    budget: &mut u32,
) -> Result<(), PayloadError> {
    for entry in fs.read_dir(directory)? {
        // A damaged directory may contain itself.
        if *budget == 0 || path.len() > 1000 {
            return Ok(());
        }
        *budget -= 1;
        let name = format!("{path}{}", String::from_utf8_lossy(&entry.name));
        match entry.kind {
            EntryKind::Directory => {
                tree.insert(format!("{name}/"), Vec::new());
                walk(fs, entry.inode, &format!("{name}/"), tree, budget)?;
            }
            EntryKind::Symlink => {
                tree.insert(format!("{name}@"), fs.link_target(entry.inode)?);
            }
            EntryKind::File => {
                let mut content = Vec::new();
                let file = fs.file(entry.inode)?;
                let size = file.size();
                file.take(8 << 20)
                    .read_to_end(&mut content)
                    .map_err(|error| PayloadError::from_io(0, error))?;
                assert!(content.len() as u64 == size.min(8 << 20), "{name} is short");
                tree.insert(name, content);
            }
            EntryKind::Special => drop(tree.insert(format!("{name}!"), Vec::new())),
        }
    }
    Ok(())
}

/// A directory with all that makes squashfs interesting.
fn fill(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut add = |name: &str, content: Vec<u8>| {
        write(&dir.join(name), &content);
        tree.insert(name.to_owned(), content);
    };
    add("empty", Vec::new());
    add("tiny", b"x".to_vec());
    add("noise", noise(300_001));
    add("text", b"all work and no play ".repeat(20_000));
    let mut holes = vec![0; 1_500_000];
    holes[700_000..700_010].copy_from_slice(b"0123456789");
    add("holes", holes);
    add("zeros", vec![0; 524_288]);
    add(&"n".repeat(250), b"a long name".to_vec());
    std::fs::create_dir_all(dir.join("many/deep/er")).unwrap();
    write(&dir.join("many/deep/er/leaf"), b"leaf");
    std::os::unix::fs::symlink("text", dir.join("link")).unwrap();
    for directory in ["many/", "many/deep/", "many/deep/er/"] {
        tree.insert(directory.to_owned(), Vec::new());
    }
    tree.insert("many/deep/er/leaf".to_owned(), b"leaf".to_vec());
    tree.insert("link@".to_owned(), b"text".to_vec());
    // More than one header in a listing, and more than one metadata block.
    for index in 0..1500 {
        let (name, content) = (format!("many/file{index}"), format!("{index}").into_bytes());
        write(&dir.join(&name), &content);
        tree.insert(name, content);
    }
    tree
}

fn pack(dir: &Path, image: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut all = vec![
        text(dir),
        text(image),
        "-noappend",
        "-no-progress",
        "-quiet",
    ];
    all.extend(arguments);
    run("mksquashfs", &all);
    std::fs::read(image).unwrap()
}

#[test]
fn every_way_of_packing_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    std::fs::create_dir(&input).unwrap();
    let expected = fill(&input);
    let image = dir.path().join("image");
    let ways: &[&[&str]] = &[
        &[],
        &["-comp", "xz"],
        &["-comp", "xz", "-Xbcj", "x86"],
        &["-comp", "zstd"],
        &["-b", "4096"],
        &["-b", "1048576"],
        &["-no-fragments"],
        &["-always-use-fragments"],
        &["-noI", "-noD", "-noF"],
        &["-no-exports", "-no-xattrs"],
        &["-no-sparse", "-no-duplicates"],
    ];
    for way in ways {
        let found = read_tree(pack(&input, &image, way).as_slice()).unwrap();
        let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected), "{way:?}");
        for (name, content) in &expected {
            assert!(found[name] == *content, "{name} differs with {way:?}");
        }
    }
}

#[test]
fn names_are_looked_up_in_the_root_only() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    std::fs::create_dir_all(input.join("sub")).unwrap();
    write(&input.join("file"), b"content");
    write(&input.join("sub/inner"), b"inner");
    std::os::unix::fs::symlink("file", input.join("link")).unwrap();
    std::os::unix::fs::symlink("link", input.join("link-to-link")).unwrap();
    std::os::unix::fs::symlink("sub/inner", input.join("away")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", input.join("out")).unwrap();
    run("mkfifo", &[text(&input.join("pipe"))]);
    let image = pack(&input, &dir.path().join("image"), &[]);
    let fs = Squashfs::open(image.as_slice()).unwrap();
    let open = |name: &str| -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        let mut file = fs.open_file(name).map_err(|error| error.to_string())?;
        file.read_to_end(&mut content).unwrap();
        Ok(content)
    };
    assert_eq!(open("file").unwrap(), b"content");
    assert_eq!(open("link").unwrap(), b"content");
    for name in [
        "nothing",
        "sub/inner",
        "../file",
        "/file",
        "",
        "away",
        "out",
        ".",
    ] {
        let expected = format!("the bundle has no file called {name}");
        assert_eq!(open(name).unwrap_err(), expected);
    }
    for name in ["sub", "pipe", "link-to-link"] {
        assert_eq!(
            open(name).unwrap_err(),
            format!("{name} in the bundle is not a regular file")
        );
    }
}

fn small_image() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    std::fs::create_dir_all(input.join("d")).unwrap();
    write(&input.join("a"), &noise(9000));
    write(&input.join("b"), &b"abc".repeat(3000));
    write(&input.join("d/c"), b"tail");
    std::os::unix::fs::symlink("a", input.join("l")).unwrap();
    pack(&input, &dir.path().join("image"), &["-b", "4096", "-nopad"])
}

#[test]
fn wrong_superblocks_have_their_own_errors() {
    let image = small_image();
    let error = |offset: usize, bytes: &[u8]| {
        let mut image = image.clone();
        image[offset..offset + bytes.len()].copy_from_slice(bytes);
        match Squashfs::open(image.as_slice()).err() {
            Some(PayloadError::Squashfs(error)) => error,
            other => panic!("{offset}: {other:?}"),
        }
    };
    assert_eq!(error(0, b"sqsh"), SquashfsError::NotSquashfs);
    assert_eq!(
        error(28, &[3]),
        SquashfsError::Version { major: 3, minor: 0 }
    );
    assert!(matches!(error(12, &[1]), SquashfsError::BlockSize { .. }));
    assert!(matches!(error(22, &[20]), SquashfsError::BlockSize { .. }));
    assert!(matches!(error(20, &[2]), SquashfsError::Compressor { name } if name == "lzma"));
    assert!(matches!(error(20, &[99]), SquashfsError::Compressor { .. }));
    assert!(matches!(
        error(40, &[0xff; 8]),
        SquashfsError::Truncated { .. }
    ));
    assert!(matches!(
        error(64, &[0xff; 8]),
        SquashfsError::Bounds {
            what: "inode table",
            ..
        }
    ));
    assert!(matches!(
        error(72, &[0; 8]),
        SquashfsError::Bounds {
            what: "directory table",
            ..
        }
    ));
    let short: &[u8] = &image[..95];
    assert!(matches!(
        Squashfs::open(short),
        Err(PayloadError::Squashfs(SquashfsError::NotSquashfs))
    ));
}

#[test]
fn a_failing_source_is_an_error_and_can_be_tried_again() {
    use std::sync::atomic::{AtomicU32, Ordering};
    struct Flaky {
        image: Vec<u8>,
        calls: AtomicU32,
    }
    impl ReadAt for Flaky {
        fn expect(&self, _: &[std::ops::Range<u64>]) {}

        fn len(&self) -> u64 {
            self.image.len() as u64
        }
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
            // Every fifth read fails.
            if self.calls.fetch_add(1, Ordering::Relaxed) % 5 == 4 {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    "no answer",
                ));
            }
            self.image.as_slice().read_exact_at(buf, offset)
        }
    }
    let flaky = Flaky {
        image: small_image(),
        calls: AtomicU32::new(0),
    };
    let fs = std::iter::repeat_with(|| Squashfs::open(&flaky))
        .find_map(Result::ok)
        .unwrap();
    let mut file = std::iter::repeat_with(|| fs.open_file("a"))
        .find_map(Result::ok)
        .unwrap();
    let mut content = Vec::new();
    let mut failures = 0;
    loop {
        let mut piece = [0; 1000];
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => content.extend_from_slice(&piece[..len]),
            Err(error) => {
                assert!(matches!(
                    PayloadError::from_io(0, error),
                    PayloadError::Read { .. }
                ));
                failures += 1;
            }
        }
    }
    assert!(failures > 0, "the source never failed");
    assert!(content == noise(9000), "a half-read block was handed out");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// A hostile image gives errors or other content: never a panic, nor more than the caps.
    #[test]
    fn damage_never_panics(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        in_the_tables: bool,
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        static IMAGE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(small_image);
        let mut image = IMAGE.clone();
        // Most of the image is data; the superblock and the tables behind it are more telling.
        let tables = usize::try_from(u64::from_le_bytes(image[64..72].try_into().unwrap())).unwrap();
        for (index, value) in edits {
            let position = if in_the_tables {
                let index = index.index(96 + image.len() - tables);
                if index < 96 { index } else { tables + index - 96 }
            } else {
                index.index(image.len())
            };
            image[position] = value;
        }
        if let Some(cut) = cut {
            image.truncate(cut.index(image.len()));
        }
        let _ = read_tree(image.as_slice());
    }
}
