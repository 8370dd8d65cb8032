//! How web servers are asked: certificates, headers, rate.

use std::io;
use std::num::NonZeroU64;

use casync::http::{
    Client, Header, Patience, Proxy, Servers, Settings, SettingsError, Tls, header, headers,
};

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
    /// On a token.
    #[error(
        "{what} is on a token (`pkcs11:`): this version of slotmgr takes keys and certificates for HTTPS from files only"
    )]
    Token {
        /// `tls-cert`, …
        what: &'static str,
    },
    /// What they hold.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl Access<'_> {
    /// A client that asks so.
    ///
    /// # Errors
    /// A file is missing or holds something else.
    pub fn client(&self) -> Result<Client, AccessError> {
        let (asked, streaming) = (self.asked, self.streaming);
        let authorities = asked.tls_ca.as_ref().or(streaming.tls_ca.as_ref());
        let certificate = asked.tls_cert.as_ref().or(streaming.tls_cert.as_ref());
        let key = asked.tls_key.as_ref().or(streaming.tls_key.as_ref());
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                Some((pem("tls-cert", certificate)?, pem("tls-key", key)?))
            }
            (None, None) => None,
            (Some(_), None) => return Err(AccessError::Half("tls-key")),
            (None, Some(_)) => return Err(AccessError::Half("tls-cert")),
        };
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

fn pem(what: &'static str, path: &str) -> Result<Vec<u8>, AccessError> {
    if path.starts_with("pkcs11:") {
        return Err(AccessError::Token { what });
    }
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
    fn half_an_identity_and_tokens_are_refused() {
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
        let token = client(Some("pkcs11:object=a"), Some("/x")).unwrap();
        assert!(token.contains("on a token"), "{token}");
    }
}
