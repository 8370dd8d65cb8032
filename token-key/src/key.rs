//! A private key that stays on its token.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use cryptoki::session::Session;
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{PKey, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};

use crate::access::TokenAccess;
use crate::error::TokenError;
use crate::token::Token;
use crate::uri::{Kind, Uri};

/// A private key that stays on its token.
pub struct TokenKey {
    // A session does one thing at a time.
    session: Mutex<Session>,
    pub(crate) handle: ObjectHandle,
    kind: Option<KeyKind>,
}

/// Kinds of keys that are of use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// A curve of Weierstrass form: P-256 and its relatives.
    Ec,
    /// Ed25519.
    Edwards,
}

/// What is hashed with before the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// RSA, PKCS #1 v1.5.
    Pkcs1(Hash),
    /// RSA, PSS with a salt as long as the digest.
    Pss(Hash),
    /// ECDSA.
    Ecdsa(Hash),
    /// Ed25519, which hashes by itself.
    Ed25519,
}

impl Signing {
    /// The kind of key that signs so.
    #[must_use]
    pub fn key_kind(self) -> KeyKind {
        match self {
            Self::Pkcs1(_) | Self::Pss(_) => KeyKind::Rsa,
            Self::Ecdsa(_) => KeyKind::Ec,
            Self::Ed25519 => KeyKind::Edwards,
        }
    }
}

impl Hash {
    fn of(self, bytes: &[u8]) -> Result<Vec<u8>, TokenError> {
        Ok(hash(self.digest(), bytes)?.to_vec())
    }

    fn digest(self) -> MessageDigest {
        match self {
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }

    /// PSS in the form that TLS 1.3 demands.
    fn pss(self) -> PkcsPssParams {
        let (hash_alg, mgf, len) = match self {
            Self::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32_u64),
            Self::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
            Self::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
        };
        PkcsPssParams {
            hash_alg,
            mgf,
            s_len: len.into(),
        }
    }

    /// What stands before the digest in the DigestInfo that PKCS #1 v1.5 pads (RFC 8017, 9.2).
    fn info_prefix(self) -> &'static [u8] {
        match self {
            Self::Sha256 => {
                b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
            }
            Self::Sha384 => {
                b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"
            }
            Self::Sha512 => {
                b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"
            }
        }
    }
}

impl TokenKey {
    /// Finds the key, and logs in.
    ///
    /// # Errors
    /// No module, no token, a wrong PIN, or not exactly one key that fits.
    pub fn open(uri: &Uri, access: &TokenAccess) -> Result<Self, TokenError> {
        let token = Token::open(uri, access, Kind::PrivateKey)?;
        let handle = token.object(uri, Kind::PrivateKey)?;
        let kind = match token.attribute(handle, AttributeType::KeyType)? {
            Some(Attribute::KeyType(kind)) => KeyKind::of(kind),
            _ => None,
        };
        let session = Mutex::new(token.into_session());
        Ok(Self {
            session,
            handle,
            kind,
        })
    }

    /// Its kind; `None` for one that is of no use here. Tokens do not fail well when a key is asked
    /// for what keys of its kind cannot do.
    #[must_use]
    pub fn kind(&self) -> Option<KeyKind> {
        self.kind
    }

    /// The session, for one operation.
    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is the other half of `public`. Tokens need not show the public half of a private key:
    /// it has to sign, in the way that it is going to.
    ///
    /// # Errors
    /// The token does not want to.
    pub fn belongs_to(&self, public: &PKey<Public>, how: Signing) -> Result<bool, TokenError> {
        if self.kind != Some(how.key_kind()) {
            return Ok(false);
        }
        let value = self.sign(how, QUESTION)?;
        Ok(how.verify(public, &value, QUESTION)?)
    }

    /// Signs `bytes`; the value is in the form that OpenSSL gives for the same.
    ///
    /// # Errors
    /// The token does not want to.
    pub fn sign(&self, how: Signing, bytes: &[u8]) -> Result<Vec<u8>, TokenError> {
        let (mechanism, input) = match how {
            // The form that every token knows: padding by the token, digest and its header by us.
            Signing::Pkcs1(hash) => {
                let info = [hash.info_prefix(), &hash.of(bytes)?].concat();
                (Mechanism::RsaPkcs, info)
            }
            Signing::Pss(hash) => (Mechanism::RsaPkcsPss(hash.pss()), hash.of(bytes)?),
            Signing::Ecdsa(hash) => (Mechanism::Ecdsa, hash.of(bytes)?),
            Signing::Ed25519 => {
                let parameters = EddsaParams::new(EddsaSignatureScheme::Pure);
                (Mechanism::Eddsa(parameters), bytes.to_vec())
            }
        };
        let signed = self.session().sign(&mechanism, self.handle, &input);
        let value = signed.map_err(|source| TokenError::Refused {
            what: "sign with this key",
            source,
        })?;
        match how {
            Signing::Pkcs1(_) | Signing::Pss(_) | Signing::Ed25519 => Ok(value),
            Signing::Ecdsa(_) => ecdsa_der(&value),
        }
    }
}

impl Signing {
    /// Whether `value` is such a signature over `bytes`.
    fn verify(self, public: &PKey<Public>, value: &[u8], bytes: &[u8]) -> Result<bool, ErrorStack> {
        let mut verifier = match self {
            Self::Pkcs1(hash) | Self::Pss(hash) | Self::Ecdsa(hash) => {
                Verifier::new(hash.digest(), public)?
            }
            Self::Ed25519 => Verifier::new_without_digest(public)?,
        };
        if let Self::Pss(_) = self {
            verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
            verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
        // A value that cannot even be parsed is of another key as well.
        Ok(verifier.verify_oneshot(value, bytes).unwrap_or(false))
    }
}

impl KeyKind {
    fn of(kind: KeyType) -> Option<Self> {
        match kind {
            KeyType::RSA => Some(Self::Rsa),
            KeyType::EC => Some(Self::Ec),
            KeyType::EC_EDWARDS => Some(Self::Edwards),
            _ => None,
        }
    }
}

/// Signed to find out whether a key belongs to a certificate. Nothing that is ever signed for a bundle or
/// by TLS starts like this.
const QUESTION: &[u8] = b"slotmgr: does this key belong to the certificate?";

/// Tokens give the two numbers of an ECDSA signature one after the other.
fn ecdsa_der(value: &[u8]) -> Result<Vec<u8>, TokenError> {
    if value.is_empty() || !value.len().is_multiple_of(2) {
        return Err(TokenError::Signature { len: value.len() });
    }
    let (r, s) = value.split_at(value.len() / 2);
    let (r, s) = (BigNum::from_slice(r)?, BigNum::from_slice(s)?);
    Ok(EcdsaSig::from_private_components(r, s)?.to_der()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_become_der() {
        assert_eq!(
            ecdsa_der(&[0, 1, 0x80, 2]).unwrap(),
            [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 2]
        );
        for wrong in [&[][..], &[1, 2, 3]] {
            assert!(matches!(
                ecdsa_der(wrong),
                Err(TokenError::Signature { .. })
            ));
        }
    }
}
