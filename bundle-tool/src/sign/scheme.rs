//! How each kind of key signs.

use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{HasPublic, Id, PKeyRef};
use token_key::{Hash, Signing};

use super::SignError;
use bundle_format::der::{null, oid, sequence};

const ID_SHA256: &str = "2.16.840.1.101.3.4.2.1";
const ID_SHA512: &str = "2.16.840.1.101.3.4.2.3";

/// How one kind of key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// PKCS #1 v1.5, SHA-256.
    Rsa,
    /// SHA-256.
    Ecdsa,
    /// RFC 8419: SHA-512 of the content, and the attributes signed as they are.
    Ed25519,
}

impl Scheme {
    /// The scheme of a key.
    pub(super) fn of(key: &PKeyRef<impl HasPublic>) -> Result<Self, SignError> {
        match key.id() {
            Id::RSA => Ok(Self::Rsa),
            Id::EC => Ok(Self::Ecdsa),
            Id::ED25519 => Ok(Self::Ed25519),
            Id::RSA_PSS => Err(SignError::PssKey),
            _ => Err(SignError::KeyKind),
        }
    }

    /// What the content is hashed with.
    pub(crate) fn digest(self) -> MessageDigest {
        match self {
            Self::Rsa | Self::Ecdsa => MessageDigest::sha256(),
            Self::Ed25519 => MessageDigest::sha512(),
        }
    }

    /// AlgorithmIdentifier of the digest.
    pub(super) fn digest_algorithm(self) -> Result<Vec<u8>, ErrorStack> {
        let id = match self {
            Self::Rsa | Self::Ecdsa => ID_SHA256,
            Self::Ed25519 => ID_SHA512,
        };
        Ok(sequence(&[&oid(id)?]))
    }

    /// AlgorithmIdentifier of the signature.
    pub(super) fn algorithm(self) -> Result<Vec<u8>, ErrorStack> {
        Ok(match self {
            // rsaEncryption
            Self::Rsa => sequence(&[&oid("1.2.840.113549.1.1.1")?, &null()]),
            // ecdsa-with-SHA256
            Self::Ecdsa => sequence(&[&oid("1.2.840.10045.4.3.2")?]),
            Self::Ed25519 => sequence(&[&oid("1.3.101.112")?]),
        })
    }

    pub(super) fn digest_of(self, bytes: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        Ok(hash(self.digest(), bytes)?.to_vec())
    }

    /// How a token is asked for such a signature.
    pub(super) fn on_token(self) -> Signing {
        match self {
            Self::Rsa => Signing::Pkcs1(Hash::Sha256),
            Self::Ecdsa => Signing::Ecdsa(Hash::Sha256),
            Self::Ed25519 => Signing::Ed25519,
        }
    }
}
