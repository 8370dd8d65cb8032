//! Trailers, truncations, flipped bits, trees that do not fit.

use bundle_format::encode_hex;

use super::Corpus;
use crate::parts::{IMAGE, Parts, SALT, squashfs, verity};
use crate::support::noise;

impl Corpus {
    pub fn trailers_and_truncations(&mut self) {
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

    pub fn flipped(&mut self) {
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

    pub fn geometry(&mut self) {
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
}
