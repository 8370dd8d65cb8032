//! A private key that stays on its token.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use cryptoki::session::Session;
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::hash::{MessageDigest, hash};

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
}

/// How to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// RSA, PKCS #1 v1.5.
    Pkcs1(Hash),
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
            Self::Pkcs1(_) => KeyKind::Rsa,
            Self::Ecdsa(_) => KeyKind::Ec,
            Self::Ed25519 => KeyKind::Edwards,
        }
    }
}

impl Hash {
    fn of(self, bytes: &[u8]) -> Result<Vec<u8>, TokenError> {
        let digest = match self {
            Self::Sha256 => MessageDigest::sha256(),
        };
        Ok(hash(digest, bytes)?.to_vec())
    }

    /// What stands before the digest in the DigestInfo that PKCS #1 v1.5 pads (RFC 8017, 9.2).
    fn info_prefix(self) -> &'static [u8] {
        match self {
            Self::Sha256 => {
                b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
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
            Signing::Pkcs1(_) | Signing::Ed25519 => Ok(value),
            Signing::Ecdsa(_) => ecdsa_der(&value),
        }
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
