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

/// `rauc`'s own service on a bus of its own reads the status file that we wrote.
#[test]
fn rauc_reads_our_status_file() {
    let (rig, bundle) = made_by_rauc();
    fs_err::write(rig.path("peer.raucb"), bundle).unwrap();
    let output = rig.run(&[
        "install",
        "--transaction-id",
        "abc-1",
        rig.path("peer.raucb").to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let conf = format!(
        "[system]\ncompatible=board\nbootloader=noop\nstatusfile={}\n\
         [slot.rootfs.0]\ndevice=/dev/null\nbootname=A\n[slot.rootfs.1]\ndevice=/dev/zero\nbootname=B\n",
        rig.path("data/central.raucs").display()
    );
    fs_err::write(rig.path("peer.conf"), conf).unwrap();
    let script = "export DBUS_STARTER_BUS_TYPE=session; rauc --conf peer.conf service --override-boot-slot=A & service=$!; \
                  until rauc --conf peer.conf status --detailed --output-format=json; do sleep 0.1; done; kill $service";
    let output = Command::new("dbus-run-session")
        .args(["--", "timeout", "60", "sh", "-c", script])
        .current_dir(rig.dir.path())
        .output()
        .expect("dbus-run-session (Debian's package `dbus`) runs");
    let text = stdout(&output);
    let json: serde_json::Value = text
        .lines()
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap_or_else(|| panic!("{text}{}", stderr(&output)));
    let slots = json["slots"].as_array().unwrap();
    let slot = slots.iter().find_map(|slot| slot.get("rootfs.1")).unwrap();
    let status = &slot["slot_status"];
    assert_eq!(status["status"], "ok");
    assert_eq!(status["bundle"]["version"], "7");
    assert_eq!(status["checksum"]["size"], image(7).len());
    assert_eq!(status["installed"]["count"], 1);
    assert_eq!(status["activated"]["count"], 1);
    let ours: serde_json::Value =
        serde_json::from_slice(&rig.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(
        ours["slots"][1]["slot-status"]["installed.transaction"],
        "abc-1"
    );
}
