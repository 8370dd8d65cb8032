//! Encrypted, re-signed and plain bundles, back and forth with real `rauc`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};

use bundle_format::Limits;
use bundle_format::cms::DecryptionKey;
use bundle_format::manifest::Format;
use bundle_tool::encrypt::{Recipients, encrypt};
use bundle_tool::extract::extract;
use bundle_tool::observer::Silent;
use bundle_tool::open::{Check, Source};
use bundle_tool::output::Overwrite;
use bundle_tool::signature::OldSignature;
use bundle_tool::unsigned::Signing;
use bundle_tool::{signature, verify};
use support::{Workshop, run, stdout, text, try_run, write};

/// A recipient's certificate and key, and a system.conf for a device that has the key.
fn device(workshop: &Workshop, kind: &[&str]) -> (PathBuf, PathBuf, PathBuf) {
    let (cert, key) = (workshop.path("device.crt"), workshop.path("device.key"));
    let conf = workshop.path("system.conf");
    let mut args = vec![
        "req",
        "-x509",
        "-nodes",
        "-subj",
        "/CN=device",
        "-keyout",
        text(&key),
    ];
    args.extend(["-out", text(&cert), "-newkey"]);
    args.extend(kind);
    run("openssl", &args);
    let text = format!(
        "[system]\ncompatible=Test Board\nbootloader=noop\n[keyring]\npath={}\n[encryption]\nkey={}\ncert={}\n",
        text(&workshop.pki.keyring),
        text(&key),
        text(&cert),
    );
    write(&conf, text.as_bytes());
    (cert, key, conf)
}

fn make_with_rauc(workshop: &Workshop, format: &str) -> PathBuf {
    let input = workshop.path("input");
    fs_err::create_dir(&input).unwrap();
    write(&input.join("rootfs.ext4"), &workshop.rootfs);
    let manifest = format!(
        "[update]\ncompatible=Test Board\n[bundle]\nformat={format}\n[image.rootfs]\nfilename=rootfs.ext4\n"
    );
    write(&input.join("manifest.raucm"), manifest.as_bytes());
    let bundle = workshop.path("rauc.raucb");
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
            text(&bundle),
        ],
    );
    bundle
}

fn check(workshop: &Workshop, path: &Path, key: Option<&DecryptionKey>) {
    let source = Source {
        path,
        limits: &Limits::default(),
        decryption: key,
    };
    verify::verify(
        &source,
        &workshop.trust(),
        verify::Depth::Images,
        &mut Silent,
    )
    .unwrap();
}

const KINDS: [&[&str]; 2] = [
    &["rsa:2048"],
    &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
];

#[test]
fn a_crypt_bundle_that_rauc_made_and_encrypted() {
    for kind in KINDS {
        let workshop = Workshop::new();
        let (cert, key, _) = device(&workshop, kind);
        let made = make_with_rauc(&workshop, "crypt");
        check(&workshop, &made, None);
        let encrypted = workshop.path("encrypted.raucb");
        let keyring = text(&workshop.pki.keyring);
        let args = [
            "encrypt",
            "--keyring",
            keyring,
            "--to",
            text(&cert),
            text(&made),
        ];
        run("rauc", &[&args[..], &[text(&encrypted)]].concat());
        let key = DecryptionKey::from_files(&key, None, None).unwrap();
        check(&workshop, &encrypted, Some(&key));
        let limits = Limits::default();
        let source = Source {
            path: &encrypted,
            limits: &limits,
            decryption: Some(&key),
        };
        let out = workshop.path("out");
        extract(
            &source.verified(&workshop.trust()).unwrap().files().unwrap(),
            &out,
            Overwrite::Refuse,
            &mut Silent,
        )
        .unwrap();
        assert!(fs_err::read(out.join("rootfs.ext4")).unwrap() == workshop.rootfs);
    }
}

#[test]
fn rauc_opens_the_crypt_bundle_that_we_made_and_encrypted() {
    for kind in KINDS {
        let workshop = Workshop::new();
        let (cert, _, conf) = device(&workshop, kind);
        let mut request = workshop.request("a.raucb");
        request.format = Format::Crypt;
        workshop.create(&request).unwrap();
        let target = workshop.target("encrypted.raucb");
        let recipients = Recipients::load(&[cert]).unwrap();
        encrypt(&request.output.path, &Check::None, &recipients, &target).unwrap();
        let info = run(
            "rauc",
            &[
                "-c",
                text(&conf),
                "info",
                "--dump-recipients",
                text(&target.path),
            ],
        );
        let info = stdout(&info);
        assert!(
            info.contains("Test Board") && info.contains("crypt"),
            "{info}"
        );
        // Only the key's owner sees it.
        let keyring = text(&workshop.pki.keyring);
        assert!(
            !try_run("rauc", &["info", "--keyring", keyring, text(&target.path)])
                .status
                .success()
        );
    }
}

