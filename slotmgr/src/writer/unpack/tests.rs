use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

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
