//! Writes the corpus of good and bad bundles in `tests/golden`: `cargo run --example make_golden`.
//!
//! The files are kept in the repository, so that what was refused once stays refused; making them
//! anew gives new keys and is needed only to add some. `table.tsv` says what each one is for: file,
//! keyring, and `ok` or the beginning of the error.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool for the tests of this room"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use bundle_format::verity::build_tree;
use bundle_format::{crypt, encode_hex};
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::pkey::PKey;
use openssl::stack::Stack;
use openssl::symm::Cipher;
use support::{Identity, NOW, Spec, cms, ed25519, noise, rsa, run, text, write};

const SALT: [u8; 32] = [9; 32];
const CRYPT_KEY: [u8; 32] = [5; 32];
const ROOTFS: usize = 5000;

struct Corpus {
    dir: PathBuf,
    table: String,
    ca: Identity,
    signer: Identity,
}

/// A payload and the manifest that fits it.
#[derive(Clone)]
struct Parts {
    payload: Vec<u8>,
    tree: Vec<u8>,
    manifest: String,
}

impl Parts {
    fn signed(&self, signature: &[u8]) -> Vec<u8> {
        [
            &self.payload,
            &self.tree,
            signature,
            &(signature.len() as u64).to_be_bytes()[..],
        ]
        .concat()
    }
}

fn main() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let ca = Spec::ca("Golden CA").make();
    let signer = Spec::leaf("Golden signer", Some(&ca)).make();
    let mut corpus = Corpus {
        dir,
        table: String::new(),
        ca,
        signer,
    };
    corpus.write("ca.pem", &corpus.ca.pem());
    corpus.good();
    corpus.trailers_and_truncations();
    corpus.flipped();
    corpus.geometry();
    corpus.signers();
    corpus.revoked();
    corpus.contradictions();
    corpus.names();
    corpus.encrypted();
    corpus.write("table.tsv", corpus.table.as_bytes());
}

impl Corpus {
    fn write(&self, name: &str, bytes: &[u8]) {
        write(&self.dir.join(name), bytes);
    }

    fn add(&mut self, name: &str, bytes: &[u8], verdict: &str) {
        self.add_for("ca.pem", name, bytes, verdict);
    }

    fn add_for(&mut self, keyring: &str, name: &str, bytes: &[u8], verdict: &str) {
        let name = format!("{name}.raucb");
        self.write(&name, bytes);
        self.table
            .push_str(&format!("{name}\t{keyring}\t{verdict}\n"));
    }

    fn sign(&self, parts: &Parts) -> Vec<u8> {
        parts.signed(&cms(parts.manifest.as_bytes(), &self.signer, &[]))
    }

    fn good(&mut self) {
        let parts = verity(&squashfs(&|_| {}), IMAGE);
        self.add("good-verity", &self.sign(&parts), "ok");
        let ber = cms(parts.manifest.as_bytes(), &self.signer, &["-stream"]);
        self.add("good-ber", &parts.signed(&ber), "ok");
        let bare = cms(parts.manifest.as_bytes(), &self.signer, &["-noattr"]);
        self.add("good-no-attributes", &parts.signed(&bare), "ok");
        let ec = Spec {
            key: support::p256(),
            ..Spec::leaf("EC signer", Some(&self.ca))
        }
        .make();
        let ecdsa = cms(parts.manifest.as_bytes(), &ec, &[]);
        self.add("good-ecdsa", &parts.signed(&ecdsa), "ok");
        let pss = ["-keyopt", "rsa_padding_mode:pss"];
        let pss = cms(parts.manifest.as_bytes(), &self.signer, &pss);
        self.add("good-rsa-pss", &parts.signed(&pss), "ok");
        self.add("good-plain", &self.plain(&squashfs(&|_| {})), "ok");
        self.ed25519(&parts);
    }

    fn ed25519(&mut self, parts: &Parts) {
        let signer = Spec {
            key: PKey::generate_ed25519().unwrap(),
            ..Spec::leaf("Ed25519 signer", Some(&self.ca))
        }
        .make();
        let good = ed25519::Parts::good(parts.manifest.as_bytes());
        self.add("good-ed25519", &parts.signed(&good.sign(&signer)), "ok");
        let bare = ed25519::Parts {
            attributes: None,
            ..good.clone()
        };
        self.add(
            "ed25519-no-attributes",
            &parts.signed(&bare.sign(&signer)),
            "no signed attributes",
        );
        let flipped = ed25519::Parts {
            spoil: |value| value[20] ^= 1,
            ..good
        };
        self.add(
            "ed25519-flipped",
            &parts.signed(&flipped.sign(&signer)),
            "the signature does not fit the signed manifest",
        );
    }

