//! How web servers are asked: certificates, headers, rate.

use std::io;
use std::num::NonZeroU64;
use std::path::Path;
#[cfg(feature = "tls-token")]
use std::sync::Arc;

use casync::http::{
    Client, Header, Identity, Patience, Proxy, Servers, Settings, SettingsError, Tls, header,
    headers,
};

#[cfg(feature = "tls-token")]
use openssl::x509::X509;
use token_key::{TokenAccess, TokenError, Uri};

#[cfg(feature = "tls-token")]
use super::token::{TokenClient, TokenClientError};
use crate::config::{InfoHeader, Streaming};
use crate::install::Environment;
use crate::service::Origin;

/// What headers of a system-info handler begin with.
const OWN_HEADER: &str = "RAUC_HTTP_";

/// How web servers are asked.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// What the caller said; it counts more than the configuration.
    pub asked: &'a Origin,
    /// `[streaming]`
    pub streaming: &'a Streaming,
    /// Bytes per second.
    pub rate: Option<NonZeroU64>,
    /// `http_proxy` and its relatives in the environment.
    pub proxy: Option<Proxy>,
    /// How tokens are reached.
    pub token: &'a TokenAccess,
}

/// Why web servers cannot be asked in the way that is wanted.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A certificate or key that is not there.
    #[error("cannot read {what} {path}")]
    Read {
        /// `tls-cert`, …
        what: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Only one of two.
    #[error(
        "a certificate of this machine (tls-cert) and its key (tls-key) need each other: {0} is missing"
    )]
    Half(&'static str),
    /// A caller names a library that this process would load.
    #[error(
        "{what} names a module (module-path): only system.conf may, or RAUC_PKCS11_MODULE in the environment of the service"
    )]
    Module {
        /// `tls-cert` or `tls-key`.
        what: &'static str,
    },
    /// On a token that cannot be used.
    #[error("{what} cannot be used")]
    Token {
        /// `tls-cert` or `tls-key`.
        what: &'static str,
        /// Why.
        #[source]
        source: TokenError,
    },
    /// Something else than a certificate.
    #[error("tls-cert cannot be used")]
    Certificate(#[from] openssl::error::ErrorStack),
    /// The key, on a token.
    #[cfg(feature = "tls-token")]
    #[error("tls-key cannot be used")]
    Key(#[from] TokenClientError),
    /// This program was made without.
    #[cfg(not(feature = "tls-token"))]
    #[error(
        "tls-key is on a token (`pkcs11:`): this slotmgr was made without the feature tls-token"
    )]
    NotBuilt,
    /// What they hold.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Who said something.
#[derive(Clone, Copy)]
enum From {
    Caller,
    Configuration,
}

impl Access<'_> {
    /// Who this machine is. Tokens are asked here, before any server is.
    fn identity(&self) -> Result<Option<Identity>, AccessError> {
        let (asked, streaming) = (self.asked, self.streaming);
        let certificate = place(&asked.tls_cert, &streaming.tls_cert);
        let key = place(&asked.tls_key, &streaming.tls_key);
        let (certificate, key) = match (certificate, key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(AccessError::Half("tls-key")),
            (None, Some(_)) => return Err(AccessError::Half("tls-cert")),
        };
        let chain = match uri("tls-cert", certificate)? {
            None => pem("tls-cert", certificate.0)?,
            Some(uri) => {
                let what = "tls-cert";
                token_key::certificate(&uri, self.token)
                    .map_err(|source| AccessError::Token { what, source })?
                    .to_pem()?
            }
        };
        Ok(Some(match uri("tls-key", key)? {
            None => {
                let key = pem("tls-key", key.0)?;
                Identity::Pem { chain, key }
            }
            Some(uri) => self.held(chain, &uri)?,
        }))
    }

    #[cfg(feature = "tls-token")]
    fn held(&self, chain: Vec<u8>, uri: &Uri) -> Result<Identity, AccessError> {
        let certificate = X509::from_pem(&chain)?;
        let key = Arc::new(TokenClient::open(uri, self.token, &certificate)?);
        Ok(Identity::Held { chain, key })
    }

    #[cfg(not(feature = "tls-token"))]
    fn held(&self, _chain: Vec<u8>, _uri: &Uri) -> Result<Identity, AccessError> {
        Err(AccessError::NotBuilt)
    }

    /// A client that asks so.
    ///
    /// # Errors
    /// A file is missing or holds something else.
    pub fn client(&self) -> Result<Client, AccessError> {
        let (asked, streaming) = (self.asked, self.streaming);
        let authorities = asked.tls_ca.as_ref().or(streaming.tls_ca.as_ref());
        let identity = self.identity()?;
        Ok(Client::new(Settings {
            patience: Patience::default(),
            headers: headers(&asked.headers)?,
            tls: Tls {
                authorities: authorities.map(|path| pem("tls-ca", path)).transpose()?,
                identity,
                servers: match asked.tls_no_verify {
                    true => Servers::Unverified,
                    false => Servers::Verified,
                },
            },
            proxy: self.proxy.clone(),
            rate: self.rate,
            ..Settings::default()
        })?)
    }
}

