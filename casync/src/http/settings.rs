//! What a client is told once, for all of its requests.

use std::num::NonZeroU64;
use std::sync::Arc;

use openssl::pkey::PKey;
use thiserror::Error;
use ureq::config::ConfigBuilder;
use ureq::http::{HeaderName, HeaderValue};
use ureq::tls::parse_pem;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::typestate::AgentScope;
#[cfg(feature = "held-key")]
use ureq::unversioned::resolver::DefaultResolver;
#[cfg(feature = "held-key")]
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector};
use ureq::{Agent, Proxy};

#[cfg(feature = "held-key")]
use super::held::{self, ClientKey, HeldError, HeldTls};
use super::patience::{Patience, SystemWait, Wait};

/// What certificates are read from, for people.
const AUTHORITIES: &str = "the file of authorities";
const CLIENT: &str = "the client's certificate";

/// A header: its name and its value, which no `Debug` shows.
pub type Header = (HeaderName, HeaderValue);

/// What a client is told once, for all of its requests.
#[derive(Clone)]
pub struct Settings {
    /// How long to wait for what.
    pub patience: Patience,
    /// The clock.
    pub wait: Arc<dyn Wait>,
    /// Sent with every request to the server that is asked, and not to others that it redirects to.
    pub headers: Vec<Header>,
    /// How servers and this machine prove who they are.
    pub tls: Tls,
    /// The proxy that is between.
    pub proxy: Option<Proxy>,
    /// Bytes per second that are taken at most, by all requests together.
    pub rate: Option<NonZeroU64>,
}

impl Default for Settings {
    /// The system's clock and certificates, no headers, no proxy, no limit.
    fn default() -> Self {
        Self {
            patience: Patience::default(),
            wait: Arc::new(SystemWait),
            headers: Vec::new(),
            tls: Tls::default(),
            proxy: None,
            rate: None,
        }
    }
}

/// How servers and this machine prove who they are. Everything is PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// Who may vouch for servers, in place of those that the system trusts.
    pub authorities: Option<Vec<u8>>,
    /// Who this machine is.
    pub identity: Option<Identity>,
    /// Whether servers have to prove anything.
    pub servers: Servers,
}

/// The certificate of this machine, with those between it and its authority, and its key.
#[derive(Clone)]
pub enum Identity {
    /// Both are known.
    Pem {
        /// The certificates.
        chain: Vec<u8>,
        /// The key.
        key: Vec<u8>,
    },
    /// The key is not given away.
    #[cfg(feature = "held-key")]
    Held {
        /// The certificates.
        chain: Vec<u8>,
        /// Who signs.
        key: Arc<dyn ClientKey>,
    },
}

/// Whether servers have to prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Servers {
    /// They have to.
    #[default]
    Verified,
    /// Anybody may say that he is the server: what is fetched has to be signed, and nothing secret
    /// may be sent.
    Unverified,
}

/// Settings that no client can be made of.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A line that is no header. It is not repeated: it may hold a secret.
    #[error("header number {0} is no `Name: value`")]
    Header(usize),
    /// No certificate where one must be.
    #[error("there is no certificate in PEM form in {0}")]
    Certificate(&'static str),
    /// No key, or one that needs a pass phrase.
    #[error("there is no private key in PEM form, or it needs a pass phrase")]
    Key(#[from] openssl::error::ErrorStack),
    /// OpenSSL knows the key, TLS does not.
    #[error("the private key is of a kind that TLS does not use here")]
    KeyKind,
    /// A proxy that is reached in another way than by plain HTTP: `ureq` would take its TLS for the
    /// server's, and send the request readable to the proxy, or go round it.
    #[error(
        "a proxy is asked by http here, and this one is named with {0}://: name it with http://"
    )]
    Proxy(String),
    /// TLS with a key that somebody holds.
    #[cfg(feature = "held-key")]
    #[error(transparent)]
    Held(#[from] HeldError),
}

