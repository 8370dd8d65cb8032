//! Opening a bundle file, and its envelope if there is a key for it.

use std::path::{Path, PathBuf};

use bundle_format::cms::{DecryptionKey, Policy};
use bundle_format::{Bundle, BundleError, FileReader, Limits, Trust, VerifiedBundle};

/// Why a bundle file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened.
    #[error("cannot open {path}", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bundle is not good.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Where a bundle is, and what it takes to open it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The file.
    pub path: &'a Path,
    /// The caps to keep.
    pub limits: &'a Limits,
    /// The key for an encrypted signature.
    pub decryption: Option<&'a DecryptionKey>,
}

/// Whether the signature counts.
pub enum Check<'a> {
    /// Only a trusted bundle is used.
    Trust(&'a Trust),
    /// Nothing is checked.
    None,
}

impl Source<'_> {
    /// Opens the file, and the envelope if there are one and a key for it.
    ///
    /// # Errors
    /// It is no bundle, or not encrypted for this key.
    pub fn open(&self) -> Result<Bundle<FileReader>, OpenError> {
        let file = FileReader::open(self.path).map_err(|source| OpenError::Open {
            path: self.path.to_owned(),
            source,
        })?;
        let bundle = Bundle::open(file, self.limits).map_err(BundleError::from)?;
        match self.decryption {
            Some(key) if bundle.is_encrypted().map_err(BundleError::from)? => {
                Ok(bundle.decrypt(key).map_err(BundleError::from)?)
            }
            _ => Ok(bundle),
        }
    }

    /// Opens the file, and leaves an envelope closed.
    ///
    /// # Errors
    /// It is no bundle.
    pub fn open_closed(&self) -> Result<Bundle<FileReader>, OpenError> {
        Source {
            decryption: None,
            ..*self
        }
        .open()
    }

    /// Opens and verifies. A crypt bundle that is not encrypted yet is accepted: on the host, that
    /// is a step on the way.
    ///
    /// # Errors
    /// It is no bundle, not encrypted for this key, or not trusted.
    pub fn verified(&self, trust: &Trust) -> Result<VerifiedBundle<FileReader>, OpenError> {
        Ok(self.open()?.verify(&on_the_host(trust))?)
    }
}

/// `trust`, but with the readable key of a crypt bundle accepted.
pub fn on_the_host(trust: &Trust) -> Trust {
    let policy = Policy {
        allow_readable_crypt_key: true,
        ..trust.policy().clone()
    };
    trust.clone().with_policy(policy)
}
