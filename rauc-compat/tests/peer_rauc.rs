//! The same words to Debian's `rauc` 1.8 and to ours: the same output, the same exit code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use support::{KEYRING, OURS, SIGNER, THEIRS, Workshop};

#[test]
fn info_in_every_format_of_every_kind_of_bundle() {
    let workshop = Workshop::new();
    for format in ["verity", "plain", "crypt"] {
        workshop.manifest(format);
        for (maker, name) in [(THEIRS, "theirs"), (OURS, "ours")] {
            let bundle = format!("{name}-{format}.raucb");
            workshop.ok(maker, &format!("bundle {SIGNER} input {bundle}"));
            for output in ["readable", "shell", "json", "json-pretty", "nonsense"] {
                workshop.same(&format!("info {KEYRING} --output-format={output} {bundle}"));
            }
            workshop.same(&format!("info --no-verify {bundle}"));
            workshop.same(&format!("info {KEYRING} --dump-cert {bundle}"));
            workshop.same(&format!("{KEYRING} info {bundle} --dump-recipients"));
        }
    }
}

#[test]
fn encrypted_bundles_and_their_recipients() {
    let workshop = Workshop::new();
    workshop.manifest("crypt");
    for (name, kind) in [
        ("rsa", "rsa:2048"),
        ("ec", "ec -pkeyopt ec_paramgen_curve:P-256"),
    ] {
        let line = format!(
            "req -x509 -nodes -newkey {kind} -keyout {name}.key -out {name}.pem -subj /O=a+b,c/CN={name}"
        );
        workshop.ok("openssl", &line);
    }
    let conf = "[system]\ncompatible=Test Board\nbootloader=noop\n[keyring]\npath=pki/keyring.pem\n\
                [encryption]\nkey=rsa.key\ncert=rsa.pem\n";
    workshop.write("system.conf", conf.as_bytes());
    for (number, maker) in [THEIRS, OURS].into_iter().enumerate() {
        workshop.ok(maker, &format!("bundle {SIGNER} input c{number}.raucb"));
        let line =
            format!("encrypt {KEYRING} --to rsa.pem --to=ec.pem c{number}.raucb e{number}.raucb");
        let said = workshop.ok(maker, &line);
        assert_eq!(
            said,
            format!("Encrypted bundle written to e{number}.raucb\n")
        );
        workshop.same(&format!(
            "-c system.conf info --dump-recipients e{number}.raucb"
        ));
        workshop.same(&format!("info {KEYRING} --key rsa.key e{number}.raucb"));
        workshop.same(&format!("info {KEYRING} e{number}.raucb"));
        for taker in [THEIRS, OURS] {
            let name = format!(
                "x{number}-{}",
                if taker == OURS { "ours" } else { "theirs" }
            );
            workshop.ok(
                taker,
                &format!("-c system.conf extract e{number}.raucb {name}"),
            );
            workshop.ok("cmp", &format!("input/rootfs.ext4 {name}/rootfs.ext4"));
            // The signature without its envelope.
            let line = format!("-c system.conf extract-signature e{number}.raucb {name}.sig");
            workshop.ok(taker, &line);
        }
        workshop.ok("cmp", &format!("x{number}-ours.sig x{number}-theirs.sig"));
    }
}

