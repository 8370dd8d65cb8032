//! The key of this machine's TLS certificate is on a token: SoftHSM stands for it, and nginx asks for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]
#![cfg(feature = "tls-token")]

#[path = "../../token-key/tests/support/softhsm.rs"]
mod softhsm;
mod support;

use std::path::PathBuf;
use std::process::Output;

use softhsm::{MODULE, PIN, SoftHsm};
use support::nginx::{EC, Nginx, authority, certified};
use support::rig::{Rig, stderr, stdout};
use support::server::{Fault, Server};
use support::{bundle_file, crypt_bundle, noise};

/// Bytes of the image.
const IMAGE: usize = 1 << 20;

const ENVIRONMENT: [(&str, &str); 2] = [("RAUC_PKCS11_MODULE", MODULE), ("RAUC_PKCS11_PIN", PIN)];

struct Lab {
    dir: tempfile::TempDir,
    tls: tempfile::TempDir,
    hsm: SoftHsm,
    image: Vec<u8>,
    keyring: PathBuf,
    bundle: String,
}

/// A bundle, an authority, and a token with an RSA, a P-256, a P-384 and an Ed25519 key that it vouches for.
fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let tls = tempfile::tempdir().unwrap();
    let image = noise(1, IMAGE);
    let (bundle, keyring) = bundle_file(dir.path(), &image, "1");
    authority(tls.path());
    let hsm = SoftHsm::new("Board");
    for (id, (name, key)) in [
        ("rsa", "-newkey rsa:2048"),
        ("ec", EC),
        ("p384", "-newkey ec -pkeyopt ec_paramgen_curve:P-384"),
        ("ed", "-newkey ed25519"),
    ]
    .into_iter()
    .enumerate()
    {
        certified(tls.path(), name, key);
        let file = |end: &str| tls.path().join(format!("{name}.{end}"));
        hsm.import(
            "Board",
            (&file("key"), &file("pem")),
            name,
            &format!("{id:02x}"),
        );
    }
    let bundle = bundle.file_name().unwrap().to_str().unwrap().to_owned();
    Lab {
        dir,
        tls,
        hsm,
        image,
        keyring,
        bundle,
    }
}

impl Lab {
    fn nginx(&self, versions: &str) -> Nginx {
        Nginx::https_by(versions, self.dir.path(), self.tls.path())
    }

    fn rig(&self, streaming: &str) -> Rig {
        let rig = Rig::with_slots(IMAGE, &noise(2, IMAGE), &self.keyring);
        rig.add(&format!("[streaming]\n{streaming}"));
        rig
    }

    fn file(&self, name: &str) -> String {
        self.tls.path().join(name).display().to_string()
    }

    /// With these variables and no others that matter.
    fn install(&self, rig: &Rig, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = rig.command("A", &[&["install"], arguments].concat());
        for name in [
            "RAUC_PKCS11_MODULE",
            "RAUC_PKCS11_PIN",
            "https_proxy",
            "HTTPS_PROXY",
        ] {
            command.env_remove(name);
        }
        command.env("SOFTHSM2_CONF", self.hsm.conf());
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        let said = said(&output);
        assert!(!said.contains(PIN), "{said}");
        output
    }

    fn is_installed(&self, rig: &Rig, output: &Output) {
        assert!(output.status.success(), "{}", said(output));
        assert!(rig.snapshot().b == self.image);
    }
}

fn said(output: &Output) -> String {
    stdout(output) + &stderr(output)
}

#[test]
fn every_kind_of_key_by_both_versions_of_tls() {
    let lab = lab();
    let ca = lab.file("ca.pem");
    for versions in ["TLSv1.2", "TLSv1.3"] {
        let nginx = lab.nginx(versions);
        let url = nginx.url(&lab.bundle);
        for name in ["rsa", "ec", "p384", "ed"] {
            let rig = lab.rig(&format!(
                "tls-ca={ca}\ntls-cert={}\ntls-key=pkcs11:token=Board;object={name}",
                lab.file(&format!("{name}.pem"))
            ));
            let output = lab.install(&rig, &ENVIRONMENT, &[&url]);
            lab.is_installed(&rig, &output);
        }
        assert!(nginx.log().contains("\" 206 "), "{}", nginx.log());
    }
}

#[test]
fn the_certificate_too_and_everything_from_the_configuration() {
    let lab = lab();
    let nginx = lab.nginx("TLSv1.2 TLSv1.3");
    fs_err::write(lab.tls.path().join("pin"), PIN).unwrap();
    let access = format!("module-path={MODULE}&pin-source=file:{}", lab.file("pin"));
    let ca = lab.file("ca.pem");
    let rig = lab.rig(&format!(
        "tls-ca={ca}\ntls-cert=pkcs11:object=rsa?{access}\ntls-key=pkcs11:object=rsa?{access}"
    ));
    let output = lab.install(&rig, &[], &[&nginx.url(&lab.bundle)]);
    lab.is_installed(&rig, &output);
    // What the caller says counts more; the library that is loaded is not his to name.
    let rig = lab.rig("tls-ca=/nowhere");
    let url = nginx.url(&lab.bundle);
    let own = ["--tls-ca", &ca, "--tls-cert", "pkcs11:object=ec"];
    let output = lab.install(
        &rig,
        &ENVIRONMENT,
        &[&own[..], &["--tls-key", "pkcs11:object=ec", &url]].concat(),
    );
    lab.is_installed(&rig, &output);
    let key = format!("pkcs11:object=ec?module-path={MODULE}");
    let output = lab.install(
        &rig,
        &ENVIRONMENT,
        &[&own[..], &["--tls-key", &key, &url]].concat(),
    );
    assert!(said(&output).contains("tls-key names a module (module-path): only system.conf may"));
}

