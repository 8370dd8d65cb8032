//! Which algorithms and key sizes are good enough. Whatever is not listed here is refused.

use openssl::asn1::Asn1Object;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::x509::X509Ref;

use super::asn1::{Asn1Error, CONTEXT_0, Elements, OID, SEQUENCE};

/// Smallest RSA key, in bits.
const MIN_RSA_BITS: u32 = 2048;

/// Smallest elliptic curve, in bits.
const MIN_EC_BITS: u32 = 224;

/// What to allow beyond the safe defaults. RAUC has no such policy: a device that has to go on
/// accepting old bundles names here what it needs, one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Accept MD5, SHA-1 and SHA-224 (setting `allow-weak-digests`).
    pub allow_weak_digests: bool,
    /// Accept RSA keys below 2048 bits and curves below 224 bits (setting `allow-short-keys`).
    pub allow_short_keys: bool,
    /// Accept algorithms and kinds of keys that are not on the list, if OpenSSL can verify them
    /// (setting `allow-unknown-algorithms`).
    pub allow_unknown_algorithms: bool,
    /// Accept crypt bundles whose signature was never encrypted, so that anybody can read the
    /// payload's key (only for tools that inspect and encrypt bundles).
    pub allow_readable_crypt_key: bool,
}

/// Why the policy refuses a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A digest for which forgeries are known or near.
    #[error("{what} uses the weak digest {digest}; the setting allow-weak-digests would accept it")]
    WeakDigest {
        /// The signature, or which certificate.
        what: String,
        /// Its name.
        digest: String,
    },
    /// A key that is too short.
    #[error("{what} uses a key of {bits} bits; the setting allow-short-keys would accept it")]
    ShortKey {
        /// Which certificate.
        what: String,
        /// Its size.
        bits: u32,
    },
    /// An algorithm that is not on the list.
    #[error(
        "{what} uses {algorithm}, which is not one of the accepted algorithms; the setting allow-unknown-algorithms would accept it"
    )]
    UnknownAlgorithm {
        /// The signature, or which certificate.
        what: String,
        /// Its name or OID.
        algorithm: String,
    },
}

enum Strength {
    Good,
    Weak(&'static str),
}

impl Policy {
    /// Digest of the signature itself; `oid` as DER content.
    pub(super) fn check_digest(&self, oid: &[u8]) -> Result<(), PolicyError> {
        self.check_named_digest(oid, || "the signature".to_owned())
    }

    fn check_named_digest(&self, oid: &[u8], what: impl Fn() -> String) -> Result<(), PolicyError> {
        match digest_by_oid(oid) {
            Some(Strength::Good) => Ok(()),
            Some(Strength::Weak(_)) if self.allow_weak_digests => Ok(()),
            Some(Strength::Weak(name)) => Err(PolicyError::WeakDigest {
                what: what(),
                digest: name.to_owned(),
            }),
            None => self.unknown(what(), format!("a digest with the OID {}", dotted(oid))),
        }
    }

    /// Algorithm of the signature itself; `oid` as DER content.
    pub(super) fn check_algorithm(&self, oid: &[u8]) -> Result<(), PolicyError> {
        let weak = WEAK_SIGNATURES.iter().find(|(known, _)| *known == oid);
        if let Some((_, name)) = weak {
            let digest = (*name).to_owned();
            let error = PolicyError::WeakDigest {
                what: "the signature".to_owned(),
                digest,
            };
            return if self.allow_weak_digests {
                Ok(())
            } else {
                Err(error)
            };
        }
        if GOOD_SIGNATURES.contains(&oid) {
            return Ok(());
        }
        let algorithm = format!("an algorithm with the OID {}", dotted(oid));
        self.unknown("the signature".to_owned(), algorithm)
    }

    fn unknown(&self, what: String, algorithm: String) -> Result<(), PolicyError> {
        if self.allow_unknown_algorithms {
            return Ok(());
        }
        Err(PolicyError::UnknownAlgorithm { what, algorithm })
    }

    /// Key of a certificate, and (unless it is trusted as it is) the digest that it was signed with.
    pub(super) fn check_certificate(
        &self,
        certificate: &X509Ref,
        name: &str,
        issued: Issued,
    ) -> Result<(), PolicyError> {
        let what = || format!("the certificate {name}");
        let key = certificate.public_key().ok();
        match key.as_ref().and_then(key_strength) {
            None => self.unknown(what(), "a key of an unknown kind".to_owned())?,
            Some((false, bits)) if !self.allow_short_keys => {
                return Err(PolicyError::ShortKey { what: what(), bits });
            }
            Some(_) => {}
        }
        if issued == Issued::Anchor {
            return Ok(());
        }
        let nid = certificate.signature_algorithm().object().nid();
        let digest = nid.signature_algorithms().map(|both| both.digest);
        match digest {
            Some(Nid::SHA256 | Nid::SHA384 | Nid::SHA512) => Ok(()),
            Some(Nid::UNDEF) if nid == Nid::RSASSAPSS => {
                self.check_named_digest(&pss_digest(certificate), what)
            }
            // Digest fixed by the algorithm: Ed25519, Ed448.
            Some(Nid::UNDEF) => Ok(()),
            Some(digest) => {
                let digest = digest.short_name().unwrap_or("?").to_owned();
                let is_sha3 = digest.starts_with("SHA3-") || digest.starts_with("RSA-SHA3");
                if is_sha3 || self.allow_weak_digests {
                    return Ok(());
                }
                Err(PolicyError::WeakDigest {
                    what: what(),
                    digest,
                })
            }
            None => self.unknown(what(), "an unknown signature algorithm".to_owned()),
        }
    }
}

/// Whether the signature on a certificate matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Issued {
    /// By another certificate of the chain.
    ByChain,
    /// It lies in the keyring: its own signature proves nothing.
    Anchor,
}

