//! The key of this machine's TLS certificate, on a token.

use casync::http::{ClientKey, SigningError, TlsSignature};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::x509::X509;
use token_key::{Hash, Signing, TokenAccess, TokenError, TokenKey, Uri};

/// With RSA, what TLS 1.3 takes comes first.
const PSS: [TlsSignature; 6] = [
    TlsSignature::PssSha256,
    TlsSignature::PssSha384,
    TlsSignature::PssSha512,
    TlsSignature::Pkcs1Sha256,
    TlsSignature::Pkcs1Sha384,
    TlsSignature::Pkcs1Sha512,
];

/// Why such a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenClientError {
    /// Token, PIN or key.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Of another kind.
    #[error(
        "the certificate is for a kind of key that TLS does not use here: RSA, P-256, P-384, P-521 and Ed25519 are"
    )]
    Kind,
    /// Key and certificate are strangers.
    #[error("the key {key} does not belong to the certificate (tls-cert)")]
    Mismatch {
        /// Without a PIN.
        key: String,
    },
    /// OpenSSL fails.
    #[error("OpenSSL failed")]
    OpenSsl(#[from] openssl::error::ErrorStack),
}

/// A key on a token, for TLS.
pub(super) struct TokenClient {
    key: TokenKey,
    schemes: &'static [TlsSignature],
}

impl TokenClient {
    /// Logs in, and makes sure that the key is the certificate's: before anybody is asked for anything.
    pub(super) fn open(
        uri: &Uri,
        access: &TokenAccess,
        certificate: &X509,
    ) -> Result<Self, TokenClientError> {
        let public = certificate.public_key()?;
        let schemes = schemes(&public)?;
        let key = TokenKey::open(uri, access)?;
        let Some(first) = schemes.first() else {
            return Err(TokenClientError::Kind);
        };
        if !key.belongs_to(&public, signing(*first))? {
            let key = uri.to_string();
            return Err(TokenClientError::Mismatch { key });
        }
        Ok(Self { key, schemes })
    }
}

impl ClientKey for TokenClient {
    fn schemes(&self) -> &[TlsSignature] {
        self.schemes
    }

    fn sign(&self, scheme: TlsSignature, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        Ok(self.key.sign(signing(scheme), message)?)
    }
}

/// How a key signs in TLS.
fn schemes(public: &PKey<Public>) -> Result<&'static [TlsSignature], TokenClientError> {
    match public.id() {
        Id::RSA => Ok(&PSS),
        Id::ED25519 => Ok(&[TlsSignature::Ed25519]),
        Id::EC => match public.ec_key()?.group().curve_name() {
            Some(Nid::X9_62_PRIME256V1) => Ok(&[TlsSignature::EcdsaP256]),
            Some(Nid::SECP384R1) => Ok(&[TlsSignature::EcdsaP384]),
            Some(Nid::SECP521R1) => Ok(&[TlsSignature::EcdsaP521]),
            _ => Err(TokenClientError::Kind),
        },
        _ => Err(TokenClientError::Kind),
    }
}

fn signing(scheme: TlsSignature) -> Signing {
    match scheme {
        TlsSignature::PssSha256 => Signing::Pss(Hash::Sha256),
        TlsSignature::PssSha384 => Signing::Pss(Hash::Sha384),
        TlsSignature::PssSha512 => Signing::Pss(Hash::Sha512),
        TlsSignature::Pkcs1Sha256 => Signing::Pkcs1(Hash::Sha256),
        TlsSignature::Pkcs1Sha384 => Signing::Pkcs1(Hash::Sha384),
        TlsSignature::Pkcs1Sha512 => Signing::Pkcs1(Hash::Sha512),
        TlsSignature::EcdsaP256 => Signing::Ecdsa(Hash::Sha256),
        TlsSignature::EcdsaP384 => Signing::Ecdsa(Hash::Sha384),
        TlsSignature::EcdsaP521 => Signing::Ecdsa(Hash::Sha512),
        TlsSignature::Ed25519 => Signing::Ed25519,
    }
}
