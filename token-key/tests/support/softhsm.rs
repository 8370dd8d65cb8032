//! SoftHSM, standing for a smart card or an HSM. Tests of other rooms include this file.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Its PKCS#11 module.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The PIN of every token.
pub const PIN: &str = "73912846";

/// Tokens of their own, in a directory that goes away with them.
pub struct SoftHsm {
    dir: tempfile::TempDir,
}

impl SoftHsm {
    /// One token with this label.
    pub fn new(label: &str) -> Self {
        let hsm = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let tokens = hsm.dir.path().join("tokens");
        fs_err::create_dir(&tokens).unwrap();
        let conf = format!("directories.tokendir = {}\n", tokens.display());
        fs_err::write(hsm.conf(), conf).unwrap();
        hsm.add_token(label);
        hsm
    }

    /// What the module is configured by, in the variable `SOFTHSM2_CONF`.
    pub fn conf(&self) -> PathBuf {
        self.dir.path().join("softhsm2.conf")
    }

    /// One more token.
    pub fn add_token(&self, label: &str) {
        let words = [
            "--init-token",
            "--free",
            "--so-pin",
            "0000",
            "--label",
            label,
            "--pin",
            PIN,
        ];
        self.run("softhsm2-util", &words);
    }

    /// Puts a key and its certificate, PEM files, onto a token. `id` is hexadecimal.
    pub fn import(&self, token: &str, (key, cert): (&Path, &Path), label: &str, id: &str) {
        let (key, cert) = (key.display().to_string(), cert.display().to_string());
        let der = self.dir.path().join("der").display().to_string();
        let log_in = [
            "--module",
            MODULE,
            "--token-label",
            token,
            "--login",
            "--pin",
            PIN,
        ];
        let object = ["--write-object", &der, "--label", label, "--id", id];
        let write = [&log_in[..], &object].concat();
        let text = self.run("openssl", &["pkey", "-in", &key, "-noout", "-text"]);
        match text.contains("ASN1 OID") {
            // `softhsm2-util` makes such keys for signatures only.
            true => {
                self.run(
                    "openssl",
                    &["pkey", "-in", &key, "-outform", "DER", "-out", &der],
                );
                let usage = ["--type", "privkey", "--usage-sign", "--usage-derive"];
                self.run("pkcs11-tool", &[&write[..], &usage].concat());
            }
            false => {
                let named = ["--token", token, "--label", label, "--id", id, "--pin", PIN];
                self.run("softhsm2-util", &[&["--import", &key][..], &named].concat());
            }
        }
        self.run(
            "openssl",
            &["x509", "-in", &cert, "-outform", "DER", "-out", &der],
        );
        self.run("pkcs11-tool", &[&write[..], &["--type", "cert"]].concat());
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program)
            .args(args)
            .env("SOFTHSM2_CONF", self.conf())
            .output()
            .unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
