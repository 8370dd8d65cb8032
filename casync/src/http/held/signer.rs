//! Signatures by the holder of the key, in `rustls`' terms.

use std::fmt;
use std::sync::Arc;

use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

use super::{ClientKey, TlsSignature};
use crate::causes::WithCauses;

impl TlsSignature {
    fn scheme(self) -> SignatureScheme {
        match self {
            Self::PssSha256 => SignatureScheme::RSA_PSS_SHA256,
            Self::PssSha384 => SignatureScheme::RSA_PSS_SHA384,
            Self::PssSha512 => SignatureScheme::RSA_PSS_SHA512,
            Self::Pkcs1Sha256 => SignatureScheme::RSA_PKCS1_SHA256,
            Self::Pkcs1Sha384 => SignatureScheme::RSA_PKCS1_SHA384,
            Self::Pkcs1Sha512 => SignatureScheme::RSA_PKCS1_SHA512,
            Self::EcdsaP256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            Self::EcdsaP384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            Self::EcdsaP521 => SignatureScheme::ECDSA_NISTP521_SHA512,
            Self::Ed25519 => SignatureScheme::ED25519,
        }
    }

    fn algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::PssSha256
            | Self::PssSha384
            | Self::PssSha512
            | Self::Pkcs1Sha256
            | Self::Pkcs1Sha384
            | Self::Pkcs1Sha512 => SignatureAlgorithm::RSA,
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => SignatureAlgorithm::ECDSA,
            Self::Ed25519 => SignatureAlgorithm::ED25519,
        }
    }
}

/// Whoever has the key.
pub(super) struct Holder(pub(super) Arc<dyn ClientKey>);

impl SigningKey for Holder {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut own = self.0.schemes().iter();
        let chosen = own.find(|own| offered.contains(&own.scheme()))?;
        Some(Box::new(Chosen {
            key: Arc::clone(&self.0),
            how: *chosen,
        }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        let first = self.0.schemes().first();
        first.map_or(SignatureAlgorithm::Anonymous, |how| how.algorithm())
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holder({:?})", self.0.schemes())
    }
}

/// The key, and how it signs in this connection.
struct Chosen {
    key: Arc<dyn ClientKey>,
    how: TlsSignature,
}

impl Signer for Chosen {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signed = self.key.sign(self.how, message);
        // A text is all it takes.
        signed.map_err(|error| Error::General(WithCauses(&*error).to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.how.scheme()
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chosen({:?})", self.how)
    }
}