/// Whether the key is long enough, and its size in bits.
fn key_strength(key: &PKey<Public>) -> Option<(bool, u32)> {
    let bits = key.bits();
    match key.id() {
        Id::RSA | Id::RSA_PSS => Some((bits >= MIN_RSA_BITS, bits)),
        Id::EC => Some((bits >= MIN_EC_BITS, bits)),
        Id::ED25519 | Id::ED448 => Some((true, bits)),
        _ => None,
    }
}

/// OID of the digest that an RSA-PSS signature on a certificate was made with.
///
/// ```text
/// { { certificate }, { OID algorithm, { [0] { { OID digest } }, … } }, … }
/// ```
fn pss_digest(certificate: &X509Ref) -> Vec<u8> {
    let der = certificate.to_der().unwrap_or_default();
    let named = || -> Result<_, Asn1Error> {
        let mut inside = Elements::new(&der).expect(SEQUENCE)?.inside();
        inside.expect(SEQUENCE)?;
        let mut algorithm = inside.expect(SEQUENCE)?.inside();
        algorithm.expect(OID)?;
        let mut parameters = algorithm.expect(SEQUENCE)?.inside();
        let digest = parameters.expect(CONTEXT_0)?.inside().expect(SEQUENCE)?;
        Ok(digest.inside().expect(OID)?.content.to_vec())
    };
    // SHA-1 is what is meant when nothing is said.
    named().unwrap_or_else(|_| SHA1.to_vec())
}

/// 1.3.14.3.2.26
const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";

fn digest_by_oid(oid: &[u8]) -> Option<Strength> {
    /// 2.16.840.1.101.3.4.2
    const NIST: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02";
    if let Some([last]) = oid.strip_prefix(NIST) {
        return match last {
            // SHA-256, -384, -512, -512/256; SHA3-256, -384, -512; SHAKE256
            1..=3 | 6 | 8..=10 | 12 => Some(Strength::Good),
            4 => Some(Strength::Weak("SHA-224")),
            5 => Some(Strength::Weak("SHA-512/224")),
            7 => Some(Strength::Weak("SHA3-224")),
            _ => None,
        };
    }
    match oid {
        SHA1 => Some(Strength::Weak("SHA-1")),
        b"\x2a\x86\x48\x86\xf7\x0d\x02\x05" => Some(Strength::Weak("MD5")),
        b"\x2a\x86\x48\x86\xf7\x0d\x02\x04" => Some(Strength::Weak("MD4")),
        _ => None,
    }
}

/// The digest to compute for an OID; only those that [`Policy::check_digest`] may let pass.
pub(super) fn message_digest(oid: &[u8]) -> Option<MessageDigest> {
    let object = Asn1Object::from_str(&dotted(oid)).ok()?;
    MessageDigest::from_nid(object.nid())
}

/// Ed25519 (RFC 8410).
pub(super) const ED25519: &[u8] = b"\x2b\x65\x70";

/// rsaEncryption, RSASSA-PSS, sha256/384/512WithRSA, ecdsa-with-SHA256/384/512, Ed25519, and the
/// SHA-3 forms of ECDSA and RSA.
const GOOD_SIGNATURES: [&[u8]; 15] = [
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c",
    b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d",
    b"\x2a\x86\x48\xce\x3d\x04\x03\x02",
    b"\x2a\x86\x48\xce\x3d\x04\x03\x03",
    b"\x2a\x86\x48\xce\x3d\x04\x03\x04",
    ED25519,
    b"\x60\x86\x48\x01\x65\x03\x04\x03\x0a",
    b"\x60\x86\x48\x01\x65\x03\x04\x03\x0b",
    b"\x60\x86\x48\x01\x65\x03\x04\x03\x0c",
    b"\x60\x86\x48\x01\x65\x03\x04\x03\x0e",
    b"\x60\x86\x48\x01\x65\x03\x04\x03\x0f",
    b"\x60\x86\x48\x01\x65\x03\x04\x03\x10",
];

/// Algorithms that name a weak digest themselves.
const WEAK_SIGNATURES: [(&[u8], &str); 5] = [
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", "MD5"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "SHA-1"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e", "SHA-224"),
    (b"\x2a\x86\x48\xce\x3d\x04\x01", "SHA-1"),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x01", "SHA-224"),
];

/// An OID for people.
fn dotted(oid: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut value = 0u64;
    for byte in oid.iter().take(64) {
        value = value.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if parts.is_empty() {
                let first = (value / 40).min(2);
                parts.push(first);
                value -= first * 40;
            }
            parts.push(value);
            value = 0;
        }
    }
    parts
        .iter()
        .map(u64::to_string)
        .collect::<Vec<_>>()
        .join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests() {
        let sha256 = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
        let sha1 = b"\x2b\x0e\x03\x02\x1a";
        let strict = Policy::default();
        assert_eq!(strict.check_digest(sha256), Ok(()));
        let refused = strict.check_digest(sha1).unwrap_err().to_string();
        assert!(refused.contains("SHA-1") && refused.contains("allow-weak-digests"));
        assert_eq!(
            Policy {
                allow_weak_digests: true,
                ..strict.clone()
            }
            .check_digest(sha1),
            Ok(())
        );
        let unknown = strict
            .check_digest(b"\x2a\x03\x04")
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("1.2.3.4"), "{unknown}");
    }

    #[test]
    fn oids_for_people() {
        assert_eq!(
            dotted(b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"),
            "1.2.840.113549.1.1.5"
        );
        assert_eq!(
            dotted(b"\x60\x86\x48\x01\x65\x03\x04\x02\x01"),
            "2.16.840.1.101.3.4.2.1"
        );
        assert_eq!(dotted(b""), "");
    }
}
