//! What is accepted.

use openssl::pkey::PKey;

use super::Corpus;
use crate::parts::{IMAGE, Parts, detached, squashfs, verity};
use crate::support::{Spec, cms, ed25519, p256};

impl Corpus {
    pub fn good(&mut self) {
        let parts = verity(&squashfs(&|_| {}), IMAGE);
        self.add("good-verity", &self.sign(&parts), "ok");
        let ber = cms(parts.manifest.as_bytes(), &self.signer, &["-stream"]);
        self.add("good-ber", &parts.signed(&ber), "ok");
        let bare = cms(parts.manifest.as_bytes(), &self.signer, &["-noattr"]);
        self.add("good-no-attributes", &parts.signed(&bare), "ok");
        let ec = Spec {
            key: p256(),
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

    pub fn ed25519(&mut self, parts: &Parts) {
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

    pub fn plain(&self, payload: &[u8]) -> Vec<u8> {
        let signature = detached(payload, &self.signer);
        [payload, &signature, &(signature.len() as u64).to_be_bytes()].concat()
    }
}