#[test]
fn an_encrypted_bundle_by_the_same_token() {
    let lab = lab();
    let nginx = lab.nginx("TLSv1.2 TLSv1.3");
    let (bundle, _) = crypt_bundle(lab.dir.path(), &lab.image);
    let pki = |name: &str| lab.dir.path().join("pki").join(name);
    let signer = (&*pki("signer.key.pem"), &*pki("signer.cert.pem"));
    lab.hsm.import("Board", signer, "bundles", "10");
    let rig = lab.rig(&format!(
        "tls-ca={}\ntls-cert={}\ntls-key=pkcs11:object=ec\n[encryption]\nkey=pkcs11:object=bundles",
        lab.file("ca.pem"),
        lab.file("ec.pem")
    ));
    let url = nginx.url(bundle.file_name().unwrap().to_str().unwrap());
    let output = lab.install(&rig, &ENVIRONMENT, &[&url]);
    lab.is_installed(&rig, &output);
}

#[test]
fn what_is_wrong_is_said_before_anybody_is_asked() {
    let lab = lab();
    let server = Server::of(lab.dir.path(), |_| Fault::None);
    let url = format!("{}/{}", server.url, lab.bundle);
    let [module, pin] = ENVIRONMENT;
    let wrong = ("RAUC_PKCS11_PIN", "11111111");
    let pin_value = format!("pkcs11:object=none?pin-value={PIN}");
    for (variables, cert, key, expected) in [
        (
            &[module, wrong][..],
            "rsa.pem",
            "pkcs11:object=rsa",
            "the PIN of the token 'Board' is wrong",
        ),
        (
            &[module],
            "rsa.pem",
            "pkcs11:object=rsa",
            "the token 'Board' wants a PIN",
        ),
        (
            &[module, pin],
            "rsa.pem",
            "pkcs11:object=none",
            "has no private key that fits",
        ),
        (
            &[module],
            "rsa.pem",
            &pin_value,
            "has no private key that fits pkcs11:object=none",
        ),
        (
            &[module, pin],
            "rsa.pem",
            "pkcs11:token=x;object=rsa",
            "no token fits pkcs11:token=x",
        ),
        (
            &[module, pin],
            "rsa.pem",
            "pkcs11:object=ec",
            "does not belong to the certificate",
        ),
        (
            &[module, pin],
            "rsa.pem",
            "pkcs11:colour=red",
            "'colour' is not supported",
        ),
        (
            &[pin, ("RAUC_PKCS11_MODULE", "/nowhere/m.so")],
            "rsa.pem",
            "pkcs11:object=rsa",
            "cannot load",
        ),
        (
            &[module, pin],
            "pkcs11:object=none",
            "pkcs11:object=ec",
            "tls-cert cannot be used",
        ),
    ] {
        let cert = match cert.starts_with("pkcs11:") {
            true => cert.to_owned(),
            false => lab.file(cert),
        };
        let rig = lab.rig(&format!("tls-cert={cert}\ntls-key={key}"));
        let before = rig.snapshot();
        let output = lab.install(&rig, variables, &[&url]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{key}: {said}");
        assert!(said.contains(expected), "{key}: {said}");
        assert!(!said.contains("11111111"), "{said}");
        assert!(rig.snapshot() == before, "{key}");
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn servers_have_to_prove_who_they_are() {
    let lab = lab();
    let nginx = lab.nginx("TLSv1.2 TLSv1.3");
    let url = nginx.url(&lab.bundle);
    let by_address = url.replace("localhost", "127.0.0.1");
    let identity = format!("tls-cert={}\ntls-key=pkcs11:object=ec", lab.file("ec.pem"));
    let ca = format!("tls-ca={}\n", lab.file("ca.pem"));
    let other = tempfile::tempdir().unwrap();
    authority(other.path());
    let other = format!("tls-ca={}\n", other.path().join("ca.pem").display());
    for (authorities, url, expected) in [
        ("", &url, "the server's certificate is refused: "),
        (&other, &url, "the server's certificate is refused: "),
        (
            &ca,
            &by_address,
            "the server's certificate is refused: IP address mismatch",
        ),
    ] {
        let rig = lab.rig(&format!("{authorities}{identity}"));
        let output = lab.install(&rig, &ENVIRONMENT, &[url]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{authorities}: {said}");
        assert!(
            said.contains("no secure connection") && said.contains(expected),
            "{said}"
        );
        assert!(!said.contains("tried"), "it was tried again: {said}");
    }
    let rig = lab.rig(&identity);
    let output = lab.install(&rig, &ENVIRONMENT, &["--tls-no-verify", &by_address]);
    lab.is_installed(&rig, &output);
}
