//! Bundles made by real `rauc bundle` are read, verified and unpacked by us.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bundle_format::manifest::Format;
use bundle_format::{Bundle, Digest, FileReader, Limits, ReadAt, Trust};
use support::{Identity, Spec, noise, run, text, write};

struct Made {
    dir: tempfile::TempDir,
    ca: Identity,
    bundle: PathBuf,
    rootfs: Vec<u8>,
    boot: Vec<u8>,
}

fn make(format: &str) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let ca = Spec::ca("CA").make();
    let signer = Spec::leaf("Signer", Some(&ca)).make();
    let (cert, key) = signer.write(dir.path(), "signer");
    let input = dir.path().join("input");
    std::fs::create_dir(&input).unwrap();
    let mut rootfs = noise(3_000_000);
    // Holes, and data that compresses.
    rootfs.extend_from_slice(&vec![0; 500_000]);
    rootfs.extend_from_slice(b"tail");
    let boot = noise(100);
    write(&input.join("rootfs.ext4"), &rootfs);
    write(&input.join("boot.vfat"), &boot);
    let manifest = format!(
        "[update]\ncompatible=Board\nversion=1.2\n[bundle]\nformat={format}\n\
         [image.rootfs]\nfilename=rootfs.ext4\n[image.boot]\nfilename=boot.vfat\n"
    );
    write(&input.join("manifest.raucm"), manifest.as_bytes());
    let bundle = dir.path().join("test.raucb");
    run(
        "rauc",
        &[
            "bundle",
            "--cert",
            text(&cert),
            "--key",
            text(&key),
            text(&input),
            text(&bundle),
        ],
    );
    Made {
        dir,
        ca,
        bundle,
        rootfs,
        boot,
    }
}

fn open(path: &Path) -> Bundle<FileReader> {
    Bundle::open(FileReader::open(path).unwrap(), &Limits::default()).unwrap()
}

fn check(format: &str, expected: Format) {
    let made = make(format);
    let trust = Trust::from_pem(&made.ca.pem(), "ca").unwrap();
    assert_eq!(
        open(&made.bundle)
            .manifest_unverified()
            .unwrap()
            .update
            .compatible,
        "Board"
    );
    let bundle = open(&made.bundle).verify(&trust).unwrap();
    bundle.verify_payload(&mut |_, _| {}).unwrap();

    let manifest = bundle.manifest().manifest();
    assert_eq!(manifest.bundle.format, expected);
    assert_eq!(manifest.update.version.as_deref(), Some("1.2"));
    assert_eq!(bundle.manifest().signers()[0].subject, "O=Test, CN=Signer");
    assert_eq!(bundle.manifest().signers().len(), 2);
    assert_eq!(manifest.images.len(), 2);
    for (image, content) in manifest.images.iter().zip([&made.rootfs, &made.boot]) {
        assert_eq!(image.sha256, Some(Digest::of(content)));
        bundle.check_image(image, &mut |_, _| {}).unwrap();
        let mut found = Vec::new();
        let name = image.filename.as_deref().unwrap();
        bundle.image(name).unwrap().read_to_end(&mut found).unwrap();
        assert!(found == *content, "{name} differs");
    }
    let missing = bundle.image("nothing").err().unwrap().to_string();
    assert_eq!(missing, "the bundle has no file called nothing");
    drop(made.dir);
}

#[test]
fn a_verity_bundle_of_rauc_is_read() {
    check("verity", Format::Verity);
}

#[test]
fn a_plain_bundle_of_rauc_is_read() {
    check("plain", Format::Plain);
}

#[test]
fn a_strangers_keyring_refuses_it() {
    let made = make("verity");
    let stranger = Spec::ca("Stranger").make();
    let trust = Trust::from_pem(&stranger.pem(), "stranger.pem").unwrap();
    let error = open(&made.bundle).verify(&trust).err().unwrap().to_string();
    assert_eq!(
        error,
        "the signer is not trusted by the keyring stranger.pem: unable to get local issuer \
         certificate (certificate: O=Test, CN=Signer)"
    );
}

#[test]
fn the_tree_is_the_one_that_veritysetup_knows() {
    let made = make("verity");
    let trust = Trust::from_pem(&made.ca.pem(), "ca").unwrap();
    let bundle = open(&made.bundle).verify(&trust).unwrap();
    let spec = bundle.manifest().manifest().bundle.verity.clone().unwrap();
    let data = bundle.payload().len();
    let tree =
        bundle_format::verity::build_tree(bundle.payload(), data, &spec.salt, &mut |_, _| {})
            .unwrap();
    assert_eq!((tree.root, tree.bytes.len() as u64), (spec.root, spec.size));
    run(
        "veritysetup",
        &[
            "verify",
            text(&made.bundle),
            text(&made.bundle),
            &spec.root.to_string(),
            "--no-superblock",
            &format!("--hash-offset={data}"),
            &format!("--data-blocks={}", data / 4096),
            &format!("--salt={}", bundle_format::encode_hex(&spec.salt)),
        ],
    );
}
