//! A bundle's file that somebody else could change, or changes, while it is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bundle_format::{Bundle, FileReader, Limits, ReadAt, Trust};
use support::rig::{Rig, stderr};
use support::{bundle_file, image, plain_bundle};

/// As RAUC: whoever could write to a plain bundle loses the right to; who has it open keeps it, so
/// that it is refused.
#[test]
fn a_plain_bundle_must_be_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, keyring) = plain_bundle(dir.path(), &image(3), "3");
    let rig = Rig::new(&image(1), &keyring);
    let before = rig.snapshot();
    let writer = fs_err::OpenOptions::new()
        .write(true)
        .open(&bundle)
        .unwrap();
    let output = rig.run(&["install", bundle.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(
        told.contains("another program has the file open for writing"),
        "{told}"
    );
    assert!(rig.snapshot() == before, "nothing was written");
    drop(writer);
    chown(&bundle, Some(12), None).unwrap();
    fs_err::set_permissions(&bundle, std::fs::Permissions::from_mode(0o666)).unwrap();
    let output = rig.run(&["install", bundle.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let metadata = fs_err::metadata(&bundle).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o444));
}

/// A verity bundle has a digest for each block: it may belong to whom it wants.
#[test]
fn a_verity_bundle_may_be_open_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, keyring) = bundle_file(dir.path(), &image(3), "3");
    chown(&bundle, Some(12), None).unwrap();
    let rig = Rig::new(&image(1), &keyring);
    let _writer = fs_err::OpenOptions::new()
        .write(true)
        .open(&bundle)
        .unwrap();
    let output = rig.run(&["install", bundle.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// The file, until it is changed behind the reader's back.
struct Changing {
    file: FileReader,
    path: std::path::PathBuf,
    armed: AtomicBool,
}

impl ReadAt for Changing {
    fn expect(&self, _: &[std::ops::Range<u64>]) {}

    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        if self.armed.swap(false, Ordering::SeqCst) {
            flip(&self.path);
        }
        self.file.read_exact_at(buf, offset)
    }
}

/// Changes a byte of each of the first blocks behind the superblock: the image is in there.
fn flip(path: &Path) {
    let file = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    for block in 1..8 {
        let at = block * 4096 + 7;
        let mut byte = [0];
        file.file().read_exact_at(&mut byte, at).unwrap();
        file.file().write_all_at(&[!byte[0]], at).unwrap();
    }
}

/// Verified, and then changed in place or swapped: the installation ends with an error or with what
/// was signed, for plain bundles as well.
#[test]
fn what_changes_after_the_check_is_noticed() {
    type Make = fn(&Path) -> (std::path::PathBuf, std::path::PathBuf);
    let makes: [Make; 2] = [
        |dir| plain_bundle(dir, &image(3), "3"),
        |dir| bundle_file(dir, &image(3), "3"),
    ];
    for make in makes {
        let dir = tempfile::tempdir().unwrap();
        let (path, keyring) = make(dir.path());
        let opened = || {
            let changing = std::sync::Arc::new(Changing {
                file: FileReader::open(&path).unwrap(),
                path: path.clone(),
                armed: AtomicBool::new(false),
            });
            let trust = Trust::from_keyring_file(&keyring).unwrap();
            let bundle = Bundle::open(changing.clone(), &Limits::default()).unwrap();
            (bundle.verify(&trust).unwrap(), changing)
        };
        // Swapped: the open file is still the old one.
        let (bundle, _) = opened();
        let moved = dir.path().join("moved");
        fs_err::rename(&path, &moved).unwrap();
        fs_err::write(&path, b"something else").unwrap();
        let mut found = Vec::new();
        std::io::Read::read_to_end(&mut bundle.image(&name(&bundle)).unwrap(), &mut found).unwrap();
        assert!(found == image(3));
        fs_err::rename(&moved, &path).unwrap();
        // Changed in place.
        let (bundle, changing) = opened();
        changing.armed.store(true, Ordering::SeqCst);
        let read = bundle
            .image(&name(&bundle))
            .map_err(|error| error.to_string())
            .and_then(|mut image| {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut image, &mut bytes).map_err(|e| e.to_string())
            });
        assert!(read.is_err(), "{}", path.display());
    }
}

fn name<R: ReadAt>(bundle: &bundle_format::VerifiedBundle<R>) -> String {
    bundle.manifest().manifest().images[0]
        .filename
        .clone()
        .unwrap()
}
