//! Signers, algorithms and certificates that are not trusted.

use super::Corpus;
use crate::parts::{IMAGE, squashfs, verity};
use crate::support::{Identity, NOW, Spec, cms, rsa, run, text, write};

impl Corpus {
    pub fn signers(&mut self) {
        let parts = verity(&squashfs(&|_| {}), IMAGE);
        let manifest = parts.manifest.as_bytes();
        let ca = self.ca.clone();
        let leaf = |name: &'static str| Spec::leaf(name, Some(&ca));
        let stranger = Spec::ca("Stranger").make();
        let table: Vec<(&str, Identity, &[&str], &str)> = vec![
            (
                "md5",
                self.signer.clone(),
                &["-md", "md5"],
                "the signature uses the weak digest MD5",
            ),
            (
                "sha1",
                self.signer.clone(),
                &["-md", "sha1"],
                "the signature uses the weak digest SHA-1",
            ),
            (
                "ripemd",
                self.signer.clone(),
                &["-md", "ripemd160"],
                "not one of the accepted algorithms",
            ),
            (
                "no-certificate",
                self.signer.clone(),
                &["-nocerts"],
                "does not carry the certificate",
            ),
            (
                "stranger",
                Spec::leaf("Signer", Some(&stranger)).make(),
                &[],
                "the signer is not trusted",
            ),
            (
                "self-signed",
                Spec::leaf("Nobody", None).make(),
                &[],
                "the signer is not trusted",
            ),
            (
                "short-key",
                Spec {
                    key: rsa(1024),
                    ..leaf("Short")
                }
                .make(),
                &[],
                "uses a key of 1024 bits",
            ),
            (
                "expired",
                Spec {
                    not_after: NOW - 1,
                    ..leaf("Expired")
                }
                .make(),
                &[],
                "certificate has expired",
            ),
            (
                "not-yet-valid",
                Spec {
                    not_before: NOW + 1,
                    ..leaf("Future")
                }
                .make(),
                &[],
                "certificate is not yet valid",
            ),
            (
                "code-signing-only",
                Spec {
                    eku: &["codeSigning"],
                    ..leaf("Code")
                }
                .make(),
                &[],
                "certificate purpose",
            ),
            (
                "sha1-certificate",
                Spec {
                    digest: openssl::hash::MessageDigest::sha1(),
                    ..leaf("Old")
                }
                .make(),
                &[],
                "uses the weak digest SHA1",
            ),
            (
                "content-type",
                self.signer.clone(),
                &["-econtent_type", "pkcs7-envelopedData"],
                "another content type",
            ),
        ];
        for (name, signer, arguments, verdict) in table {
            self.add(
                name,
                &parts.signed(&cms(manifest, &signer, arguments)),
                verdict,
            );
        }
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = leaf("Second").make().write(dir.path(), "second");
        let two = ["-signer", text(&cert), "-inkey", text(&key)];
        let two = cms(manifest, &self.signer, &two);
        self.add(
            "two-signers",
            &parts.signed(&two),
            "the signature has 2 signers",
        );
        let twin = |name| {
            let serial = Some(77);
            Spec {
                serial,
                ..leaf(name)
            }
            .make()
        };
        let (other, _) = twin("Other twin").write(dir.path(), "other");
        let ambiguous = cms(manifest, &twin("Twin"), &["-certfile", text(&other)]);
        self.add(
            "two-certificates",
            &parts.signed(&ambiguous),
            "several certificates that its signer could mean",
        );
        let certificates = dir.path().join("certificates");
        write(&dir.path().join("in"), &self.signer.pem());
        run(
            "openssl",
            &[
                "crl2pkcs7",
                "-nocrl",
                "-certfile",
                text(&dir.path().join("in")),
                "-outform",
                "DER",
                "-out",
                text(&certificates),
            ],
        );
        let none = std::fs::read(certificates).unwrap();
        self.add(
            "no-signers",
            &parts.signed(&none),
            "the signature has 0 signers",
        );
        // The signature of one bundle before the payload of another.
        let other = verity(&squashfs(&|dir| write(&dir.join("more"), b"x")), IMAGE);
        let mixed = other.signed(&cms(manifest, &self.signer, &[]));
        self.add(
            "signature-of-another",
            &mixed,
            "the top block of the hash tree",
        );
    }

    pub fn revoked(&mut self) {
        let dir = tempfile::tempdir().unwrap();
        let (ca_cert, ca_key) = self.ca.write(dir.path(), "ca");
        let revoked = Spec::leaf("Revoked", Some(&self.ca)).make();
        let (cert, _) = revoked.write(dir.path(), "revoked");
        let config = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={0}/index\ncrlnumber={0}/number\n\
             default_md=sha256\n",
            text(dir.path())
        );
        write(&dir.path().join("ca.conf"), config.as_bytes());
        write(&dir.path().join("index"), b"");
        write(&dir.path().join("number"), b"01\n");
        let (config, crl) = (dir.path().join("ca.conf"), dir.path().join("crl.pem"));
        let common = [
            "ca",
            "-config",
            text(&config),
            "-cert",
            text(&ca_cert),
            "-keyfile",
            text(&ca_key),
        ];
        run(
            "openssl",
            &[&common[..], &["-revoke", text(&cert)]].concat(),
        );
        // A list that is valid for as long as the certificates.
        let times = [
            "-crl_lastupdate",
            "20200101000000Z",
            "-crl_nextupdate",
            "20991231235959Z",
        ];
        run(
            "openssl",
            &[&common[..], &["-gencrl", "-out", text(&crl)], &times].concat(),
        );
        self.write(
            "ca-and-crl.pem",
            &[self.ca.pem(), std::fs::read(crl).unwrap()].concat(),
        );
        let parts = verity(&squashfs(&|_| {}), IMAGE);
        let bytes = parts.signed(&cms(parts.manifest.as_bytes(), &revoked, &[]));
        self.add("revoked-unnoticed", &bytes, "ok");
        self.add_for("ca-and-crl.pem", "revoked", &bytes, "certificate revoked");
        let fine = self.sign(&parts);
        self.add_for("ca-and-crl.pem", "good-with-crl", &fine, "ok");
    }
}