#[test]
fn what_one_refuses_the_other_refuses() {
    let workshop = Workshop::new();
    workshop.ok(OURS, &format!("bundle {SIGNER} input a.raucb"));
    workshop.write("zero.raucb", &[0; 100]);
    workshop.write("short.raucb", b"hi\n");
    workshop.write("bad.conf", b"[system]\nfoo=1\n");
    let expired =
        "req -x509 -nodes -newkey rsa:2048 -keyout other.key -out other.pem -subj /CN=other";
    workshop.ok("openssl", expired);
    for line in [
        "info",
        "info a.raucb",
        "info missing.raucb",
        "info --keyring",
        "info --keyring=missing.pem a.raucb",
        "info --keyring=other.pem a.raucb",
        "info --keyring=pki/keyring.pem a.raucb excess",
        "info --keyring=pki/keyring.pem zero.raucb",
        "info --keyring=pki/keyring.pem short.raucb",
        "info -c bad.conf a.raucb",
        "info -c missing.conf a.raucb",
        "bundle",
        "bundle input",
        "bundle input b.raucb",
        "bundle --cert=pki/signer.cert.pem --key=pki/signer.key.pem missing b.raucb",
        "bundle --cert=pki/signer.cert.pem --key=pki/signer.key.pem input a.raucb",
        "resign a.raucb b.raucb",
        "resign --cert=pki/signer.cert.pem --key=pki/signer.key.pem a.raucb b.raucb",
        "resign --no-verify --cert=pki/signer.cert.pem --key=pki/signer.key.pem a.raucb b.raucb",
        "encrypt --keyring=pki/keyring.pem a.raucb b.raucb",
        "encrypt --keyring=pki/keyring.pem --to=other.pem a.raucb b.raucb",
        "extract a.raucb out",
        "extract-signature a.raucb sig",
        "replace-signature a.raucb other.pem b.raucb",
        "convert --cert=pki/signer.cert.pem --key=pki/signer.key.pem a.raucb b.raucb",
    ] {
        workshop.same(line);
        assert!(!workshop.path("b.raucb").exists(), "{line}");
    }
    // Here RAUC prints its own help as well: only the exit code is the same.
    for line in ["", "frob", "info --frob a.raucb"] {
        let code = |program| workshop.run(program, line).status.code();
        assert_eq!(code(OURS), code(THEIRS), "{line}");
    }
    for program in [OURS, THEIRS] {
        let wrong = format!("bundle {SIGNER} --signing-keyring=other.pem input b.raucb");
        assert_eq!(workshop.run(program, &wrong).status.code(), Some(1));
        assert!(!workshop.path("b.raucb").exists());
    }
}

#[test]
fn signatures_are_moved_and_replaced() {
    let workshop = Workshop::new();
    for (number, maker) in [THEIRS, OURS].into_iter().enumerate() {
        let name = |what: &str| format!("{what}{number}");
        let (a, sig, b, c) = (name("a"), name("sig"), name("b"), name("c"));
        workshop.ok(maker, &format!("bundle {SIGNER} {KEYRING} input {a}"));
        workshop.ok(maker, &format!("extract-signature {KEYRING} {a} {sig}"));
        let said = workshop.ok(maker, &format!("replace-signature {KEYRING} {a} {sig} {b}"));
        assert_eq!(said, "Reading bundle in 'verity' format\n");
        workshop.ok("cmp", &format!("{a} {b}"));
        let said = workshop.ok(maker, &format!("resign {KEYRING} {SIGNER} {a} {c}"));
        assert_eq!(
            said,
            "Reading bundle in 'verity' format\nCreating bundle in 'verity' format\n"
        );
        for reader in [THEIRS, OURS] {
            workshop.ok(reader, &format!("info {KEYRING} {c}"));
        }
        // The signature is an ordinary CMS over the manifest.
        let line =
            format!("cms -verify -inform DER -in {sig} -CAfile pki/keyring.pem -out {a}.manifest");
        workshop.ok("openssl", &line);
    }
}

#[test]
fn extracting_twice_puts_the_files_back() {
    let workshop = Workshop::new();
    workshop.ok(OURS, &format!("bundle {SIGNER} input a.raucb"));
    for program in [THEIRS, OURS] {
        workshop.ok(program, &format!("extract {KEYRING} a.raucb out"));
        workshop.ok("cmp", "input/boot.vfat out/boot.vfat");
        workshop.write("out/boot.vfat", b"changed");
    }
}

#[test]
fn settings_can_be_changed_by_options() {
    let workshop = Workshop::new();
    workshop.manifest("plain");
    workshop.ok(OURS, &format!("bundle {SIGNER} input a.raucb"));
    workshop.ok(OURS, "info -C keyring:path=pki/keyring.pem a.raucb");
    let line = format!("info {KEYRING} -C system:bundle-formats=verity a.raucb");
    assert_eq!(workshop.run(OURS, &line).status.code(), Some(1));
    assert_eq!(
        workshop
            .run(OURS, "info -C system:bundle-formats")
            .status
            .code(),
        Some(1)
    );
}

#[test]
fn commands_of_the_device_do_not_pretend() {
    let workshop = Workshop::new();
    for line in [
        "install a.raucb",
        "status",
        "status mark-good",
        "service",
        "mount a",
        "write-slot a b",
    ] {
        let done = workshop.run(OURS, line);
        assert_eq!(done.status.code(), Some(1), "{line}");
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(said.contains("nothing was done"), "{said}");
    }
}
