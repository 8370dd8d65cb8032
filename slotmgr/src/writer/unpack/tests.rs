use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use std::process::Command;

use tar::{Builder, Header};

use super::*;

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o4755);
    header.set_uid(12);
    header.set_gid(34);
    header.set_mtime(1_700_000_000);
    header
}

/// An archive of (path, kind, content or target); paths go in as they are, also bad ones.
fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, text) in entries {
        let data = if *kind == EntryType::Regular {
            text.as_bytes()
        } else {
            b""
        };
        let mut header = header(*kind, data.len() as u64);
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpacked(
    entries: &[(&str, EntryType, &str)],
) -> (
    tempfile::TempDir,
    Result<BTreeMap<PathBuf, Digest>, UnpackError>,
) {
    let dir = tempfile::tempdir().unwrap();
    fs_err::create_dir(dir.path().join("root")).unwrap();
    let result = unpack(
        archive(entries).as_slice(),
        &dir.path().join("root"),
        Keep::All,
    );
    (dir, result)
}

#[test]
fn files_links_and_their_attributes() {
    let (dir, result) = unpacked(&[
        ("./", EntryType::Directory, ""),
        ("etc/", EntryType::Directory, ""),
        ("etc/old", EntryType::Regular, "first"),
        ("etc/old", EntryType::Regular, "last"),
        ("deep/er/file", EntryType::Regular, "x"),
        ("/absolute", EntryType::Regular, "a"),
        ("link", EntryType::Symlink, "/etc/passwd"),
        ("etc/hard", EntryType::Link, "etc/old"),
        ("pipe", EntryType::Fifo, ""),
    ]);
    let files = result.unwrap();
    let root = dir.path().join("root");
    assert_eq!(
        fs_err::read_to_string(root.join("etc/old")).unwrap(),
        "last"
    );
    let metadata = fs_err::metadata(root.join("etc/old")).unwrap();
    assert_eq!(
        (metadata.uid(), metadata.gid(), metadata.nlink()),
        (12, 34, 2)
    );
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o4755);
    assert_eq!(
        fs_err::metadata(root.join("etc")).unwrap().mtime(),
        1_700_000_000
    );
    assert_eq!(
        fs_err::read_link(root.join("link")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert_eq!(fs_err::read_to_string(root.join("absolute")).unwrap(), "a");
    let names: Vec<_> = files
        .keys()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(names, ["absolute", "deep/er/file", "etc/hard", "etc/old"]);
}

#[test]
fn nothing_leaves_the_directory() {
    let outside = |path| (path, EntryType::Regular, "evil");
    let link = |path, target| (path, EntryType::Symlink, target);
    let table: [&[(&str, EntryType, &str)]; 6] = [
        &[outside("../evil")],
        &[outside("a/../../evil")],
        &[link("a", ".."), outside("a/evil")],
        &[link("a", "/tmp"), link("b", "a"), outside("b/evil")],
        &[
            link("a", ".."),
            ("a/evil", EntryType::Directory, ""),
            outside("a/evil/x"),
        ],
        &[("evil", EntryType::Link, "../secret")],
    ];
    for entries in table {
        let (dir, result) = unpacked(entries);
        let error = result.unwrap_err();
        assert!(
            matches!(
                error,
                UnpackError::Escape { .. } | UnpackError::Through { .. }
            ),
            "{entries:?}: {error}"
        );
        let left: Vec<_> = fs_err::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["root"], "{entries:?}");
    }
}

#[test]
fn a_link_is_replaced_and_not_written_through() {
    let (dir, result) = unpacked(&[
        ("a", EntryType::Symlink, "../victim"),
        ("a", EntryType::Regular, "new"),
    ]);
    result.unwrap();
    assert!(!dir.path().join("victim").exists());
    assert_eq!(
        fs_err::read_to_string(dir.path().join("root/a")).unwrap(),
        "new"
    );
}

#[test]
fn a_torn_archive_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let whole = archive(&[("file", EntryType::Regular, &"x".repeat(5000))]);
    let torn = unpack(&whole[..3000], dir.path(), Keep::All);
    assert!(torn.is_err());
}