/// Headers out of lines, each `Name: value`.
pub fn headers<T: AsRef<str>>(
    lines: impl IntoIterator<Item = T>,
) -> Result<Vec<Header>, SettingsError> {
    let lines = lines.into_iter().zip(1..);
    let headers = lines.map(|(line, number)| {
        let wrong = || SettingsError::Header(number);
        let (name, value) = line.as_ref().split_once(':').ok_or_else(wrong)?;
        header(name.trim(), value.trim()).ok_or_else(wrong)
    });
    headers.collect()
}

/// One header; `None` if it cannot be sent.
#[must_use]
pub fn header(name: &str, value: &str) -> Option<Header> {
    let name = HeaderName::try_from(name).ok()?;
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

impl Tls {
    /// The agent that asks, with everything else that it is told.
    pub(super) fn agent(&self, config: ConfigBuilder<AgentScope>) -> Result<Agent, SettingsError> {
        match &self.identity {
            None => Ok(config.tls_config(self.config(None)?).build().new_agent()),
            Some(Identity::Pem { chain, key }) => {
                let tls = self.config(Some((chain, key)))?;
                Ok(config.tls_config(tls).build().new_agent())
            }
            #[cfg(feature = "held-key")]
            Some(Identity::Held { chain, key }) => {
                let connector = self.held(chain, key)?;
                let resolver = DefaultResolver::default();
                Ok(Agent::with_parts(config.build(), connector, resolver))
            }
        }
    }

    /// What makes connections when somebody else has the key. The proxy comes before TLS, as it does
    /// in `ureq`'s own.
    #[cfg(feature = "held-key")]
    fn held(
        &self,
        chain: &[u8],
        key: &Arc<dyn ClientKey>,
    ) -> Result<impl Connector, SettingsError> {
        let der = |all: Vec<Certificate<'static>>| -> Vec<Vec<u8>> {
            all.iter().map(|one| one.der().to_vec()).collect()
        };
        let chain = der(certificates(chain, CLIENT)?);
        let authorities = match &self.authorities {
            Some(pem) => Some(der(certificates(pem, AUTHORITIES)?)),
            None => None,
        };
        let config = held::configuration(chain, Arc::clone(key), authorities, self.servers)?;
        Ok(ConnectProxyConnector::default()
            .chain(TcpConnector::default())
            .chain(HeldTls(config)))
    }

    fn config(&self, identity: Option<(&[u8], &[u8])>) -> Result<TlsConfig, SettingsError> {
        let roots = match &self.authorities {
            None => RootCerts::PlatformVerifier,
            Some(pem) => RootCerts::new_with_certs(&certificates(pem, AUTHORITIES)?),
        };
        let identity = identity.map(|(chain, key)| {
            let chain = certificates(chain, CLIENT)?;
            // In PKCS#8 whatever it was in: the TLS library takes no other.
            let pkcs8 =
                PKey::private_key_from_pem_callback(key, |_| Ok(0))?.private_key_to_pem_pkcs8()?;
            let key = PrivateKey::from_pem(&pkcs8).map_err(|_| SettingsError::KeyKind)?;
            Ok::<_, SettingsError>(ClientCert::new_with_certs(&chain, key))
        });
        Ok(TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(roots)
            .client_cert(identity.transpose()?)
            .disable_verification(self.servers == Servers::Unverified)
            .build())
    }
}

fn certificates(
    pem: &[u8],
    place: &'static str,
) -> Result<Vec<Certificate<'static>>, SettingsError> {
    let items = parse_pem(pem).map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Ok(Some(certificate)),
        // A key may stand beside it.
        Ok(_) => Ok(None),
        Err(_) => Err(SettingsError::Certificate(place)),
    });
    let found: Vec<_> = items
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    match found.is_empty() {
        true => Err(SettingsError::Certificate(place)),
        false => Ok(found),
    }
}