/// rauc 1.8 cannot extract crypt bundles without mounting; the kernel's view of the payload is
/// that of `openssl enc`, sector by sector.
#[test]
fn the_payload_is_what_openssl_decrypts() {
    let workshop = Workshop::new();
    let mut request = workshop.request("a.raucb");
    request.format = Format::Crypt;
    workshop.create(&request).unwrap();
    request.output = workshop.target("b.raucb");
    request.format = Format::Verity;
    workshop.create(&request).unwrap();
    let encrypted = fs_err::read(workshop.path("a.raucb")).unwrap();
    let plain = fs_err::read(workshop.path("b.raucb")).unwrap();
    // The manifests inside differ in size, so compare what an image's sector becomes.
    let limits = Limits::default();
    let source = Source {
        path: &workshop.path("a.raucb"),
        limits: &limits,
        decryption: None,
    };
    let verified = source.verified(&workshop.trust()).unwrap();
    for sector in [0usize, 1, 100] {
        let file = workshop.path("sector");
        write(&file, &encrypted[sector * 4096..][..4096]);
        let iv = format!(
            "{}{}",
            (sector as u64 * 8)
                .to_le_bytes()
                .map(|b| format!("{b:02x}"))
                .concat(),
            "0".repeat(16)
        );
        let key = "3c".repeat(32);
        let out = run(
            "openssl",
            &[
                "enc",
                "-d",
                "-aes-256-cbc",
                "-nopad",
                "-K",
                &key,
                "-iv",
                &iv,
                "-in",
                text(&file),
            ],
        );
        let mut ours = vec![0; 4096];
        bundle_format::ReadAt::read_exact_at(verified.payload(), &mut ours, sector as u64 * 4096)
            .unwrap();
        assert!(out.stdout == ours, "sector {sector}");
    }
    assert_eq!(&plain[..4], b"hsqs");
    assert_ne!(&encrypted[..4], b"hsqs");
}

#[test]
fn plain_bundles_both_ways() {
    let workshop = Workshop::new();
    check(&workshop, &make_with_rauc(&workshop, "plain"), None);
    let mut request = workshop.request("a.raucb");
    request.format = Format::Plain;
    workshop.create(&request).unwrap();
    let keyring = text(&workshop.pki.keyring);
    let info = run(
        "rauc",
        &["info", "--keyring", keyring, text(&request.output.path)],
    );
    assert!(stdout(&info).contains("Bundle Format: \tplain"));
    let out = workshop.path("out");
    run(
        "rauc",
        &[
            "extract",
            "--keyring",
            keyring,
            text(&request.output.path),
            text(&out),
        ],
    );
    assert!(fs_err::read(out.join("rootfs.ext4")).unwrap() == workshop.rootfs);
}

#[test]
fn signed_anew_both_ways() {
    let workshop = Workshop::new();
    let other = Workshop::new();
    let theirs = make_with_rauc(&workshop, "verity");
    let limits = Limits::default();
    let trust = workshop.trust();
    let signer = other.identity();
    let signing = Signing {
        signer: &signer,
        time: support::TIME,
        keyring: None,
        recipients: None,
    };
    let target = workshop.target("ours.raucb");
    let source = Source {
        path: &theirs,
        limits: &limits,
        decryption: None,
    };
    signature::resign(
        &source,
        &Check::Trust(&trust),
        &signing,
        OldSignature::Replaced,
        &target,
    )
    .unwrap();
    run(
        "rauc",
        &[
            "info",
            "--keyring",
            text(&other.pki.keyring),
            text(&target.path),
        ],
    );

    let ours = workshop.bundle("made.raucb");
    let resigned = workshop.path("resigned.raucb");
    // rauc 1.8 checks the new signature with the keyring for the old one, so that has both roots.
    let both = workshop.path("both.pem");
    let rings = [&workshop, &other].map(|one| fs_err::read(&one.pki.keyring).unwrap());
    write(&both, &rings.concat());
    let mut args = vec!["resign", "--keyring", text(&both)];
    args.extend([
        "--cert",
        text(&other.pki.signer_cert),
        "--key",
        text(&other.pki.signer_key),
    ]);
    args.extend([text(&ours), text(&resigned)]);
    run("rauc", &args);
    check(&other, &resigned, None);

    // Signatures taken out by the one are put in by the other.
    let cms = workshop.path("rauc.cms");
    run(
        "rauc",
        &[
            "extract-signature",
            "--keyring",
            text(&other.pki.keyring),
            text(&resigned),
            text(&cms),
        ],
    );
    let replaced = workshop.target("replaced.raucb");
    let others_trust = other.trust();
    signature::replace(
        &Source {
            path: &resigned,
            ..source
        },
        &cms,
        &Check::Trust(&others_trust),
        &replaced,
    )
    .unwrap();
    assert!(fs_err::read(&replaced.path).unwrap() == fs_err::read(&resigned).unwrap());
}