/// Neither is its mode that of a directory of the archive, nor does anything appear in it.
#[test]
fn a_directory_takes_the_place_of_a_link_or_file() {
    let victim = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o7777;
    let before = mode(victim.path());
    let (dir, result) = unpacked(&[
        ("a", EntryType::Symlink, victim.path().to_str().unwrap()),
        ("a", EntryType::Directory, ""),
        ("a/inside", EntryType::Regular, "x"),
        ("b", EntryType::Regular, "was a file"),
        ("b", EntryType::Directory, ""),
        ("b/inside", EntryType::Regular, "x"),
        ("b", EntryType::Directory, ""),
    ]);
    let files = result.unwrap();
    assert_eq!(mode(victim.path()), before);
    assert_eq!(fs_err::read_dir(victim.path()).unwrap().count(), 0);
    for name in ["a", "b"] {
        let path = dir.path().join("root").join(name);
        assert!(fs_err::symlink_metadata(&path).unwrap().is_dir());
        assert_eq!(mode(&path), 0o4755);
        assert!(path.join("inside").exists());
    }
    assert_eq!(files.len(), 2, "what was replaced has no digest: {files:?}");
}

#[test]
fn a_file_that_was_given_twice_is_a_link_to_itself() {
    let (dir, result) = unpacked(&[
        ("a", EntryType::Regular, "content"),
        ("a", EntryType::Link, "./a"),
        ("b", EntryType::Regular, "was a file"),
        ("b", EntryType::Fifo, ""),
    ]);
    let files = result.unwrap();
    let content = fs_err::read_to_string(dir.path().join("root/a")).unwrap();
    assert_eq!(content, "content");
    assert_eq!(files.into_keys().collect::<Vec<_>>(), [Path::new("a")]);
}

#[test]
fn files_with_holes_are_what_tar_makes_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs_err::create_dir(path("tree")).unwrap();
    let mut content = vec![0; 10_000_000];
    content[5_000_000..5_000_005].copy_from_slice(b"hello");
    for (name, len) in [
        ("middle", content.len()),
        ("end", 5_000_005),
        ("none", 3_000_000),
    ] {
        let file = File::create(path("tree").join(name)).unwrap();
        file.set_len(len as u64).unwrap();
        if len > 5_000_000 {
            use std::os::unix::fs::FileExt as _;
            file.write_all_at(b"hello", 5_000_000).unwrap();
        }
    }
    let make = |format: &str| {
        let mut tar = Command::new("tar");
        tar.args(["--sparse", "--format=posix", format, "-cf"]);
        tar.arg(path("made.tar"));
        let made = tar.arg("-C").arg(path("tree")).arg(".").status();
        assert!(made.unwrap().success());
        let archive = fs_err::read(path("made.tar")).unwrap();
        assert!(archive.len() < 100_000);
        archive
    };
    for format in ["--format=posix", "--format=gnu"] {
        let archive = make(format);
        let root = path(format);
        fs_err::create_dir(&root).unwrap();
        let files = unpack(archive.as_slice(), &root, Keep::All).unwrap();
        assert_eq!(files.len(), 3, "{format}");
        for (name, len) in [("middle", content.len()), ("end", 5_000_005)] {
            assert!(
                fs_err::read(root.join(name)).unwrap() == content[..len],
                "{format}"
            );
        }
        assert!(fs_err::read(root.join("none")).unwrap() == vec![0; 3_000_000]);
    }
    let old = make("--sparse-version=0.1");
    let error = unpack(old.as_slice(), &path("tree"), Keep::All).unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("--sparse-version=1.0"), "{why}");
}

struct Torn;

impl Read for Torn {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the card was pulled"))
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_disk_is_not_blamed() {
    let dir = tempfile::tempdir().unwrap();
    let whole = archive(&[("etc/big", EntryType::Regular, &"x".repeat(5000))]);
    let torn = whole[..3000].chain(Torn);
    let error = unpack(torn, dir.path(), Keep::All).unwrap_err();
    assert_eq!(error.to_string(), "cannot read etc/big out of the bundle");
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(why, "the card was pulled");
}
