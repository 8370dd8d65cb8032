//! Addresses: taken apart, followed, and shown without secrets.

use std::fmt;

use thiserror::Error;
use ureq::http::HeaderValue;

/// `http://host/path` or `https://…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// `http` or `https`.
    scheme: String,
    /// `host` or `host:port`, lower case.
    host: String,
    /// From the first `/` on, with the query.
    path: String,
    /// `user:password`, never shown.
    user: Option<String>,
}

/// A text that is no address we read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Another scheme, or none.
    #[error("an address begins with http:// or https://")]
    Scheme,
    /// No host, or what no host has.
    #[error("the address names no host")]
    Host,
    /// White space or control characters.
    #[error("the address has characters that no address has")]
    Characters,
}

impl Address {
    /// Takes an address apart.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AddressError::Characters);
        }
        // A fragment is the reader's, not the server's.
        let text = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(AddressError::Scheme);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let (user, host) = match host.rsplit_once('@') {
            Some((user, host)) => (Some(unescaped(user)), host),
            None => (None, host),
        };
        if host.is_empty() {
            return Err(AddressError::Host);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            path: format!("{slash}{path}"),
            user,
        })
    }

    /// The address of `name` in the directory that this is the address of. A query stays behind it.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (self.path.as_str(), String::new()),
        };
        Self {
            path: format!("{}/{name}{query}", path.trim_end_matches('/')),
            ..self.clone()
        }
    }

    /// The same place with `end` in place of `instead_of` at the end of its name; behind it if it does
    /// not end so.
    #[must_use]
    pub fn with_end(&self, instead_of: &str, end: &str) -> Self {
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (self.path.as_str(), String::new()),
        };
        let stem = path.strip_suffix(instead_of).unwrap_or(path);
        Self {
            path: format!("{stem}{end}{query}"),
            ..self.clone()
        }
    }

    /// Where a `Location` leads to from here. A secure connection is never left for an open one.
    pub(super) fn follow(&self, location: &str) -> Option<Self> {
        let next = if location.contains("://") {
            Self::parse(location).ok()?
        } else if let Some(rest) = location.strip_prefix("//") {
            Self::parse(&format!("{}://{rest}", self.scheme)).ok()?
        } else {
            let directory = || {
                let path = self.path.split('?').next().unwrap_or_default();
                path.rfind('/').map_or("/", |slash| &path[..=slash])
            };
            let base = if location.starts_with('/') {
                ""
            } else {
                directory()
            };
            let text = format!("{}://{}{base}{location}", self.scheme, self.host);
            Self::parse(&text).ok()?
        };
        // Secrets that somebody else puts into an address are not ours to send.
        let next = next.user.is_none().then_some(next)?;
        (self.scheme == "http" || next.scheme == "https").then_some(next)
    }

    /// The header that user and password are sent in.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let user = self.user.as_ref()?;
        let encoded = openssl::base64::encode_block(user.as_bytes());
        let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whether both are of one server: what is secret to one must not go to another.
    #[must_use]
    pub fn same_server(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host == other.host
    }

    /// As it is sent.
    pub(super) fn whole(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.path)
    }
}

/// The bytes that `%41` stands for.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok());
        let escaped = digits.filter(|_| *first == b'%');
        let escaped = escaped.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = &behind[if escaped.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Without user, password and query, which may hold a token.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", self.scheme, self.host)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn what_is_no_address() {
        for (bad, why) in [
            ("ftp://h/a", AddressError::Scheme),
            ("/a/b", AddressError::Scheme),
            ("http:///a", AddressError::Host),
            ("http://h/a\r\nX: y", AddressError::Characters),
        ] {
            assert_eq!(Address::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn names_are_joined_and_queries_are_not_shown() {
        let store = address("HTTPS://Host:8443/a/store/?token=secret#x");
        let chunk = store.join("ab/cd.cacnk");
        assert_eq!(
            chunk.whole(),
            "https://host:8443/a/store/ab/cd.cacnk?token=secret"
        );
        assert_eq!(chunk.to_string(), "https://host:8443/a/store/ab/cd.cacnk");
        assert!(!format!("{chunk:?}").contains("secret"));
        assert_eq!(address("http://h").join("x").whole(), "http://h/x");
        let bundle = address("https://h/a.raucb?token=secret");
        assert_eq!(
            bundle.with_end(".raucb", ".castr").whole(),
            "https://h/a.castr?token=secret"
        );
        assert_eq!(
            address("http://h/a").with_end(".raucb", ".castr").whole(),
            "http://h/a.castr"
        );
    }

    #[test]
    fn user_and_password_are_sent_and_not_shown() {
        let secret = address("https://us%40er:ge%3aheim@host/a");
        assert_eq!(secret.whole(), "https://host/a");
        assert!(!format!("{secret} {secret:?}").contains("heim"));
        // `us@er:ge:heim`
        let sent = secret.join("b").authorization().unwrap();
        assert_eq!(sent.to_str().unwrap(), "Basic dXNAZXI6Z2U6aGVpbQ==");
        assert!(secret.follow("/c").is_some());
        assert_eq!(address("http://h/").authorization(), None);
    }

    #[test]
    fn redirections_are_followed_but_not_out_of_tls() {
        let from = address("https://h/a/b?q");
        let to = |location: &str| from.follow(location).map(|a| a.whole());
        assert_eq!(to("/c").as_deref(), Some("https://h/c"));
        assert_eq!(to("c?x").as_deref(), Some("https://h/a/c?x"));
        assert_eq!(to("//other/c").as_deref(), Some("https://other/c"));
        assert_eq!(to("https://other/c").as_deref(), Some("https://other/c"));
        assert_eq!(to("http://h/c"), None);
        assert_eq!(to("https://u:p@h/c"), None);
        assert!(address("http://h/a").follow("https://h/a").is_some());
        assert!(!from.same_server(&address("https://h:8443/")));
        assert!(!from.same_server(&address("http://h/")));
    }
}