/// What the caller said counts more than the configuration.
fn place<'p>(asked: &'p Option<String>, own: &'p Option<String>) -> Option<(&'p str, From)> {
    let asked = asked.as_deref().map(|asked| (asked, From::Caller));
    asked.or(own.as_deref().map(|own| (own, From::Configuration)))
}

/// The `pkcs11:` URI that stands in place of a file's name. What a caller says may come from somebody who
/// is not root, over the bus: it must not have a library loaded into a process that is.
fn uri(what: &'static str, (place, from): (&str, From)) -> Result<Option<Uri>, AccessError> {
    let uri = Uri::of(Path::new(place)).map_err(|source| AccessError::Token { what, source })?;
    match (&uri, from) {
        (Some(uri), From::Caller) if uri.names_module() => Err(AccessError::Module { what }),
        _ => Ok(uri),
    }
}

fn pem(what: &'static str, path: &str) -> Result<Vec<u8>, AccessError> {
    std::fs::read(path).map_err(|source| AccessError::Read {
        what,
        path: path.to_owned(),
        source,
    })
}

/// What a machine tells of itself with the first request of an installation: what `send-headers`
/// names, as far as `known` has it, and what its system-info handler wants to be sent.
pub fn info_headers(
    wanted: &[InfoHeader],
    facts: &Environment,
    known: &dyn Fn(InfoHeader) -> Option<String>,
) -> Vec<Header> {
    let listed = wanted.iter().filter_map(|info| {
        let name = format!("RAUC-{}", info.name());
        header(&name, &known(*info)?)
    });
    let own = facts.iter().filter_map(|(name, value)| {
        let rest = name.strip_prefix(OWN_HEADER)?;
        header(&format!("RAUC-{}", rest.replace('_', "-")), value)
    });
    listed.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_raucs() {
        let facts = vec![
            ("RAUC_HTTP_FOO_BAR".to_owned(), "x".to_owned()),
            ("RAUC_SYSTEM_SERIAL".to_owned(), "7".to_owned()),
        ];
        let known = |info: InfoHeader| (info != InfoHeader::Serial).then(|| info.name().to_owned());
        let wanted = [InfoHeader::BootId, InfoHeader::Serial, InfoHeader::Uptime];
        let headers = info_headers(&wanted, &facts, &known);
        let texts: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            texts,
            [
                "rauc-boot-id: boot-id",
                "rauc-uptime: uptime",
                "rauc-foo-bar: x"
            ]
        );
    }

    #[test]
    fn half_an_identity_and_a_callers_module_are_refused() {
        let client = |cert: Option<&str>, key: Option<&str>| {
            let asked = Origin {
                tls_cert: cert.map(str::to_owned),
                tls_key: key.map(str::to_owned),
                ..Origin::default()
            };
            let streaming = Streaming::default();
            let access = Access {
                asked: &asked,
                streaming: &streaming,
                rate: None,
                proxy: None,
                token: &TokenAccess::default(),
            };
            access.client().err().map(|error| error.to_string())
        };
        assert_eq!(client(None, None), None);
        assert!(
            client(Some("/x"), None)
                .unwrap()
                .contains("tls-key is missing")
        );
        assert!(
            client(Some("/x"), Some("/x"))
                .unwrap()
                .contains("tls-cert /x")
        );
        let token = client(Some("pkcs11:object=a?module-path=/tmp/evil.so"), Some("/x"));
        assert!(token.unwrap().contains("only system.conf may"));
    }
}