    fn plain(&self, payload: &[u8]) -> Vec<u8> {
        let signature = detached(payload, &self.signer);
        [payload, &signature, &(signature.len() as u64).to_be_bytes()].concat()
    }

    fn trailers_and_truncations(&mut self) {
        let parts = verity(&squashfs(&|_| {}), IMAGE);
        let good = self.sign(&parts);
        let (payload, tree) = (parts.payload.len(), parts.payload.len() + parts.tree.len());
        let before = good.len() - 8;
        let cuts = [
            ("empty", 0, "the file has 0 bytes: too short"),
            ("cut-7", 7, "the file has 7 bytes: too short"),
            ("cut-in-payload", 5000, "trailer at byte 4992 says"),
            ("cut-before-tree", payload, "trailer at byte"),
            ("cut-in-tree", payload + 2000, "trailer at byte"),
            ("cut-before-signature", tree, "trailer at byte"),
            ("cut-in-signature", tree + 500, "trailer at byte"),
            ("cut-before-trailer", before, "trailer at byte"),
            ("cut-last-byte", good.len() - 1, "trailer at byte"),
        ];
        for (name, len, verdict) in cuts {
            self.add(name, &good[..len], verdict);
        }
        let size = (before - tree) as u64;
        let sizes = [
            ("size-zero", 0, "the trailer says"),
            ("size-max", u64::MAX, "more than the limit of 65536"),
            ("size-over-limit", 65537, "more than the limit of 65536"),
            ("size-one-less", size - 1, "the signature (byte offset"),
            ("size-one-more", size + 1, "the signature (byte offset"),
            ("size-whole-file", before as u64, "there is no payload"),
            ("size-beyond-start", before as u64 + 1, "come before it"),
        ];
        for (name, size, verdict) in sizes {
            let bytes = [&good[..before], &size.to_be_bytes()].concat();
            let verdict = if size == 0 {
                "the bundle is not signed"
            } else {
                verdict
            };
            self.add(name, &bytes, verdict);
        }
        self.add(
            "longer",
            &[&good[..], &[0; 16]].concat(),
            "the bundle is not signed",
        );
        self.add("noise", &noise(20_000), "more than the limit of 65536");
        let garbage = parts.signed(&noise(1500));
        self.add("garbage-signature", &garbage, "is not a CMS structure");
        let unsigned = parts.signed(parts.manifest.as_bytes());
        self.add("unsigned", &unsigned, "the bundle is not signed yet");
    }

    fn flipped(&mut self) {
        let parts = verity(&squashfs(&|_| {}), IMAGE);
        let good = self.sign(&parts);
        let tree = parts.payload.len();
        let signature = tree + parts.tree.len();
        let manifest = (signature..)
            .find(|at| good[*at..].starts_with(b"compatible="))
            .unwrap();
        let flips = [
            (
                "flip-payload",
                4096 + 77,
                "payload block 1 (byte offset 4096) does not match",
            ),
            ("flip-tree", tree + 5, "the top block of the hash tree"),
            (
                "flip-tree-tail",
                signature - 1,
                "the top block of the hash tree",
            ),
            (
                "flip-manifest",
                manifest + 12,
                "the signature does not fit the signed manifest",
            ),
            (
                "flip-signature-value",
                good.len() - 50,
                "the signature does not fit the signed manifest",
            ),
            ("flip-signature-start", signature, "is not a CMS structure"),
            (
                "flip-trailer",
                good.len() - 8,
                "more than the limit of 65536",
            ),
        ];
        for (name, position, verdict) in flips {
            let mut bytes = good.clone();
            bytes[position] ^= 1;
            self.add(name, &bytes, verdict);
        }
    }

