//! Where a bundle comes from: a file, or a web server.
//!
//! Either way it is read by position, piece by piece, and nothing is staged on disk.

mod access;
mod file;
mod http;
mod protect;
mod stoppable;
#[cfg(feature = "tls-token")]
mod token;

pub use access::{Access, AccessError, info_headers};
pub use file::{FileError, open_file};
pub use http::HttpReader;
pub use protect::{Exposed, protect};
pub use stoppable::Stoppable;
#[cfg(feature = "tls-token")]
pub use token::TokenClientError;

use std::path::PathBuf;

use casync::http::{Address, AddressError};

/// Bytes that are fetched, unpacked and written at once of a file of `len` bytes that comes over a
/// network. Several such portions are under way at a time and are lost if the process is killed: few
/// for a small file, so that hardly anything is fetched twice, and enough for a large one to be fast.
#[must_use]
pub fn portion(len: u64) -> usize {
    const SMALLEST: usize = 64 << 10;
    const LARGEST: usize = 1 << 20;
    let part = usize::try_from(len / 2048).unwrap_or(LARGEST);
    let part = part.clamp(SMALLEST, LARGEST);
    part - part % SMALLEST
}

/// How a bundle, or a store of chunks, is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file or a directory.
    Path(PathBuf),
    /// `http://…` or `https://…`
    Web(Address),
}

/// A location that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Of another kind.
    #[error(
        "cannot read from `{scheme}://`: this version of slotmgr reads files, http:// and https://"
    )]
    Scheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// No address after all.
    #[error("this is no address to read from")]
    Address(#[from] AddressError),
}

impl Location {
    /// Tells a URL from a path.
    ///
    /// # Errors
    /// For URLs of a kind that is not read.
    pub fn parse(text: &str) -> Result<Location, LocationError> {
        let is = |scheme: &str, known: &[&str]| {
            known.iter().any(|name| scheme.eq_ignore_ascii_case(name))
        };
        match text.split_once("://") {
            Some((scheme, _)) if is(scheme, &["http", "https"]) => {
                Ok(Location::Web(Address::parse(text)?))
            }
            Some(("file", path)) => Ok(Location::Path(path.into())),
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                Err(LocationError::Scheme {
                    scheme: scheme.to_owned(),
                })
            }
            _ => Ok(Location::Path(text.into())),
        }
    }
}

impl Location {
    /// Where RAUC's casync bundles have their chunks if nothing else is said: `.castr` in place of
    /// `.raucb`.
    #[must_use]
    pub fn store_beside(&self) -> Location {
        match self {
            Location::Path(path) if path.extension().is_some_and(|end| end == "raucb") => {
                Location::Path(path.with_extension("castr"))
            }
            Location::Path(path) => {
                let mut name = path.clone().into_os_string();
                name.push(".castr");
                Location::Path(name.into())
            }
            Location::Web(address) => Location::Web(address.with_end(".raucb", ".castr")),
        }
    }
}

/// For messages: an address without its secrets.
impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Location::Path(path) => path.display().fmt(f),
            Location::Web(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_urls() {
        assert_eq!(
            Location::parse("/a/b.raucb"),
            Ok(Location::Path("/a/b.raucb".into()))
        );
        assert_eq!(
            Location::parse("file:///a"),
            Ok(Location::Path("/a".into()))
        );
        let secret = Location::parse("HTTPS://me:geheim@h/b?token=geheim").unwrap();
        assert_eq!(secret.to_string(), "https://h/b");
        assert!(!format!("{secret:?}").contains("geheim"));
        let error = Location::parse("ftp://h/b").unwrap_err();
        assert!(error.to_string().contains("`ftp://`"), "{error}");
        assert!(Location::parse("http://").is_err());
    }
}
