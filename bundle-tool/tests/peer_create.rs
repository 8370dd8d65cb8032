//! Real programs accept the bundles that we make.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use bundle_format::{Bundle, FileReader, Limits, ReadAt as _, Trust};
use support::{Workshop, change, run, stdout, text, try_run};

#[test]
fn rauc_shows_and_extracts_it() {
    let workshop = Workshop::new();
    let bundle = workshop.bundle("a.raucb");
    let keyring = text(&workshop.pki.keyring);
    let info = run(
        "rauc",
        &[
            "info",
            "--keyring",
            keyring,
            "--output-format=json",
            text(&bundle),
        ],
    );
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info["compatible"], "Test Board");
    assert_eq!(info["version"], "2026.01-1");
    assert_eq!(info["description"], "a test");
    assert_eq!(info["build"], "42");
    assert_eq!(info["images"].as_array().unwrap().len(), 2);

    let out = workshop.path("extracted");
    run(
        "rauc",
        &["extract", "--keyring", keyring, text(&bundle), text(&out)],
    );
    assert!(fs_err::read(out.join("rootfs.ext4")).unwrap() == workshop.rootfs);
    assert!(fs_err::read(out.join("boot.vfat")).unwrap() == workshop.boot);
    // The copy inside says what the signed one says, but for the tree.
    let inside = fs_err::read_to_string(out.join("manifest.raucm")).unwrap();
    assert!(
        inside.contains("format=verity") && !inside.contains("verity-hash"),
        "{inside}"
    );
}

#[test]
fn rauc_accepts_every_kind_of_certificate_that_it_can_sign_with() {
    let workshop = Workshop::new();
    for key in ["rsa:3072", "ec"] {
        let name = key.replace(':', "-");
        let (cert, key_file) = (workshop.path(&format!("{name}.crt")), workshop.path(&name));
        let mut args = vec![
            "req", "-x509", "-nodes", "-subj", "/CN=self", "-newkey", key,
        ];
        args.extend(
            ["-pkeyopt", "ec_paramgen_curve:P-256"]
                .iter()
                .filter(|_| key == "ec"),
        );
        args.extend(["-keyout", text(&key_file), "-out", text(&cert)]);
        run("openssl", &args);
        let mut request = workshop.request(&format!("{name}.raucb"));
        change(&mut request, |source, _, keyring| {
            source.certificate = cert.clone();
            source.key = key_file;
            *keyring = Some(Trust::from_keyring_file(&cert).unwrap());
        });
        // The certificate's life starts now.
        workshop.create(&request).unwrap();
        run(
            "rauc",
            &["info", "--keyring", text(&cert), text(&request.output.path)],
        );
    }
}

#[test]
fn openssl_accepts_the_signature() {
    let workshop = Workshop::new();
    let bundle = workshop.bundle("a.raucb");
    let opened = Bundle::open(FileReader::open(&bundle).unwrap(), &Limits::default()).unwrap();
    let cms = workshop.path("a.cms");
    support::write(&cms, opened.signature());
    let keyring = text(&workshop.pki.keyring);
    let verified = run(
        "openssl",
        &[
            "cms",
            "-verify",
            "-inform",
            "DER",
            "-in",
            text(&cms),
            "-CAfile",
            keyring,
        ],
    );
    assert!(stdout(&verified).starts_with("[update]\ncompatible=Test Board\n"));
    let print = run(
        "openssl",
        &[
            "cms",
            "-cmsout",
            "-print",
            "-noout",
            "-inform",
            "DER",
            "-in",
            text(&cms),
        ],
    );
    let print = stdout(&print);
    for part in [
        "signingTime",
        "Jan  1 00:00:00 2026 GMT",
        "messageDigest",
        "rsaEncryption",
    ] {
        assert!(print.contains(part), "{part} in {print}");
    }
    assert_eq!(print.matches("issuerAndSerialNumber").count(), 1);
    assert!(!print.contains("S/MIME Capabilities"));
}

#[test]
fn unsquashfs_and_veritysetup_agree() {
    let workshop = Workshop::new();
    let bundle = workshop.bundle("a.raucb");
    let listing = run("unsquashfs", &["-lln", text(&bundle)]);
    let listing = stdout(&listing);
    for name in ["manifest.raucm", "rootfs.ext4", "boot.vfat"] {
        assert!(
            listing.contains(&format!("squashfs-root/{name}")),
            "{listing}"
        );
    }
    assert!(
        listing.contains("drwx------ 0/0"),
        "root directory: {listing}"
    );

    let trust = Trust::from_keyring_file(&workshop.pki.keyring).unwrap();
    let opened = Bundle::open(FileReader::open(&bundle).unwrap(), &Limits::default()).unwrap();
    let verified = opened.verify(&trust).unwrap();
    let spec = verified
        .manifest()
        .manifest()
        .bundle
        .verity
        .clone()
        .unwrap();
    let len = verified.payload().len();
    let arguments = |root: &str| {
        [
            "verify".to_owned(),
            text(&bundle).to_owned(),
            text(&bundle).to_owned(),
            root.to_owned(),
            "--no-superblock".to_owned(),
            format!("--hash-offset={len}"),
            format!("--data-blocks={}", len / 4096),
            format!("--salt={}", "5a".repeat(32)),
        ]
    };
    run("veritysetup", &arguments(&spec.root.to_string()));
    assert!(
        !try_run("veritysetup", &arguments(&"00".repeat(32)))
            .status
            .success()
    );
}

#[test]
fn rauc_refuses_what_a_stranger_signed() {
    let workshop = Workshop::new();
    let stranger = Workshop::new();
    let bundle = stranger.bundle("a.raucb");
    let keyring = text(&workshop.pki.keyring);
    assert!(
        !try_run("rauc", &["info", "--keyring", keyring, text(&bundle)])
            .status
            .success()
    );
}

#[test]
fn the_block_hash_index_is_that_of_rauc() {
    let workshop = Workshop::new();
    let input = workshop.path("input");
    fs_err::create_dir(&input).unwrap();
    support::write(&input.join("rootfs.img"), &support::noise(600 * 4096));
    let manifest = "[update]\ncompatible=a\n[bundle]\nformat=verity\n[image.rootfs]\n\
                    filename=rootfs.img\nadaptive=block-hash-index\n";
    support::write(&input.join("manifest.raucm"), manifest.as_bytes());
    let theirs = workshop.path("theirs.raucb");
    let (cert, key) = (
        text(&workshop.pki.signer_cert),
        text(&workshop.pki.signer_key),
    );
    run(
        "rauc",
        &[
            "bundle",
            "--cert",
            cert,
            "--key",
            key,
            text(&input),
            text(&theirs),
        ],
    );
    let mut request = workshop.request("ours.raucb");
    request.input = bundle_tool::create::Input::Directory(input);
    workshop.create(&request).unwrap();
    let index = |bundle: &std::path::Path| {
        run(
            "unsquashfs",
            &["-cat", text(bundle), "rootfs.img.block-hash-index"],
        )
        .stdout
    };
    assert_eq!(index(&theirs).len(), 600 * 32);
    assert!(index(&theirs) == index(&request.output.path));
}
