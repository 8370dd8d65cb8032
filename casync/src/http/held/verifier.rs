//! Who the server is: by OpenSSL, as everywhere else.

use std::net::IpAddr;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509CheckFlags, X509VerifyParam};
use openssl::x509::{X509, X509PurposeId, X509StoreContext};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::super::settings::Servers;

/// What keys and digests of a server's chain have to be worth: 112 bits, OpenSSL's level 2, which is what
/// Debian's asks for in TLS.
const SECURITY_LEVEL: i32 = 2;

/// Checks servers.
#[derive(Debug)]
pub(super) struct ServerCheck {
    provider: Arc<CryptoProvider>,
    /// In place of those that the system trusts.
    authorities: Option<Vec<X509>>,
    servers: Servers,
}

impl ServerCheck {
    pub(super) fn new(
        provider: Arc<CryptoProvider>,
        authorities: Option<Vec<Vec<u8>>>,
        servers: Servers,
    ) -> Result<Self, ErrorStack> {
        let read = |all: Vec<Vec<u8>>| all.iter().map(|der| X509::from_der(der)).collect();
        Ok(Self {
            provider,
            authorities: authorities.map(read).transpose()?,
            servers,
        })
    }

    /// Whom to trust for a server of this name.
    fn store(&self, name: &ServerName<'_>) -> Result<X509Store, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        match &self.authorities {
            None => store.set_default_paths()?,
            Some(all) => {
                for authority in all {
                    store.add_cert(authority.clone())?;
                }
            }
        }
        let mut parameters = X509VerifyParam::new()?;
        parameters.set_purpose(X509PurposeId::SSL_SERVER)?;
        parameters.set_auth_level(SECURITY_LEVEL);
        parameters.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
        match name {
            ServerName::IpAddress(ip) => parameters.set_ip(IpAddr::from(*ip))?,
            name => parameters.set_host(&name.to_str())?,
        }
        store.set_param(&parameters)?;
        Ok(store.build())
    }

    /// What is wrong with a server's certificate, if anything is.
    fn objection(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Result<Option<String>, ErrorStack> {
        let certificate = X509::from_der(certificate)?;
        let mut chain = Stack::new()?;
        for other in others {
            chain.push(X509::from_der(other)?)?;
        }
        let store = self.store(name)?;
        let mut context = X509StoreContext::new()?;
        context.init(&store, &certificate, &chain, |context| {
            Ok(match context.verify_cert()? {
                true => None,
                false => Some(context.error().error_string().to_owned()),
            })
        })
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.servers == Servers::Unverified {
            return Ok(ServerCertVerified::assertion());
        }
        let refused =
            |why: &str| Error::General(format!("the server's certificate is refused: {why}"));
        match self.objection(certificate, others, name) {
            Ok(None) => Ok(ServerCertVerified::assertion()),
            Ok(Some(why)) => Err(refused(&why)),
            Err(error) => Err(refused(&error.to_string())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}
