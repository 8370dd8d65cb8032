//! `image`: the kernel's and squashfs-tools' readers find what mksquashfs would have put there, and
//! deltas between such images are small.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bundle_format::squashfs::{EntryKind, Squashfs, Xattr};
use bundle_format::{Digest, FileReader};
use support::{noise, run, stdout, text, write};

/// What no test can make without being root: mksquashfs makes it up.
const NODES: &[&str] = &[
    "-p",
    "console c 600 7 8 5 1",
    "-p",
    "disk b 660 0 6 8 1",
    "-p",
    "pipe i 640 5 5 f",
];

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// A directory `tree` with everything that a file system has.
    fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let tree = place.path("tree");
        // Listings of several blocks, whose inodes are in several blocks, too.
        fs_err::create_dir_all(tree.join("many")).unwrap();
        for number in 0..1500 {
            let name = format!("many/{number}-with-a-long-name-so-that-listings-get-long");
            write(&tree.join(name), format!("file {number}").as_bytes());
        }
        fs_err::create_dir_all(tree.join("empty/also-empty")).unwrap();
        write(&tree.join("noise"), &noise(700_000));
        write(&tree.join("copy"), &noise(700_000));
        write(&tree.join("nothing"), b"");
        write(&tree.join("words"), &words(900_000));
        fs_err::hard_link(tree.join("words"), tree.join("same-words")).unwrap();
        symlink("../elsewhere", tree.join("link")).unwrap();
        place.hole("holes", 3_000_000);
        run("touch", &["-d", "@1500000000", text(&tree.join("copy"))]);
        place
    }

    /// A file of zeros, but for one place.
    fn hole(&self, name: &str, len: u64) {
        let file = fs_err::File::create(self.path("tree").join(name)).unwrap();
        file.set_len(len).unwrap();
        let file = file.into_parts().0;
        file.write_all_at(b"in the middle", len / 8 * 7).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `bundle-tool image` with these words, which may name files in the directory.
    fn image(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bundle-tool"))
            .current_dir(self.dir.path())
            .env_remove("SOURCE_DATE_EPOCH")
            .arg("image")
            .args(words)
            .output()
            .unwrap()
    }

    fn make(&self, words: &[&str]) {
        let output = self.image(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
    }

    fn mksquashfs(&self, name: &str, options: &[&str]) {
        let mut command = Command::new("mksquashfs");
        command.current_dir(self.dir.path()).args(["tree", name]);
        command.args(["-noappend", "-quiet", "-no-progress"]);
        let output = command.args(options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{options:?}: {said}");
    }

    /// All names with kind, mode, owner, size or device, time and target.
    fn listing(&self, name: &str) -> Vec<String> {
        let image = self.path(name);
        let listing = stdout(&run("unsquashfs", &["-lln", "-no-progress", text(&image)]));
        listing.lines().map(str::to_owned).collect()
    }

    fn assert_same_listing(&self, one: &str, other: &str) {
        let [one, other] = [one, other].map(|name| self.listing(name));
        let differences: Vec<_> = one.iter().zip(&other).filter(|(a, b)| a != b).collect();
        assert!(differences.is_empty(), "{differences:#?}");
        assert_eq!(one.len(), other.len());
    }

    /// Everything that unpacking gives: contents, and that hard links are some.
    fn assert_unpacks_to_the_tree(&self, name: &str) {
        let out = self.path("unpacked");
        let mut command = Command::new("unsquashfs");
        // Nodes need root; they are in the listing.
        command.args(["-quiet", "-no-progress", "-no-xattrs", "-dest"]);
        command.arg(&out).arg(self.path(name));
        for entry in fs_err::read_dir(self.path("tree")).unwrap() {
            command.arg(entry.unwrap().file_name());
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        run(
            "diff",
            &[
                "--recursive",
                "--no-dereference",
                text(&self.path("tree")),
                text(&out),
            ],
        );
        let number = |name: &str| fs_err::metadata(out.join(name)).unwrap().ino();
        assert_eq!(number("words"), number("same-words"));
        fs_err::remove_dir_all(&out).unwrap();
    }
}

/// Text that compresses, with no long repetitions.
fn words(len: usize) -> Vec<u8> {
    let noise = noise(len / 4);
    noise
        .iter()
        .flat_map(|b| format!("{b:03} ").into_bytes())
        .take(len)
        .collect()
}

#[test]
fn an_image_of_a_directory_is_what_mksquashfs_makes() {
    let place = Place::new();
    // Sizes and places of more than 32 bits.
    place.hole("huge", 4_400_000_000);
    // What mksquashfs makes up is of the time when it does.
    let options = [NODES, &["-all-time", "1700000000"]].concat();
    place.make(&[&["tree", "ours.sqfs", "--"], &options[..]].concat());
    place.mksquashfs("theirs.sqfs", &[&["-comp", "zstd"], &options[..]].concat());
    place.assert_same_listing("ours.sqfs", "theirs.sqfs");
    place.assert_unpacks_to_the_tree("ours.sqfs");
    let said = stdout(&run(
        "unsquashfs",
        &["-stat", text(&place.path("ours.sqfs"))],
    ));
    assert!(said.contains("compression-level 9"), "{said}");
}

#[test]
fn images_of_every_kind_keep_what_is_in_them() {
    let place = Place::new();
    for (number, options) in [
        &["-comp", "gzip", "-no-exports"][..],
        &["-comp", "xz", "-b", "1M"],
        &["-comp", "zstd", "-Xcompression-level", "3", "-no-fragments"],
        &["-comp", "zstd", "-b", "4K", "-always-use-fragments"],
        &["-noI", "-noD", "-noF", "-noX", "-no-duplicates"],
    ]
    .iter()
    .enumerate()
    {
        place.mksquashfs("made.sqfs", &[options, NODES].concat());
        let level = ["15", "9"][number % 2];
        place.make(&["--force", "--level", level, "made.sqfs", "again.sqfs"]);
        place.assert_same_listing("made.sqfs", "again.sqfs");
        place.assert_unpacks_to_the_tree("again.sqfs");
        // Once more changes nothing.
        place.make(&["--force", "--level", level, "again.sqfs", "third.sqfs"]);
        assert_eq!(
            fs_err::read(place.path("again.sqfs")).unwrap(),
            fs_err::read(place.path("third.sqfs")).unwrap(),
            "{options:?}"
        );
    }
}

/// Everything that our own reader finds: extended attributes, devices and content, too.
fn found(image: &Path) -> BTreeMap<String, String> {
    let file = FileReader::open(image).unwrap();
    let image = Squashfs::open(&file).unwrap();
    let (mut found, mut left) = (BTreeMap::new(), vec![(String::new(), image.root(), true)]);
    while let Some((path, inode, directory)) = left.pop() {
        let mut said = format!("{:?} ", image.attributes(inode).unwrap());
        for Xattr { name, value } in image.xattrs(inode).unwrap() {
            let [name, value] = [&name, &value].map(|bytes| String::from_utf8_lossy(bytes));
            said += &format!("{name}={value} ");
        }
        if directory {
            for entry in image.read_dir(inode).unwrap() {
                let name = String::from_utf8_lossy(&entry.name);
                let directory = entry.kind == EntryKind::Directory;
                left.push((format!("{path}/{name}"), entry.inode, directory));
            }
        } else if let Ok(mut file) = image.file(inode) {
            let mut content = Vec::new();
            file.read_to_end(&mut content).unwrap();
            said += &Digest::of(&content).to_string();
        } else if let Ok(target) = image.link_target(inode) {
            said += &String::from_utf8_lossy(&target);
        } else {
            said += &format!("{:?}", image.special(inode).unwrap());
        }
        found.insert(path, said);
    }
    found
}

#[test]
fn our_own_reader_finds_the_same_as_in_mksquashfs_s_image() {
    let place = Place::new();
    // Long values are stored once, and named by the others.
    let long = words(3000);
    for (path, name, value) in [
        ("noise", "user.short", &b"value"[..]),
        ("words", "user.long", &long),
        ("many", "user.long", &long),
        ("empty", "user.long", &long),
        ("empty", "user.other", b""),
    ] {
        xattr::set(place.path("tree").join(path), name, value).unwrap();
    }
    for number in 0..400 {
        let name = format!("many/{number}-with-a-long-name-so-that-listings-get-long");
        let value = format!("this is the value of number {number}");
        xattr::set(
            place.path("tree").join(name),
            "user.number",
            value.as_bytes(),
        )
        .unwrap();
    }
    let options = [NODES, &["-all-time", "1700000000"]].concat();
    place.make(&[&["tree", "ours.sqfs", "--"], &options[..]].concat());
    place.mksquashfs("theirs.sqfs", &[&["-comp", "xz"], &options[..]].concat());
    place.make(&["--level", "19", "theirs.sqfs", "again.sqfs"]);
    let theirs = found(&place.path("theirs.sqfs"));
    assert!(theirs.len() > 1500 && theirs["/words"].contains("user.long"));
    assert!(theirs == found(&place.path("ours.sqfs")));
    assert!(theirs == found(&place.path("again.sqfs")));
}

#[test]
fn the_same_directory_gives_the_same_image_and_no_time_is_after_the_given_one() {
    let place = Place::new();
    let [one, two] = ["one.sqfs", "two.sqfs"];
    place.make(&["--threads", "1", "tree", one]);
    place.make(&["--threads", "3", "tree", two]);
    let read = |name| fs_err::read(place.path(name)).unwrap();
    assert!(read(one) == read(two));

    let output = Command::new(env!("CARGO_BIN_EXE_bundle-tool"))
        .current_dir(place.dir.path())
        .env("SOURCE_DATE_EPOCH", "86400")
        .env("TZ", "UTC")
        .args(["image", "--force", "tree", one])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut late = place.listing(one);
    late.retain(|line| line.contains("squashfs-root") && !line.contains(" 1970-01-02 "));
    assert_eq!(late, Vec::<String>::new());
}

/// Makes an image, changes a file and makes another one. The length of the delta between them, which
/// gives the new one, and what was said when it was made.
fn delta_of_a_change(place: &Place, make: impl Fn(&str)) -> (u64, String) {
    make("old.sqfs");
    let words_path = place.path("tree/words");
    let mut changed = fs_err::read(&words_path).unwrap();
    changed.splice(400_000..400_000, b"something new".iter().copied());
    write(&words_path, &changed);
    make("new.sqfs");
    let [old, new, delta] = ["old.sqfs", "new.sqfs", "a.delta"].map(|name| place.path(name));
    let tool = env!("CARGO_BIN_EXE_bundle-tool");
    let between = ["delta", "create", "--from", text(&old), "--to", text(&new)];
    let said = stdout(&run(tool, &[&between[..], &[text(&delta)]].concat()));
    let again = place.path("again.sqfs");
    let apply = ["delta", "apply", "--from", text(&old), text(&delta)];
    run(tool, &[&apply[..], &[text(&again)]].concat());
    assert!(fs_err::read(&again).unwrap() == fs_err::read(&new).unwrap());
    (fs_err::metadata(&delta).unwrap().len(), said)
}

#[test]
fn what_changed_is_all_that_a_delta_between_two_images_holds() {
    let place = Place::new();
    let (len, said) = delta_of_a_change(&place, |name| place.make(&["tree", name]));
    // Every block comes out the same: none has to be mended.
    assert!(!said.contains("another zstd"), "{said}");
    assert!(len < 20_000, "{len} bytes: {said}");
}

#[test]
fn blocks_that_another_zstd_made_cost_a_delta_little_more() {
    let place = Place::new();
    // zstd 1.5.4, which Debian 12's mksquashfs has, makes no block as ours does at this level.
    let zstd = ["-comp", "zstd", "-Xcompression-level", "9"];
    let (len, said) = delta_of_a_change(&place, |name| place.mksquashfs(name, &zstd));
    assert!(len < 20_000, "{len} bytes: {said}");
}

#[test]
fn what_is_no_squashfs_is_refused_and_nothing_is_left() {
    let place = Place::new();
    place.make(&["tree", "good.sqfs"]);
    let good = fs_err::read(place.path("good.sqfs")).unwrap();
    let mut no_block = good.clone();
    no_block[64..72].copy_from_slice(&3_u64.to_le_bytes());
    for (name, bytes, expected) in [
        (
            "text",
            b"no image".to_vec(),
            "neither a directory nor a squashfs",
        ),
        ("cut", good[..good.len() / 2].to_vec(), "damaged"),
        ("table", no_block, "damaged"),
    ] {
        write(&place.path(name), &bytes);
        let output = place.image(&[name, "bad.sqfs"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(expected), "{name}: {said}");
        assert!(!place.path("bad.sqfs").exists());
    }
    let output = place.image(&["good.sqfs", "b.sqfs", "--", "-all-root"]);
    assert_eq!(output.status.code(), Some(2));
    let left = fs_err::read_dir(place.dir.path()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
}

/// A damaged image gives an error or another image, and nothing else.
#[test]
fn no_damage_makes_it_panic() {
    let place = Place::new();
    place.mksquashfs("good.sqfs", &["-noI", "-noD", "-noF", "-noX"]);
    let good = fs_err::read(place.path("good.sqfs")).unwrap();
    let used = usize::try_from(u64::from_le_bytes(good[40..48].try_into().unwrap())).unwrap();
    let tables = usize::try_from(u64::from_le_bytes(good[64..72].try_into().unwrap())).unwrap();
    let places = (4..96).chain((tables..used).step_by((used - tables) / 150));
    for (number, at) in places.enumerate() {
        let mut bad = good.clone();
        bad[at] ^= [0xff, 1, 0x80][number % 3];
        write(&place.path("bad.sqfs"), &bad);
        let output = place.image(&["--force", "--level", "1", "bad.sqfs", "out.sqfs"]);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "byte {at}: {output:?}");
    }
}
