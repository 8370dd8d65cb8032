//! Manifests that contradict their bundle, names that lead elsewhere, and encrypted bundles.

use std::path::Path;

use super::Corpus;
use crate::parts::{IMAGE, Parts, ROOTFS, encrypted_parts, envelope, squashfs, unpacked, verity};
use crate::support::{Spec, cms, noise, run, text, write};

impl Corpus {
    pub fn contradictions(&mut self) {
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

    pub fn names(&mut self) {
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

    pub fn encrypted(&mut self) {
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
