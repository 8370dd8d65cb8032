//! The command lines that meta-rauc's `bundle.bbclass` runs, word by word, with ours as `rauc`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::process::Command;

use support::{THEIRS, Workshop};

/// Runs a line as the class's shell task does, with our program as `rauc` in the PATH.
fn task(workshop: &Workshop, line: &str) {
    let bin = workshop.path("native");
    if !bin.exists() {
        fs_err::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(support::OURS, bin.join("rauc")).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let done = Command::new("sh")
        .args(["-e", "-c", line])
        .current_dir(workshop.path(""))
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{line}: {said}");
}

#[test]
fn a_bundle_as_the_class_makes_it() {
    let workshop = Workshop::new();
    task(
        &workshop,
        "rauc bundle --debug --cert=\"pki/signer.cert.pem\" --key=\"pki/signer.key.pem\" \
         --mksquashfs-args=\"-comp xz -b 64k\" \"input\" \"bundle.raucb\"",
    );
    workshop.ok(THEIRS, "info --keyring pki/keyring.pem bundle.raucb");
}

#[test]
fn a_chunked_bundle_as_the_class_makes_it() {
    let workshop = Workshop::new();
    task(
        &workshop,
        "rauc bundle --debug --cert=pki/signer.cert.pem --key=pki/signer.key.pem input bundle.raucb",
    );
    task(
        &workshop,
        "rauc convert --debug --trust-environment --cert=pki/signer.cert.pem \
         --key=pki/signer.key.pem --keyring=pki/keyring.pem bundle.raucb casync-bundle.raucb",
    );
    assert!(workshop.path("casync-bundle.castr").is_dir());
    workshop.ok(THEIRS, "info --keyring pki/keyring.pem casync-bundle.raucb");
}

#[test]
fn an_encrypted_bundle_as_the_class_makes_it() {
    let workshop = Workshop::new();
    workshop.manifest("crypt");
    let line = "req -x509 -nodes -newkey rsa:2048 -keyout d.key -out d.pem -subj /CN=d";
    workshop.ok("openssl", line);
    task(
        &workshop,
        "rauc bundle --debug --cert=pki/signer.cert.pem --key=pki/signer.key.pem input bundle.raucb",
    );
    task(
        &workshop,
        "rauc encrypt --debug --to=d.pem --keyring=pki/keyring.pem bundle.raucb encrypted.raucb",
    );
    workshop.ok(
        THEIRS,
        "info --keyring pki/keyring.pem --key d.key encrypted.raucb",
    );
}