    fn geometry(&mut self) {
        let parts = verity(&squashfs(&|_| {}), IMAGE);
        let with = |from: &str, to: &str| Parts {
            manifest: parts.manifest.replace(from, to),
            ..parts.clone()
        };
        let sizes = [
            ("tree-size-zero", "0", "must not be 0"),
            ("tree-size-unaligned", "4095", "is not a multiple of 4096"),
            (
                "tree-size-too-large",
                "1048576",
                "does not fit the signed manifest: verity-size",
            ),
            (
                "tree-size-wrong",
                "8192",
                "does not fit the signed manifest",
            ),
            (
                "tree-size-overflow",
                "18446744073709547520",
                "does not fit the signed manifest",
            ),
            (
                "tree-size-beyond-u64",
                "18446744073709551616",
                "is too large a number",
            ),
        ];
        for (name, size, verdict) in sizes {
            let bytes = self.sign(&with("verity-size=4096", &format!("verity-size={size}")));
            self.add(name, &bytes, verdict);
        }
        let other_root = with("verity-hash=", "verity-hash=00");
        self.add(
            "root-too-long",
            &self.sign(&other_root),
            "needs 64 hexadecimal digits",
        );
        let other_salt = with(&encode_hex(&SALT), &encode_hex(&[8; 32]));
        self.add(
            "salt-of-another",
            &self.sign(&other_salt),
            "the top block of the hash tree",
        );
        let no_tree = with("verity-size=4096\n", "");
        self.add(
            "no-verity-size",
            &self.sign(&no_tree),
            "[bundle] needs the key 'verity-size'",
        );
        let mut one_block = parts.clone();
        one_block.payload.truncate(4096);
        self.add(
            "one-data-block",
            &self.sign(&one_block),
            "does not fit the signed manifest",
        );
    }

