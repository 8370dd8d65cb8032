//! The corpus in `tests/golden` by Debian's `rauc` 1.8: what it refuses, we refuse; where the
//! verdicts differ, a reason stands here.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{text, write};

/// `rauc extract` takes these, and we refuse them.
const STRICTER: &[(&str, &str)] = &[
    ("md5.raucb", WEAK),
    ("sha1.raucb", WEAK),
    ("ripemd.raucb", WEAK),
    ("sha1-certificate.raucb", WEAK),
    ("short-key.raucb", WEAK),
    (
        "not-yet-valid.raucb",
        "RAUC judges by today's clock, the table by one day",
    ),
    (
        "content-type.raucb",
        "what is signed has to be said in one way",
    ),
    (
        "two-certificates.raucb",
        "which certificate signed has to be beyond doubt",
    ),
    (
        "manifest-inside-differs.raucb",
        "the copy inside must not contradict what is signed",
    ),
    ("crypt-readable-key.raucb", INSTALL),
    ("plain-with-verity-manifest.raucb", MANIFEST),
    ("plain-with-tree-manifest.raucb", MANIFEST),
    ("plain-without-manifest.raucb", MANIFEST),
    ("name-parent.raucb", MANIFEST),
    ("name-up.raucb", MANIFEST),
    ("name-absolute.raucb", MANIFEST),
    ("name-in-directory.raucb", MANIFEST),
    ("name-missing.raucb", MANIFEST),
    ("name-of-directory.raucb", MANIFEST),
    ("name-of-pipe.raucb", MANIFEST),
    ("link-absolute.raucb", MANIFEST),
    ("link-up.raucb", MANIFEST),
    ("image-size.raucb", MANIFEST),
    ("image-digest.raucb", MANIFEST),
];

const WEAK: &str = "RAUC has no policy about algorithms and keys";
const MANIFEST: &str = "RAUC's extract does not compare images with the manifest";
const INSTALL: &str = "RAUC refuses it only when it is installed";

/// We take these, and `rauc` 1.8 refuses them.
const NEWER: &[(&str, &str)] = &[("good-ed25519.raucb", "RAUC knows no Ed25519")];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

#[test]
fn what_rauc_refuses_is_refused_and_each_difference_has_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let table = std::fs::read_to_string(golden("table.tsv")).unwrap();
    let mut wrong = Vec::new();
    for row in table.lines() {
        let [name, keyring, expected] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("a row of three columns: {row}")
        };
        let listed = |list: &[(&str, &str)]| list.iter().any(|(known, _)| *known == name);
        let ours = expected == "ok";
        let theirs = match ours {
            true => !listed(NEWER),
            false => listed(STRICTER),
        };
        if rauc_extracts(dir.path(), name, keyring) != theirs {
            wrong.push(format!(
                "{name}: accepted by us {ours}, by rauc {}",
                !theirs
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (name, _) in STRICTER.iter().chain(NEWER) {
        assert!(
            table.contains(&format!("{name}\t")),
            "{name} is in the table"
        );
    }
}

/// Whether `rauc` unpacks it: signature and payload are checked by then.
fn rauc_extracts(dir: &Path, name: &str, keyring: &str) -> bool {
    let config = dir.join("system.conf");
    let settings = format!(
        "[system]\ncompatible=Board\nbootloader=noop\n\
         [keyring]\npath={}\ncheck-crl={}\n[encryption]\nkey={}\n",
        text(&golden(keyring)),
        keyring == "ca-and-crl.pem",
        text(&golden("device.key.pem")),
    );
    write(&config, settings.as_bytes());
    let out = dir.join(name);
    let status = Command::new("rauc")
        .args([
            "-c",
            text(&config),
            "extract",
            text(&golden(name)),
            text(&out),
        ])
        .output()
        .unwrap_or_else(|error| panic!("rauc is not installed: {error}"))
        .status;
    status.success()
}
