//! The private key: in memory, or on a token.

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private, Public};
use openssl::sign::{Signer, Verifier};
use token_key::TokenKey;

use super::SignError;
use super::scheme::Scheme;

/// Signed to find out whether a key belongs to a certificate. No structure that is ever signed for
/// a bundle starts like this.
const QUESTION: &[u8] = b"slotmgr: does this key belong to the certificate?";

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
            // Tokens need not show the public half of a private key; they have to sign.
            Self::Token(key) => {
                let scheme = Scheme::of(public)?;
                if key.kind() != Some(scheme.on_token().key_kind()) {
                    return Ok(false);
                }
                let value = self.sign(scheme, QUESTION)?;
                let mut verifier = match one_step(scheme) {
                    Some(digest) => Verifier::new(digest, public)?,
                    None => Verifier::new_without_digest(public)?,
                };
                // A value that cannot even be parsed is of another key as well.
                Ok(verifier.verify_oneshot(&value, QUESTION).unwrap_or(false))
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
