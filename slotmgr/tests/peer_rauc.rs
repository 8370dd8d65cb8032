//! Bundles made by the real `rauc` are installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::process::Command;

use bundle_tool::keys::demo_pki;
use support::image;
use support::rig::{Rig, stderr, stdout};
use support::server::{Fault, Server};

/// A verity bundle by `rauc bundle`, and the rig that trusts it.
fn made_by_rauc() -> (Rig, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let pki = demo_pki(&dir.path().join("pki")).unwrap();
    let content = dir.path().join("content");
    fs_err::create_dir(&content).unwrap();
    fs_err::write(content.join("rootfs.img"), image(7)).unwrap();
    let manifest = "[update]\ncompatible=board\nversion=7\n[bundle]\nformat=verity\n\
                    [image.rootfs]\nfilename=rootfs.img\n";
    fs_err::write(content.join("manifest.raucm"), manifest).unwrap();
    let output = dir.path().join("peer.raucb");
    let made = Command::new("rauc")
        .arg("bundle")
        .arg(format!("--cert={}", pki.signer_cert.display()))
        .arg(format!("--key={}", pki.signer_key.display()))
        .args([&content, &output])
        .output()
        .expect("rauc (Debian's package `rauc`) runs");
    assert!(made.status.success(), "{}", stderr(&made));
    (
        Rig::new(&image(1), &pki.keyring),
        fs_err::read(output).unwrap(),
    )
}

#[test]
fn from_a_file() {
    let (rig, bundle) = made_by_rauc();
    fs_err::write(rig.path("peer.raucb"), bundle).unwrap();
    let output = rig.run(&["install", rig.path("peer.raucb").to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(rig.snapshot().b.starts_with(&image(7)));
    let status = stdout(&rig.run(&["status"]));
    assert!(status.contains("next start rootfs.1 (B)"), "{status}");
    assert!(
        status.contains("version 7 is in rootfs.1 and waits to be tried"),
        "{status}"
    );
}

#[test]
fn from_a_web_server() {
    let (rig, bundle) = made_by_rauc();
    let server = Server::start(bundle, |_| Fault::None);
    let output = rig.run(&["install", &server.url]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(rig.snapshot().b.starts_with(&image(7)));
}
