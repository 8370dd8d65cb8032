//! The private key: in memory, or on a token.

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private, Public};
use openssl::sign::Signer;
use token_key::TokenKey;

use super::SignError;
use super::scheme::Scheme;

/// Something that signs.
pub(super) enum SigningKey {
    Pem(PKey<Private>),
    Token(TokenKey),
}

impl SigningKey {
    /// The value of a signature over `bytes`.
    pub(super) fn sign(&self, scheme: Scheme, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Token(key) => Ok(key.sign(scheme.on_token(), bytes)?),
            Self::Pem(key) => {
                let mut signer = match one_step(scheme) {
                    Some(digest) => Signer::new(digest, key)?,
                    None => Signer::new_without_digest(key)?,
                };
                Ok(signer.sign_oneshot_to_vec(bytes)?)
            }
        }
    }

    /// Whether it is the other half of `public`.
    pub(super) fn belongs_to(&self, public: &PKey<Public>) -> Result<bool, SignError> {
        match self {
            Self::Pem(key) => Ok(public.public_eq(key)),
            Self::Token(key) => {
                let how = Scheme::of(public)?.on_token();
                Ok(key.belongs_to(public, how)?)
            }
        }
    }
}

/// The digest that hashing and signing in one step takes; Ed25519 hashes by itself.
fn one_step(scheme: Scheme) -> Option<MessageDigest> {
    match scheme {
        Scheme::Rsa | Scheme::Ecdsa => Some(scheme.digest()),
        Scheme::Ed25519 => None,
    }
}
