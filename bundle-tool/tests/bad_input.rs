//! Damaged and forged bundles: each is refused, and the message says what is wrong and where.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use bundle_format::cms::CheckTime;
use bundle_format::{Bundle, BundleError, Digest, Limits, Trust};
use proptest::prelude::*;
use support::{Workshop, chain};

/// A good bundle in memory, and where its parts lie.
struct Sample {
    bytes: Vec<u8>,
    trust: Trust,
    hash: Digest,
    tree: usize,
    signature: usize,
    trailer: usize,
}

impl Sample {
    fn new() -> Self {
        let workshop = Workshop::new();
        let bytes = fs_err::read(workshop.bundle("a.raucb")).unwrap();
        let trust = Trust::from_keyring_file(&workshop.pki.keyring).unwrap();
        let opened = Bundle::open(bytes.clone(), &Limits::default()).unwrap();
        let signature = usize::try_from(opened.payload_len()).unwrap();
        let verified = opened.verify(&trust).unwrap();
        let spec = verified
            .manifest()
            .manifest()
            .bundle
            .verity
            .clone()
            .unwrap();
        let hash = verified.manifest().hash();
        let tree = signature - usize::try_from(spec.size).unwrap();
        let trailer = bytes.len() - 8;
        Self {
            bytes,
            trust,
            hash,
            tree,
            signature,
            trailer,
        }
    }

    fn flipped(&self, position: usize) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[position] ^= 1;
        bytes
    }

    /// Everything that `verify` looks at.
    fn check(&self, bytes: Vec<u8>) -> Result<Digest, BundleError> {
        let verified = Bundle::open(bytes, &Limits::default())?.verify(&self.trust)?;
        verified.verify_payload(&mut |_, _| {})?;
        for image in &verified.manifest().manifest().images {
            verified.check_image(image, &mut |_, _| {})?;
        }
        Ok(verified.manifest().hash())
    }

    fn error(&self, bytes: Vec<u8>) -> String {
        chain(&self.check(bytes).expect_err("this must not be accepted"))
    }
}

#[test]
fn one_flipped_bit_is_found_and_named() {
    let sample = Sample::new();
    assert_eq!(sample.check(sample.bytes.clone()).unwrap(), sample.hash);
    let blocks = sample.tree / 4096;
    for block in [0, 1, 127, 128, blocks - 1] {
        let expected = format!("payload block {block} (byte offset {})", block * 4096);
        assert!(
            sample
                .error(sample.flipped(block * 4096 + 4095))
                .starts_with(&expected)
        );
    }
    let top = sample.error(sample.flipped(sample.tree + 10));
    assert!(top.starts_with(&format!(
        "the top block of the hash tree (byte offset {})",
        sample.tree
    )));
    let leaf = sample.error(sample.flipped(sample.signature - 1));
    let last = (sample.signature - sample.tree) / 4096 - 1;
    assert!(
        leaf.starts_with(&format!("hash tree block {last} ")),
        "{leaf}"
    );
    // The signature value is the last thing in the signature.
    let value = sample.error(sample.flipped(sample.trailer - 20));
    assert!(
        value.starts_with("the signature does not fit the signed manifest"),
        "{value}"
    );
    let header = sample.error(sample.flipped(sample.signature));
    assert!(
        header.contains(&format!("byte offset {}", sample.signature)),
        "{header}"
    );
    let trailer = sample.error(sample.flipped(sample.trailer));
    assert!(
        trailer.starts_with(&format!("trailer at byte {}", sample.trailer)),
        "{trailer}"
    );
    let manifest = find(&sample.bytes, b"compatible=Test Board");
    let manifest = sample.error(sample.flipped(manifest.last().unwrap() + 12));
    assert!(
        manifest.starts_with("the signature does not fit the signed manifest"),
        "{manifest}"
    );
}

