//! Envelopes that `openssl cms` made, opened with a key that is not given away. What OpenSSL does with
//! the same key in memory has to come out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use bundle_format::cms::{DecryptError, DecryptionKey};
use bundle_format::{Bundle, Limits};
use openssl::pkey::PKey;
use support::holder::Held;
use support::{Identity, Spec, chain, run, text, write};

/// A signature as it is before it is encrypted.
static SIGNED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let signer: Identity = Spec::leaf("signer", None).make();
    support::cms(b"[update]\ncompatible=Board\n", &signer, &[])
});

struct Bench(tempfile::TempDir);

impl Bench {
    /// Keys and certificates `rsa`, `other`, `ec`, `ec2`, `p384` and `p521`.
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        write(&bench.path("signed"), &SIGNED);
        for (name, kind) in [
            ("rsa", "rsa:2048"),
            ("other", "rsa:2048"),
            ("ec", "P-256"),
            ("ec2", "P-256"),
            ("p384", "P-384"),
            ("p521", "P-521"),
        ] {
            let subject = format!("/CN={name}");
            let mut args = vec!["req", "-x509", "-nodes", "-days", "30", "-subj", &subject];
            let curve = format!("ec_paramgen_curve:{kind}");
            match kind.starts_with("rsa") {
                true => args.extend(["-newkey", kind]),
                false => args.extend(["-newkey", "ec", "-pkeyopt", &curve]),
            }
            let (key, cert) = (bench.path(&format!("{name}.key")), bench.cert(name));
            args.extend(["-keyout", text(&key), "-out", text(&cert)]);
            run("openssl", &args);
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn cert(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.pem"))
    }

    /// The signature, encrypted with further arguments; `@name` is a recipient.
    fn envelope(&self, arguments: &[&str]) -> Vec<u8> {
        self.envelope_of("signed", arguments)
    }

    fn envelope_of(&self, content: &str, arguments: &[&str]) -> Vec<u8> {
        let (input, output) = (self.path(content), self.path("envelope"));
        let mut args: Vec<String> = ["cms", "-encrypt", "-binary", "-outform", "DER"]
            .map(str::to_owned)
            .to_vec();
        args.extend(["-in", text(&input), "-out", text(&output)].map(str::to_owned));
        for argument in arguments {
            match argument.strip_prefix('@') {
                Some(name) => {
                    args.extend(["-recip".to_owned(), text(&self.cert(name)).to_owned()]);
                }
                None => args.push((*argument).to_owned()),
            }
        }
        run("openssl", &args);
        std::fs::read(output).unwrap()
    }

    fn held(&self, name: &str) -> DecryptionKey {
        let pem = std::fs::read(self.path(&format!("{name}.key"))).unwrap();
        DecryptionKey::held_by(Arc::new(Held(PKey::private_key_from_pem(&pem).unwrap())))
    }

    fn held_with_certificate(&self, name: &str) -> DecryptionKey {
        let certificate = DecryptionKey::certificate(&self.cert(name)).unwrap();
        self.held(name).with_certificate(certificate)
    }

    fn in_memory(&self, name: &str, certificate: Option<&Path>) -> DecryptionKey {
        let key = self.path(&format!("{name}.key"));
        DecryptionKey::from_files(&key, None, certificate).unwrap()
    }
}

/// What an envelope in a bundle holds.
fn opened(envelope: &[u8], key: &DecryptionKey) -> Result<Vec<u8>, DecryptError> {
    let len = (envelope.len() as u64).to_be_bytes();
    let bytes = [&[0; 4096][..], envelope, &len].concat();
    let bundle = Bundle::open(bytes.as_slice(), &Limits::default()).unwrap();
    Ok(bundle.decrypt(key)?.signature().to_vec())
}

#[test]
fn what_openssl_opens_with_the_key_in_memory() {
    let bench = Bench::new();
    let oaep = ["-keyopt", "rsa_padding_mode:oaep"];
    let oaep_256 = [&oaep[..], &["-keyopt", "rsa_oaep_md:sha256"]].concat();
    let mixed = [&oaep_256[..], &["-keyopt", "rsa_mgf1_md:sha512"]].concat();
    let label = [&oaep[..], &["-keyopt", "rsa_oaep_label:c0ffee"]].concat();
    let kdf = ["-keyopt", "ecdh_kdf_md:sha512"];
    let table: [(&str, &[&str], &[&str]); 17] = [
        ("rsa", &["-aes-256-cbc"], &[]),
        ("rsa", &["-aes-192-cbc"], &[]),
        ("rsa", &["-aes-128-cbc", "-keyid"], &[]),
        ("rsa", &["-aes-256-cbc"], &oaep),
        ("rsa", &["-aes-256-cbc"], &oaep_256),
        ("rsa", &["-aes-256-cbc"], &mixed),
        ("rsa", &["-aes-256-cbc"], &label),
        ("rsa", &["-aes-256-cbc", "@other", "@ec", "@p384"], &[]),
        ("ec", &["-aes-256-cbc"], &[]),
        ("ec", &["-aes-192-cbc"], &[]),
        ("ec", &["-aes-128-cbc", "-keyid"], &[]),
        ("ec", &["-aes-256-cbc", "-aes128-wrap"], &[]),
        ("ec", &["-aes-256-cbc", "-stream"], &kdf),
        ("ec", &["-aes-256-cbc", "@rsa", "@ec2", "@p521"], &[]),
        (
            "p384",
            &["-aes-256-cbc"],
            &["-keyopt", "ecdh_kdf_md:sha384"],
        ),
        (
            "p384",
            &["-aes-256-cbc"],
            &["-keyopt", "ecdh_kdf_md:sha224"],
        ),
        (
            "p521",
            &["-aes-256-cbc"],
            &["-keyopt", "ecdh_kdf_md:sha256"],
        ),
    ];
    for (name, cipher, way) in table {
        // `-keyopt` speaks about the recipient before it.
        let recipient = format!("@{name}");
        let arguments = [cipher, &[recipient.as_str()], way].concat();
        let envelope = bench.envelope(&arguments);
        let by_openssl = opened(&envelope, &bench.in_memory(name, None)).unwrap();
        assert!(by_openssl == *SIGNED, "{arguments:?}");
        for key in [bench.held(name), bench.held_with_certificate(name)] {
            let ours = opened(&envelope, &key).unwrap_or_else(|e| panic!("{arguments:?}: {e}"));
            assert!(ours == by_openssl, "{arguments:?}");
        }
    }
}

#[test]
fn secrets_with_leading_zeros() {
    let bench = Bench::new();
    // One in 256 of the secrets that are agreed on begins with a zero.
    for _ in 0..300 {
        let mut stack = openssl::stack::Stack::new().unwrap();
        stack
            .push(DecryptionKey::certificate(&bench.cert("ec")).unwrap())
            .unwrap();
        let cipher = openssl::symm::Cipher::aes_256_cbc();
        let options = openssl::cms::CMSOptions::BINARY;
        let envelope =
            openssl::cms::CmsContentInfo::encrypt(&stack, &SIGNED, cipher, options).unwrap();
        let envelope = envelope.to_der().unwrap();
        assert!(opened(&envelope, &bench.held("ec")).unwrap() == *SIGNED);
    }
}

#[test]
fn others_learn_nothing_and_not_why() {
    let bench = Bench::new();
    let envelope = bench.envelope(&["-aes-256-cbc", "@rsa", "@ec"]);
    let strangers = ["other", "ec2", "p384"];
    let held = strangers.map(|name| bench.held(name));
    let named = strangers.map(|name| bench.held_with_certificate(name));
    let certificate = |name| DecryptionKey::certificate(&bench.cert(name)).unwrap();
    let mixed = [
        // The certificate is meant, and the key is another one; or the other way round.
        bench.held("other").with_certificate(certificate("rsa")),
        bench.held("ec2").with_certificate(certificate("ec")),
        bench.held("rsa").with_certificate(certificate("other")),
        bench.held("ec").with_certificate(certificate("rsa")),
    ];
    for key in held.iter().chain(&named).chain(&mixed) {
        let error = opened(&envelope, key).unwrap_err();
        assert_eq!(chain(&error), "the bundle is not encrypted for this key");
    }
    // What comes out is no signature.
    let envelope = bench.envelope_of("rsa.key", &["-aes-256-cbc", "@rsa"]);
    let error = opened(&envelope, &bench.held("rsa")).unwrap_err();
    assert_eq!(chain(&error), "the bundle is not encrypted for this key");
    let error = opened(&SIGNED, &bench.held("rsa")).unwrap_err();
    assert_eq!(chain(&error), "the bundle is not encrypted");
}

#[test]
fn what_is_not_known_is_named() {
    let bench = Bench::new();
    for (name, arguments, expected) in [
        ("rsa", ["-des3", "@rsa"], "encrypted with des-ede3-cbc"),
        (
            "ec",
            ["-camellia128", "@ec"],
            "encrypted with camellia-128-cbc",
        ),
    ] {
        let error = opened(&bench.envelope(&arguments), &bench.held(name)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let des_wrap = bench.envelope(&["-aes-256-cbc", "-des3-wrap", "@ec"]);
    let error = opened(&des_wrap, &bench.held("ec"))
        .unwrap_err()
        .to_string();
    let expected = "for this kind of key by dhSinglePass-stdDH-sha1kdf-scheme";
    assert!(error.contains(expected), "{error}");
    let many = [&["-aes-256-cbc"][..], &["@rsa"; 257]].concat();
    let limits = Limits {
        max_signature_size: 1 << 20,
    };
    let envelope = bench.envelope(&many);
    let len = (envelope.len() as u64).to_be_bytes();
    let bytes = [&[0; 4096][..], &envelope, &len].concat();
    let open = |key| {
        let bundle = Bundle::open(bytes.as_slice(), &limits).unwrap();
        bundle
            .decrypt(&key)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let said = open(bench.held("other")).unwrap_err();
    assert!(
        said.contains("257 recipients of this kind, and 256 are tried"),
        "{said}"
    );
    open(bench.held_with_certificate("other")).unwrap_err();
}

/// Nothing but the content that was encrypted may come out of a damaged envelope, and nothing panics.
/// (An envelope does not say who made it, so not every byte of it is protected.)
#[test]
fn damaged_envelopes() {
    let bench = Bench::new();
    for name in ["rsa", "ec"] {
        let good = bench.envelope(&["-aes-256-cbc", &format!("@{name}")]);
        let keys = [bench.held(name), bench.held_with_certificate(name)];
        for len in 1..good.len() {
            assert!(opened(&good[..len], &keys[0]).is_err(), "{name}: {len}");
        }
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                if let Ok(content) = opened(&bad, &keys[at % 2]) {
                    let differ = content.iter().zip(&*SIGNED).filter(|(a, b)| a != b).count();
                    // CBC: a flipped bit of the IV flips one of the content; what comes out still has to
                    // be verified like any other signature.
                    assert!(differ <= 17, "{name}: byte {at}: {differ}");
                }
            }
        }
    }
}
