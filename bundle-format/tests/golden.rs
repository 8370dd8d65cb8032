//! The corpus in `tests/golden`: every file gets the verdict that its table says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};

use bundle_format::cms::{CheckTime, DecryptionKey, Revocation};
use bundle_format::{Bundle, BundleError, FileReader, Limits, ReadAt, Trust};
use support::{NOW, chain};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Everything that a device looks at.
fn check(source: impl ReadAt, trust: &Trust, key: &DecryptionKey) -> Result<(), BundleError> {
    let mut bundle = Bundle::open(source, &Limits::default())?;
    if bundle.is_encrypted()? {
        bundle = bundle.decrypt(key)?;
    }
    let verified = bundle.verify(trust)?;
    verified.check_manifest()?;
    verified.verify_payload(&mut |_, _| {})?;
    verified.files()?.read_dir(verified.files()?.root())?;
    for image in &verified.manifest().manifest().images {
        verified.check_image(image, &mut |_, _| {})?;
    }
    Ok(())
}

#[test]
fn every_file_gets_its_verdict() {
    let table = std::fs::read_to_string(golden("table.tsv")).unwrap();
    let key = DecryptionKey::from_files(&golden("device.key.pem"), None, None).unwrap();
    let mut wrong = Vec::new();
    for row in table.lines() {
        let [name, keyring, expected] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("a row of three columns: {row}")
        };
        let trust = Trust::from_keyring_file(&golden(keyring)).unwrap();
        let trust = trust.with_time(CheckTime::At(NOW));
        let trust = match keyring {
            "ca-and-crl.pem" => trust.with_revocation(Revocation::CheckAll),
            _ => trust,
        };
        let file = FileReader::open(&golden(name)).unwrap();
        let verdict = match check(file, &trust, &key) {
            Ok(()) => "ok".to_owned(),
            Err(error) => chain(&error),
        };
        let as_expected = if expected == "ok" {
            verdict == "ok"
        } else {
            verdict.contains(expected)
        };
        if !as_expected {
            wrong.push(format!("{name}: {verdict}\n    instead of: {expected}"));
        }
    }
    assert!(table.lines().count() > 70, "the table is there");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_is_in_the_table() {
    let table = std::fs::read_to_string(golden("table.tsv")).unwrap();
    for entry in std::fs::read_dir(golden("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".raucb") {
            assert!(
                table
                    .lines()
                    .any(|row| row.starts_with(&format!("{name}\t"))),
                "{name}"
            );
        }
    }
}

/// Half of CVE-2026-34155: a payload whose length does not fit 31 bits. Made of zeros, so that it
/// needs no disk; reading any of it would fail.
#[test]
fn a_plain_payload_beyond_two_gigabytes_is_refused_unread() {
    struct Huge {
        signature: Vec<u8>,
        payload: u64,
    }
    impl ReadAt for Huge {
        fn expect(&self, _: &[std::ops::Range<u64>]) {}

        fn len(&self) -> u64 {
            self.payload + self.signature.len() as u64
        }
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
            assert!(offset >= self.payload, "the payload is read");
            self.signature.read_exact_at(buf, offset - self.payload)
        }
    }
    let bytes = std::fs::read(golden("good-plain.raucb")).unwrap();
    let opened = Bundle::open(bytes.as_slice(), &Limits::default()).unwrap();
    let start = usize::try_from(opened.payload_len()).unwrap();
    let trust = Trust::from_keyring_file(&golden("ca.pem")).unwrap();
    for payload in [1u64 << 31, (1 << 31) + 1, (1 << 32) + 9000] {
        let huge = Huge {
            signature: bytes[start..].to_vec(),
            payload,
        };
        let bundle = Bundle::open(huge, &Limits::default()).unwrap();
        let error = bundle.verify(&trust).err().unwrap().to_string();
        assert!(
            error.contains("a plain bundle may have 2147483647 bytes at most"),
            "{error}"
        );
    }
}
