use super::*;
use std::os::unix::fs::PermissionsExt;

fn block(vars: &[(&str, &str)]) -> Block {
    let mut b = Block::new();
    for (n, v) in vars {
        b.set(n, v).unwrap();
    }
    b
}

fn open(path: &Path) -> EnvFile {
    EnvFile::open(path, Placement::Unchecked).unwrap()
}

#[test]
fn a_created_file_is_edited_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grubenv");
    create(&path, &block(&[("a", "1")]), 1024).unwrap();
    let inode = std::fs::metadata(&path).unwrap().ino();
    let file = open(&path);
    assert_eq!(file.len(), 1024);
    let mut b = file.read().unwrap();
    assert_eq!(file.write(&b).unwrap(), Written::Nothing);
    b.set("ORDER", "B A").unwrap();
    assert_eq!(file.write(&b).unwrap(), Written::OneSector);
    b.set("long", "x".repeat(600)).unwrap();
    assert_eq!(file.write(&b).unwrap(), Written::Sectors(2));
    b.set("longer", "x".repeat(600)).unwrap();
    assert!(matches!(file.write(&b), Err(FileError::TooSmall { .. })));
    drop(file);
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!((after.ino(), after.len()), (inode, 1024));
    assert_eq!(open(&path).read().unwrap().get_text("ORDER"), Some("B A"));
    assert_eq!(open(&path).read().unwrap().get("longer"), None);
}

#[test]
fn equal_content_does_not_touch_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grubenv");
    create(&path, &block(&[("a", "1")]), 512).unwrap();
    let old = std::fs::metadata(&path).unwrap();
    let file = open(&path);
    file.write(&file.read().unwrap()).unwrap();
    let new = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (old.mtime(), old.mtime_nsec()),
        (new.mtime(), new.mtime_nsec())
    );
}

#[test]
fn the_length_is_sacred() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grubenv");
    create(&path, &Block::new(), 512).unwrap();
    let file = open(&path);
    assert!(file.write_at(511, b"ab").is_err());
    assert!(file.write_at(u64::MAX, b"ab").is_err());
    file.write_at(510, b"##").unwrap();
    assert!(file.read_at(511, &mut [0; 2]).is_err());
    file.sync().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 512);
}

#[test]
fn what_is_no_environment_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let try_open = |name: &str, p| EnvFile::open(&at(name), p).map(|f| f.read());
    for p in [
        Placement::Checked,
        Placement::CheckedForReading,
        Placement::Unchecked,
    ] {
        assert!(matches!(
            try_open("gone", p),
            Err(FileError::Missing { .. })
        ));
        assert!(matches!(try_open(".", p), Err(FileError::NotAFile { .. })));
    }
    assert!(matches!(
        read_file(&at("gone")),
        Err(FileError::Missing { .. })
    ));
    assert!(!at("gone").exists(), "opening must not create");

    let big = File::create(at("big")).unwrap();
    big.set_len(MAX_LEN + 1).unwrap();
    assert!(matches!(
        try_open("big", Placement::Unchecked),
        Err(FileError::TooLarge { .. })
    ));
    assert!(matches!(
        read_file(&at("big")),
        Err(FileError::TooLarge { .. })
    ));

    File::create(at("empty")).unwrap();
    for p in [Placement::Checked, Placement::Unchecked] {
        assert!(matches!(try_open("empty", p), Err(FileError::Block { .. })));
    }

    create(&at("real"), &Block::new(), 512).unwrap();
    std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
    assert!(matches!(
        try_open("link", Placement::Checked),
        Err(FileError::Symlink { .. })
    ));
    assert!(try_open("link", Placement::Unchecked).unwrap().is_ok());
}

#[test]
fn a_locked_file_is_not_opened_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grubenv");
    create(&path, &Block::new(), 512).unwrap();
    let first = open(&path);
    let other = File::open(&path).unwrap();
    assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
    drop(first);
    other.try_lock().unwrap();
}

#[test]
fn create_keeps_permissions_and_links_and_takes_over_leftovers() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    create(&at("env"), &Block::new(), 512).unwrap();
    std::fs::set_permissions(at("env"), PermissionsExt::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("env", at("link")).unwrap();
    File::create(at("env.new")).unwrap();
    create(&at("link"), &block(&[("a", "1")]), 1024).unwrap();
    assert!(std::fs::symlink_metadata(at("link")).unwrap().is_symlink());
    let meta = std::fs::metadata(at("env")).unwrap();
    assert_eq!(
        (meta.len(), meta.permissions().mode() & 0o777),
        (1024, 0o600)
    );
    assert!(!at("env.new").exists());
    assert!(matches!(
        create(&at("x"), &Block::new(), 25),
        Err(FileError::TooSmall { .. })
    ));
    let huge = usize::try_from(MAX_LEN).unwrap() + 1;
    assert!(matches!(
        create(&at("x"), &Block::new(), huge),
        Err(FileError::TooLarge { .. })
    ));
    assert!(create(&at("no/dir"), &Block::new(), 512).is_err());
}

/// A disk's node, a pipe, a directory: renamed over, they would be gone.
#[test]
fn create_takes_the_place_of_files_only() {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("node");
    let listening = std::os::unix::net::UnixListener::bind(&node).unwrap();
    for path in [node.as_path(), dir.path(), Path::new("/dev/null")] {
        let refused = create(path, &Block::new(), 512);
        assert!(
            matches!(refused, Err(FileError::NotAFile { .. })),
            "{path:?}"
        );
    }
    assert!(!std::fs::metadata(&node).unwrap().is_file());
    drop(listening);
}
