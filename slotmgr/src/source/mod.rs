//! Where a bundle comes from: a file, or a web server.
//!
//! Either way it is read by position, piece by piece, and nothing is staged on disk.

mod file;
mod http;
mod protect;
mod range;
mod stoppable;

pub use file::{FileError, open_file};
pub use http::{HttpReader, WINDOW};
pub use protect::Exposed;
pub(crate) use protect::protect;
pub use range::{HttpClient, HttpError, Retry};
pub use stoppable::Stoppable;

/// How a bundle is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file.
    Path(std::path::PathBuf),
    /// `http://…`
    Http(String),
}

/// A location that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read from `{scheme}://`: this version of slotmgr reads files and http://")]
pub struct UnknownScheme {
    /// What stands before `://`.
    pub scheme: String,
}

impl Location {
    /// Tells a URL from a path.
    ///
    /// # Errors
    /// For URLs of a kind that is not read.
    pub fn parse(text: &str) -> Result<Location, UnknownScheme> {
        match text.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => {
                Ok(Location::Http(text.to_owned()))
            }
            Some(("file", path)) => Ok(Location::Path(path.into())),
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                Err(UnknownScheme {
                    scheme: scheme.to_owned(),
                })
            }
            _ => Ok(Location::Path(text.into())),
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
        assert_eq!(
            Location::parse("http://h/b"),
            Ok(Location::Http("http://h/b".into()))
        );
        let error = Location::parse("ftp://h/b").unwrap_err();
        assert!(error.to_string().contains("`ftp://`"), "{error}");
    }
}
