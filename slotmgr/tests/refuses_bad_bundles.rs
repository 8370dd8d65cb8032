//! Whatever is wrong with a bundle: exit code 1, a message that says what and where, and neither
//! a slot nor the boot environment touched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::{Path, PathBuf};

use support::rig::{Rig, stderr, stdout};
use support::server::{Fault, Server};
use support::{bundle_file, image};

struct Bench {
    dir: tempfile::TempDir,
    good: Vec<u8>,
    keyring: PathBuf,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let (path, keyring) = bundle_file(dir.path(), &image(3), "3");
    Bench {
        good: fs_err::read(path).unwrap(),
        keyring,
        dir,
    }
}

/// Length of payload (data and tree), from the trailer.
fn payload_len(bundle: &[u8]) -> usize {
    let (rest, trailer) = bundle.split_last_chunk::<8>().unwrap();
    rest.len() - usize::try_from(u64::from_be_bytes(*trailer)).unwrap()
}

/// `slotmgr install` must fail with `expected` in its message, and leave everything as it was.
fn refused(keyring: &Path, bundle: &[u8], expected: &str) {
    let rig = Rig::new(&image(1), keyring);
    let before = rig.snapshot();
    fs_err::write(rig.path("update.raucb"), bundle).unwrap();
    let path = rig.path("update.raucb");
    let output = rig.run(&["install", "--json", path.to_str().unwrap()]);
    let message = stderr(&output);
    // Programs read it where they read every answer.
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer["schema"], &answer["exit-code"]),
        (&1.into(), &1.into())
    );
    assert!(
        message.contains(answer["error"].as_str().unwrap()),
        "{answer}"
    );
    assert_eq!(
        output.status.code(),
        Some(1),
        "{message}{}",
        stdout(&output)
    );
    assert!(
        message.contains(expected),
        "expected `{expected}` in: {message}"
    );
    assert!(rig.snapshot() == before, "something was touched: {message}");
}

fn flipped(bundle: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bundle.to_vec();
    bytes[at] ^= 0x10;
    bytes
}

#[test]
fn the_same_bundle_unharmed_is_installed() {
    let bench = bench();
    let rig = Rig::new(&image(1), &bench.keyring);
    let path = bench.dir.path().join("update-3.raucb");
    let output = rig.run(&["install", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let after = rig.snapshot();
    assert!(after.b.starts_with(&image(3)));
    assert!(after.a.starts_with(&image(1)));
}

#[test]
fn truncated() {
    let bench = bench();
    let payload = payload_len(&bench.good);
    let end = bench.good.len();
    for length in [
        0,
        7,
        8,
        4096,
        payload - 4096,
        payload,
        payload + 8,
        end - 8,
        end - 1,
    ] {
        refused(
            &bench.keyring,
            &bench.good[..length],
            "update.raucb is refused",
        );
    }
}

#[test]
fn one_flipped_bit_in_the_payload() {
    let bench = bench();
    // The first block, one in the middle, one of the tree.
    for at in [0, 5 * 4096 + 17] {
        refused(
            &bench.keyring,
            &flipped(&bench.good, at),
            &format!("block {}", at / 4096),
        );
    }
    let tree = payload_len(&bench.good) - 4000;
    refused(&bench.keyring, &flipped(&bench.good, tree), "hash tree");
}

#[test]
fn one_flipped_bit_in_the_signature_or_the_trailer() {
    let bench = bench();
    let payload = payload_len(&bench.good);
    let end = bench.good.len();
    for at in (payload..end - 8).step_by(61) {
        refused(
            &bench.keyring,
            &flipped(&bench.good, at),
            "update.raucb is refused",
        );
    }
    for at in end - 8..end {
        refused(
            &bench.keyring,
            &flipped(&bench.good, at),
            "update.raucb is refused",
        );
    }
}

#[test]
fn signed_by_a_stranger() {
    let (bench, stranger) = (bench(), bench());
    refused(&stranger.keyring, &bench.good, "update.raucb is refused");
}

#[test]
fn for_another_machine() {
    let bench = bench();
    let rig = Rig::new(&image(1), &bench.keyring);
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    fs_err::write(rig.path("system.conf"), conf.replace("=board", "=toaster")).unwrap();
    let before = rig.snapshot();
    let path = bench.dir.path().join("update-3.raucb");
    let output = rig.run(&["install", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains("is for `board`, and this machine is `toaster`"),
        "{message}"
    );
    assert!(rig.snapshot() == before);
}

#[test]
fn larger_than_the_slot() {
    let dir = tempfile::tempdir().unwrap();
    let large: Vec<u8> = image(3).repeat(2);
    let (path, keyring) = bundle_file(dir.path(), &large, "3");
    refused(
        &keyring,
        &fs_err::read(path).unwrap(),
        "it is too small by 1696 bytes",
    );
}

#[test]
fn damaged_on_a_web_server_while_there_is_a_fallback_to_lose() {
    let bench = bench();
    let bad = flipped(&bench.good, 7 * 4096 + 1);
    let rig = Rig::new(&image(1), &bench.keyring);
    fs_err::write(
        rig.path("grubenv"),
        support::environment(support::BOTH_GOOD),
    )
    .unwrap();
    let before = rig.snapshot();
    let server = Server::start(bad, |_| Fault::None);
    let output = rig.run(&["install", &server.url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("block 7"), "{}", stderr(&output));
    assert!(rig.snapshot() == before);
}

#[test]
fn the_running_system_is_on_trial_itself() {
    let bench = bench();
    let rig = Rig::new(&image(1), &bench.keyring);
    let trial = support::FACTORY.replace("A_LEFT=good", "A_LEFT=1");
    fs_err::write(rig.path("grubenv"), support::environment(&trial)).unwrap();
    let before = rig.snapshot();
    let path = bench.dir.path().join("update-3.raucb");
    let output = rig.run(&["install", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("Let it be confirmed first"),
        "{}",
        stderr(&output)
    );
    assert!(rig.snapshot() == before);
}
