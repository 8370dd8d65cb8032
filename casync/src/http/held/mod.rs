//! TLS with a client's key that is not given away: a key on a token.
//!
//! OpenSSL's TLS, as we can reach it, wants the key in memory. `rustls` asks for a signature instead,
//! and so it speaks TLS for such clients, and for no others. All cryptography and all that is
//! checked of the server's certificate remain OpenSSL's (docs/adr/0012).

mod connector;
mod signer;
mod verifier;

use std::error::Error;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use thiserror::Error;

pub(super) use connector::{Handshake, HeldTls};

use super::settings::Servers;
use verifier::ServerCheck;

/// Why nothing was signed.
pub type SigningError = Box<dyn Error + Send + Sync>;

/// The private key of this machine's certificate, held by somebody who does not give it away.
pub trait ClientKey: Send + Sync {
    /// The ways to sign that it has, the best one first; all of them of one kind of key.
    fn schemes(&self) -> &[TlsSignature];

    /// Signs a message, which has not been hashed yet.
    ///
    /// # Errors
    /// The holder does not want to. The text is shown to people.
    fn sign(&self, scheme: TlsSignature, message: &[u8]) -> Result<Vec<u8>, SigningError>;
}

/// The ways to sign that TLS 1.2 and 1.3 have, as far as they are used here. TLS 1.3 does not take PKCS #1 v1.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsSignature {
    /// RSA with PSS, SHA-256, and a salt as long as the digest.
    PssSha256,
    /// The same with SHA-384.
    PssSha384,
    /// The same with SHA-512.
    PssSha512,
    /// RSA with PKCS #1 v1.5, SHA-256.
    Pkcs1Sha256,
    /// The same with SHA-384.
    Pkcs1Sha384,
    /// The same with SHA-512.
    Pkcs1Sha512,
    /// ECDSA on P-256, SHA-256; the value in DER.
    EcdsaP256,
    /// ECDSA on P-384, SHA-384.
    EcdsaP384,
    /// ECDSA on P-521, SHA-512.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
}

/// Settings that `rustls` makes nothing of.
#[derive(Debug, Error)]
pub enum HeldError {
    /// It cannot be set up.
    #[error("TLS with a key on a token cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The authorities cannot be used.
    #[error("OpenSSL cannot use the certificates of the authorities")]
    OpenSsl(#[from] openssl::error::ErrorStack),
}

/// What every connection of a client is made by; everything is DER.
pub(super) fn configuration(
    chain: Vec<Vec<u8>>,
    key: Arc<dyn ClientKey>,
    authorities: Option<Vec<Vec<u8>>>,
    servers: Servers,
) -> Result<Arc<ClientConfig>, HeldError> {
    let provider = Arc::new(rustls_openssl::default_provider());
    let check = ServerCheck::new(Arc::clone(&provider), authorities, servers)?;
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let certified = CertifiedKey::new(chain, Arc::new(signer::Holder(key)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(check))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    // Connections are kept open anyway, and a session that is resumed is one more thing to get right.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
