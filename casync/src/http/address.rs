//! Addresses: taken apart, followed, and shown without secrets.

use std::fmt;

use thiserror::Error;

/// `http://host/path` or `https://…`, without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// `http` or `https`.
    scheme: String,
    /// `host` or `host:port`, lower case.
    host: String,
    /// From the first `/` on, with the query.
    path: String,
}

/// A text that is no address we read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Another scheme, or none.
    #[error("an address begins with http:// or https://")]
    Scheme,
    /// A user name in it.
    #[error(
        "user names and passwords do not belong into an address: they would be shown in messages; give a header"
    )]
    Credentials,
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
        if host.contains('@') {
            return Err(AddressError::Credentials);
        }
        if host.is_empty() {
            return Err(AddressError::Host);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            path: format!("{slash}{path}"),
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
        (self.scheme == "http" || next.scheme == "https").then_some(next)
    }

    /// Whether both are of one server: what is secret to one must not go to another.
    pub(super) fn same_server(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host == other.host
    }

    /// As it is sent.
    pub(super) fn whole(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.path)
    }
}

/// Without the query, which may hold a token.
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
            ("http://u:p@h/a", AddressError::Credentials),
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