    fn signers(&mut self) {
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

    fn revoked(&mut self) {
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

    fn contradictions(&mut self) {
        let other = squashfs(&|dir| {
            let text = "[update]\ncompatible=Golden\nversion=2\n";
            write(&dir.join("manifest.raucm"), text.as_bytes());
        });
        self.add(
            "manifest-inside-differs",
            &self.sign(&verity(&other, IMAGE)),
            "contradicts the signed manifest (version)",
        );
        let newer = verity(&squashfs(&|_| {}), IMAGE);
        let newer = Parts {
            manifest: newer
                .manifest
                .replace("version=1\n", "version=1\nmin-rauc-version=1.16\n"),
            ..newer
        };
        self.add(
            "needs-newer-rauc",
            &self.sign(&newer),
            "the bundle needs a newer RAUC than 1.15.2",
        );
        let payload = squashfs(&|_| {});
        let parts = verity(&payload, IMAGE);
        let with = |from: &str, to: &str| Parts {
            manifest: parts.manifest.replace(from, to),
            ..parts.clone()
        };
        let says_plain = with("format=verity", "format=plain");
        self.add(
            "signed-manifest-says-plain",
            &self.sign(&says_plain),
            "says plain, so it must not have",
        );
        let no_format = Parts {
            manifest: "[update]\ncompatible=Golden\n".to_owned(),
            ..parts.clone()
        };
        self.add(
            "signed-manifest-without-tree",
            &self.sign(&no_format),
            "no verity-hash",
        );
        let verity_inside = squashfs(&|dir| {
            let text = "[update]\ncompatible=Golden\n[bundle]\nformat=verity\n";
            write(&dir.join("manifest.raucm"), text.as_bytes());
        });
        self.add(
            "plain-with-verity-manifest",
            &self.plain(&verity_inside),
            "its signature is that of a plain bundle",
        );
        let tree_inside =
            squashfs(&|dir| write(&dir.join("manifest.raucm"), parts.manifest.as_bytes()));
        self.add(
            "plain-with-tree-manifest",
            &self.plain(&tree_inside),
            "its signature is that of a plain bundle",
        );
        let no_manifest =
            squashfs(&|dir| std::fs::remove_file(dir.join("manifest.raucm")).unwrap());
        self.add(
            "plain-without-manifest",
            &self.plain(&no_manifest),
            "no file called manifest.raucm",
        );
        self.add(
            "plain-no-squashfs",
            &self.plain(&noise(9000)),
            "not a squashfs image",
        );
        let mut changed = self.plain(&payload);
        changed[5000] ^= 1;
        self.add("plain-flipped", &changed, "the payload has the digest");
        for (name, text, verdict) in [
            (
                "manifest-unknown-key",
                "[update]\ncompatible=a\nversoin=1\n",
                "unknown key 'versoin'",
            ),
            (
                "manifest-doubled-key",
                "[update]\ncompatible=a\ncompatible=b\n",
                "appears twice",
            ),
            (
                "manifest-unknown-section",
                "[update]\ncompatible=a\n[evil]\n",
                "unknown section [evil]",
            ),
            (
                "manifest-no-compatible",
                "[update]\nversion=1\n",
                "needs the key 'compatible'",
            ),
            ("manifest-empty", "", "section [update] is missing"),
            (
                "manifest-binary",
                "[update]\ncompatible=\u{0}\n",
                "not UTF-8 text",
            ),
        ] {
            let bytes = self.sign(&Parts {
                manifest: text.to_owned(),
                ..parts.clone()
            });
            self.add(name, &bytes, verdict);
        }
    }

    fn names(&mut self) {
        let parts = |name: &str, fill: &dyn Fn(&Path)| {
            verity(&squashfs(fill), &IMAGE.replace("rootfs.ext4", name))
        };
        for (name, file, verdict) in [
            ("name-parent", "..", "is not a file name"),
            ("name-up", "../../etc/shadow", "has a '/'"),
            ("name-absolute", "/etc/shadow", "has a '/'"),
            ("name-in-directory", "sub/rootfs.ext4", "has a '/'"),
            (
                "name-missing",
                "other.ext4",
                "the bundle has no file called other.ext4",
            ),
        ] {
            self.add(name, &self.sign(&parts(file, &|_| {})), verdict);
        }
        let link = |target: &'static str| {
            move |dir: &Path| std::os::unix::fs::symlink(target, dir.join("link.ext4")).unwrap()
        };
        let away = parts("link.ext4", &link("/etc/shadow"));
        self.add(
            "link-absolute",
            &self.sign(&away),
            "the bundle has no file called link.ext4",
        );
        let up = parts("link.ext4", &link("../rootfs.ext4"));
        self.add(
            "link-up",
            &self.sign(&up),
            "the bundle has no file called link.ext4",
        );
        let near = parts("link.ext4", &link("rootfs.ext4"));
        self.add("link-to-neighbour", &self.sign(&near), "ok");
        let directory = parts("d.ext4", &|dir| {
            std::fs::create_dir(dir.join("d.ext4")).unwrap();
        });
        self.add(
            "name-of-directory",
            &self.sign(&directory),
            "is not a regular file",
        );
        let pipe = parts("p.ext4", &|dir| {
            drop(run("mkfifo", &[text(&dir.join("p.ext4"))]));
        });
        self.add("name-of-pipe", &self.sign(&pipe), "is not a regular file");
        for (name, from, to) in [
            (
                "entry-with-slash",
                &b"xxetcxpasswd"[..],
                &b"/./etc/passw"[..],
            ),
            ("entry-parent", b"xx", b".."),
        ] {
            let mut payload =
                unpacked(&|dir| write(&dir.join(std::str::from_utf8(from).unwrap()), b"x"));
            let at = payload
                .windows(from.len())
                .rposition(|window| window == from)
                .unwrap();
            payload[at..at + from.len()].copy_from_slice(to);
            self.add(
                name,
                &self.sign(&verity(&payload, IMAGE)),
                "squashfs: damaged directory",
            );
        }
        let wrong_size = IMAGE.replace(&format!("size={ROOTFS}"), "size=4999");
        let wrong_size = verity(&squashfs(&|_| {}), &wrong_size);
        self.add(
            "image-size",
            &self.sign(&wrong_size),
            "image rootfs.ext4 has 5000 bytes",
        );
        let digest = verity(
            &squashfs(&|_| {}),
            &IMAGE.replace("sha256=DIGEST", &format!("sha256={}", "0".repeat(64))),
        );
        self.add(
            "image-digest",
            &self.sign(&digest),
            "image rootfs.ext4 has the digest",
        );
    }

    fn encrypted(&mut self) {
        let device = Spec::leaf("Device", None).make();
        self.write(
            "device.key.pem",
            &device.key.private_key_to_pem_pkcs8().unwrap(),
        );
        let stranger = Spec::leaf("Stranger", None).make();
        let parts = encrypted_parts();
        let signature = cms(parts.manifest.as_bytes(), &self.signer, &[]);
        self.add(
            "crypt-readable-key",
            &parts.signed(&signature),
            "its signature was never encrypted",
        );
        self.add(
            "good-crypt",
            &parts.signed(&envelope(&signature, &device)),
            "ok",
        );
        let strangers = parts.signed(&envelope(&signature, &stranger));
        self.add(
            "crypt-for-another",
            &strangers,
            "the bundle is not encrypted for this key",
        );
        let no_key = parts
            .manifest
            .lines()
            .filter(|line| !line.starts_with("crypt-key"));
        let no_key: String = no_key.map(|line| format!("{line}\n")).collect();
        let no_key = envelope(&cms(no_key.as_bytes(), &self.signer, &[]), &device);
        self.add("crypt-without-key", &parts.signed(&no_key), "no crypt-key");
        let mut damaged = parts.signed(&envelope(&signature, &device));
        damaged[4100] ^= 1;
        self.add(
            "crypt-flipped",
            &damaged,
            "payload block 1 (byte offset 4096) does not match",
        );
        // Verity with a key, and an envelope round something that is not signed.
        let verity = parts.manifest.replace("format=crypt", "format=verity");
        let verity = cms(verity.as_bytes(), &self.signer, &[]);
        self.add(
            "verity-with-crypt-key",
            &parts.signed(&verity),
            "its format is not crypt",
        );
        let nothing = envelope(b"no signature", &device);
        self.add(
            "envelope-of-noise",
            &parts.signed(&nothing),
            "the bundle is not encrypted for this key",
        );
    }
}

/// The part of the manifest about the image.
const IMAGE: &str = "[image.rootfs]\nsha256=DIGEST\nsize=5000\nfilename=rootfs.ext4\n";

fn squashfs(fill: &dyn Fn(&Path)) -> Vec<u8> {
    pack(fill, &[])
}

/// With its tables as they are, so that they can be edited.
fn unpacked(fill: &dyn Fn(&Path)) -> Vec<u8> {
    pack(fill, &["-noI"])
}

fn pack(fill: &dyn Fn(&Path), arguments: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    std::fs::create_dir(&input).unwrap();
    write(
        &input.join("manifest.raucm"),
        b"[update]\ncompatible=Golden\n",
    );
    write(&input.join("rootfs.ext4"), &noise(ROOTFS));
    fill(&input);
    let mut all = vec![
        text(&input),
        text(&output),
        "-all-root",
        "-noappend",
        "-no-xattrs",
    ];
    all.extend([
        "-no-progress",
        "-quiet",
        "-all-time",
        "0",
        "-mkfs-time",
        "0",
    ]);
    all.extend(arguments);
    run("mksquashfs", &all);
    std::fs::read(output).unwrap()
}

fn verity(payload: &[u8], image: &str) -> Parts {
    let tree = build_tree(&payload, payload.len() as u64, &SALT, &mut |_, _| {}).unwrap();
    let digest = bundle_format::Digest::of(&noise(ROOTFS)).to_string();
    let manifest = format!(
        "[update]\ncompatible=Golden\nversion=1\n\n[bundle]\nformat=verity\nverity-hash={}\n\
         verity-salt={}\nverity-size={}\n\n{}",
        tree.root,
        encode_hex(&SALT),
        tree.bytes.len(),
        image.replace("DIGEST", &digest),
    );
    Parts {
        payload: payload.to_vec(),
        tree: tree.bytes,
        manifest,
    }
}

fn encrypted_parts() -> Parts {
    let mut payload = squashfs(&|_| {});
    let key = bundle_format::manifest::CryptKey(CRYPT_KEY);
    crypt::encrypt(&key, &mut payload, 0).unwrap();
    let parts = verity(&payload, IMAGE);
    let format = format!("format=crypt\ncrypt-key={}", encode_hex(&CRYPT_KEY));
    Parts {
        manifest: parts.manifest.replace("format=verity", &format),
        ..parts
    }
}

fn envelope(content: &[u8], recipient: &Identity) -> Vec<u8> {
    let mut stack = Stack::new().unwrap();
    stack.push(recipient.certificate.clone()).unwrap();
    let cipher = Cipher::aes_256_cbc();
    let sealed = CmsContentInfo::encrypt(&stack, content, cipher, CMSOptions::BINARY).unwrap();
    sealed.to_der().unwrap()
}

fn detached(payload: &[u8], signer: &Identity) -> Vec<u8> {
    let flags = CMSOptions::BINARY | CMSOptions::DETACHED | CMSOptions::NOSMIMECAP;
    let certificate = Some(&*signer.certificate);
    let cms = CmsContentInfo::sign(certificate, Some(&signer.key), None, Some(payload), flags);
    cms.unwrap().to_der().unwrap()
}