fn find(bytes: &[u8], needle: &[u8]) -> Vec<usize> {
    (0..bytes.len() - needle.len())
        .filter(|at| bytes[*at..].starts_with(needle))
        .collect()
}

#[test]
fn every_truncation_is_refused() {
    let sample = Sample::new();
    let boundaries = [
        0,
        1,
        7,
        8,
        9,
        4095,
        4096,
        4097,
        sample.tree,
        sample.signature,
        sample.trailer,
    ];
    let around = |at: usize| [at.saturating_sub(1), at, at + 1];
    for len in boundaries
        .into_iter()
        .flat_map(around)
        .chain([sample.bytes.len() - 1])
    {
        let error = sample.error(sample.bytes[..len].to_vec());
        let known = [
            "too short",
            "limit of",
            "come before it",
            "not signed",
            "not a CMS",
        ];
        assert!(
            known.iter().any(|known| error.contains(known)),
            "{len}: {error}"
        );
    }
}

#[test]
fn more_bytes_than_signed_are_refused() {
    let sample = Sample::new();
    let (payload, rest) = sample.bytes.split_at(sample.signature);
    let longer = |blocks: usize| [payload, &vec![0; blocks * 4096], rest].concat();
    // One block more has a tree of the same size, but then it lies elsewhere.
    let error = sample.error(longer(1));
    assert!(
        error.starts_with("the top block of the hash tree"),
        "{error}"
    );
    let error = sample.error(longer(256));
    assert!(
        error.contains("does not fit the signed manifest: verity-size is"),
        "{error}"
    );
    let unaligned = [payload, &[0; 10], rest].concat();
    assert!(sample.error(unaligned).contains("not a multiple of 4096"));
    assert!(sample.check([&sample.bytes[..], &[0; 3]].concat()).is_err());
}

#[test]
fn parts_of_two_good_bundles_do_not_mix() {
    let sample = Sample::new();
    let workshop = Workshop::new();
    let mut other = workshop.request("b.raucb");
    other.salt = bundle_tool::create::Salt::Is([1; 32]);
    workshop.create(&other).unwrap();
    let other = fs_err::read(&other.output.path).unwrap();
    assert_eq!(other.len(), sample.bytes.len(), "the same layout");
    let mixed = [
        &other[..sample.signature],
        &sample.bytes[sample.signature..],
    ]
    .concat();
    assert!(
        sample
            .error(mixed)
            .starts_with("the top block of the hash tree")
    );
    let error = sample.error(other);
    assert!(
        error.starts_with("the signer is not trusted by the keyring"),
        "{error}"
    );
}

#[test]
fn time_decides() {
    let sample = Sample::new();
    let at = |time| {
        let trust = sample.trust.clone().with_time(CheckTime::At(time));
        Bundle::open(sample.bytes.clone(), &Limits::default())
            .unwrap()
            .verify(&trust)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(at(support::TIME), Ok(()));
    assert!(at(0).unwrap_err().contains("certificate is not yet valid"));
    assert!(
        at(4_000_000_000)
            .unwrap_err()
            .contains("certificate has expired")
    );
    let signing = sample.trust.clone().with_time(CheckTime::Signing);
    assert!(
        Bundle::open(sample.bytes.clone(), &Limits::default())
            .unwrap()
            .verify(&signing)
            .is_ok()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens to the bytes: no panic, and only the signed manifest is ever accepted.
    #[test]
    fn no_mutation_is_accepted(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        near_the_end: bool,
    ) {
        static SAMPLE: std::sync::LazyLock<Sample> = std::sync::LazyLock::new(Sample::new);
        let mut bytes = SAMPLE.bytes.clone();
        let first = if near_the_end { SAMPLE.tree } else { 0 };
        for (index, value) in edits {
            let position = first + index.index(bytes.len() - first);
            bytes[position] = value;
        }
        if let Ok(hash) = SAMPLE.check(bytes) {
            prop_assert_eq!(hash, SAMPLE.hash);
        }
    }
}
