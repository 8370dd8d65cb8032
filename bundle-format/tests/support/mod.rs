//! What the tests of this room share: throw-away certificates, and real programs.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod ed25519;
pub mod holder;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

/// 2026-01-01: certificates of the tests are valid around it.
pub const NOW: i64 = 1_767_225_600;

/// A certificate and its key.
#[derive(Clone)]
pub struct Identity {
    pub certificate: X509,
    pub key: PKey<Private>,
}

/// How a certificate is made.
pub struct Spec<'a> {
    pub name: &'a str,
    pub key: PKey<Private>,
    pub issuer: Option<&'a Identity>,
    pub ca: bool,
    pub eku: &'a [&'a str],
    pub not_before: i64,
    pub not_after: i64,
    pub digest: MessageDigest,
    /// Else a random one.
    pub serial: Option<u32>,
}

impl<'a> Spec<'a> {
    pub fn ca(name: &'a str) -> Self {
        Self {
            ca: true,
            ..Self::leaf(name, None)
        }
    }

    pub fn leaf(name: &'a str, issuer: Option<&'a Identity>) -> Self {
        Self {
            name,
            key: rsa(2048),
            issuer,
            ca: false,
            eku: &[],
            not_before: 0,
            not_after: 4_102_444_800,
            digest: MessageDigest::sha256(),
            serial: None,
        }
    }

    pub fn make(self) -> Identity {
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("O", "Test").unwrap();
        subject.append_entry_by_text("CN", self.name).unwrap();
        let subject = subject.build();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        let mut serial = BigNum::from_u32(self.serial.unwrap_or(0)).unwrap();
        if self.serial.is_none() {
            serial
                .rand(120, openssl::bn::MsbOption::MAYBE_ZERO, false)
                .unwrap();
        }
        builder
            .set_serial_number(&serial.to_asn1_integer().unwrap())
            .unwrap();
        builder.set_subject_name(&subject).unwrap();
        let issuer_name = self.issuer.map(|issuer| issuer.certificate.subject_name());
        builder
            .set_issuer_name(issuer_name.unwrap_or(&subject))
            .unwrap();
        builder
            .set_not_before(&Asn1Time::from_unix(self.not_before).unwrap())
            .unwrap();
        builder
            .set_not_after(&Asn1Time::from_unix(self.not_after).unwrap())
            .unwrap();
        builder.set_pubkey(&self.key).unwrap();
        if self.ca {
            let basic = BasicConstraints::new().critical().ca().build().unwrap();
            builder.append_extension(basic).unwrap();
            let usage = KeyUsage::new()
                .critical()
                .key_cert_sign()
                .crl_sign()
                .build()
                .unwrap();
            builder.append_extension(usage).unwrap();
        }
        if !self.eku.is_empty() {
            let mut usage = ExtendedKeyUsage::new();
            for name in self.eku {
                usage.other(name);
            }
            builder.append_extension(usage.build().unwrap()).unwrap();
        }
        let signing_key = self.issuer.map_or(&self.key, |issuer| &issuer.key);
        builder.sign(signing_key, self.digest).unwrap();
        Identity {
            certificate: builder.build(),
            key: self.key,
        }
    }
}

impl Identity {
    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    /// Writes `name.cert.pem` and `name.key.pem`.
    pub fn write(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (
            dir.join(format!("{name}.cert.pem")),
            dir.join(format!("{name}.key.pem")),
        );
        write(&cert, &self.pem());
        write(&key, &self.key.private_key_to_pem_pkcs8().unwrap());
        (cert, key)
    }
}

pub fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

pub fn p256() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub fn write(path: &Path, bytes: &[u8]) {
    std::fs::File::create(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Bytes that do not compress and are the same every time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Runs a program that has to be installed and has to succeed.
pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Output {
    let output = try_run(program, args);
    assert!(
        output.status.success(),
        "{program} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a program that has to be installed.
pub fn try_run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Output {
    Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A verity bundle without a squashfs in it: enough for everything about signatures.
pub struct Unsigned {
    pub payload: Vec<u8>,
    pub manifest: Vec<u8>,
}

impl Unsigned {
    pub fn new() -> Self {
        let mut payload = noise(3 * 4096);
        let salt = [9; 32];
        let len = payload.len() as u64;
        let tree = bundle_format::verity::build_tree(&payload, len, &salt, &mut |_, _| {}).unwrap();
        payload.extend_from_slice(&tree.bytes);
        let manifest = format!(
            "[update]\ncompatible=Board\n\n[bundle]\nformat=verity\nverity-hash={}\n\
             verity-salt={}\nverity-size=4096\n",
            tree.root,
            bundle_format::encode_hex(&salt),
        );
        Self {
            payload,
            manifest: manifest.into_bytes(),
        }
    }

    /// The bundle with this signature.
    pub fn with(&self, cms: &[u8]) -> Vec<u8> {
        [&self.payload[..], cms, &(cms.len() as u64).to_be_bytes()].concat()
    }

    /// Signed by `openssl cms` with further arguments.
    pub fn signed(&self, signer: &Identity, arguments: &[&str]) -> Vec<u8> {
        self.with(&cms(&self.manifest, signer, arguments))
    }
}

/// What `openssl cms -sign` gives.
pub fn cms(content: &[u8], signer: &Identity, arguments: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = signer.write(dir.path(), "signer");
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    write(&input, content);
    let mut all = vec![
        "cms",
        "-sign",
        "-binary",
        "-outform",
        "DER",
        "-nodetach",
        "-nosmimecap",
    ];
    all.extend(["-signer", text(&cert), "-inkey", text(&key)]);
    all.extend(["-in", text(&input), "-out", text(&output)]);
    all.extend(arguments);
    run("openssl", &all);
    std::fs::read(output).unwrap()
}

/// An error with everything that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
