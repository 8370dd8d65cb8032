//! How tokens are reached: the module, and the PIN.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::TokenError;
use crate::uri::{PinAt, Uri};

/// Largest file with a PIN, in bytes.
const MAX_PIN_FILE: u64 = 4096;

/// The module that is loaded when nobody names one: p11-kit's, which knows those that are installed.
const DEFAULT_MODULE: &str = "p11-kit-proxy.so";

/// The variable that may hold the PIN, by the name that RAUC has for it.
pub const PIN_VARIABLE: &str = "RAUC_PKCS11_PIN";

/// How an object would be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The PKCS#11 module: a path, or a name that the loader looks for.
    pub module: PathBuf,
    /// Where the PIN comes from.
    pub pin: PinFrom,
}

/// Where a PIN comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinFrom {
    /// It stands in the URI.
    Uri,
    /// The URI names a file.
    File(PathBuf),
    /// The environment ([`PIN_VARIABLE`]).
    Environment,
    /// There is none.
    Nowhere,
}

/// How tokens are reached when the URI does not say it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenAccess {
    /// The PKCS#11 module (`RAUC_PKCS11_MODULE`).
    pub module: Option<PathBuf>,
    /// The user's PIN ([`PIN_VARIABLE`]).
    pub pin: Option<String>,
}

impl TokenAccess {
    /// What the environment says, by the names that RAUC has for it. Empty is as good as not set.
    #[must_use]
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        Self {
            module: set("RAUC_PKCS11_MODULE").map(PathBuf::from),
            pin: set(PIN_VARIABLE),
        }
    }

    /// How the object of `uri` would be reached. Nobody is asked anything.
    #[must_use]
    pub fn plan(&self, uri: &Uri) -> Plan {
        let configured = uri.module.as_ref().or(self.module.as_ref());
        Plan {
            module: configured.map_or_else(|| DEFAULT_MODULE.into(), PathBuf::clone),
            pin: match (&uri.pin, &self.pin) {
                (Some(PinAt::Value(_)), _) => PinFrom::Uri,
                (Some(PinAt::File(path)), _) => PinFrom::File(path.clone()),
                (None, Some(_)) => PinFrom::Environment,
                (None, None) => PinFrom::Nowhere,
            },
        }
    }

    /// What the URI says comes before what the environment says.
    pub(crate) fn pin(&self, uri: &Uri) -> Result<Option<String>, TokenError> {
        match &uri.pin {
            Some(PinAt::Value(pin)) => Ok(Some(pin.clone())),
            Some(PinAt::File(path)) => read_pin(path).map(Some),
            None => Ok(self.pin.clone()),
        }
    }
}

/// Without the PIN.
impl fmt::Debug for TokenAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAccess")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

fn read_pin(path: &Path) -> Result<String, TokenError> {
    let read = || {
        let mut text = String::new();
        std::fs::File::open(path)?
            .take(MAX_PIN_FILE)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|source| TokenError::PinFile {
        path: path.to_owned(),
        source,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_comes_before_the_environment() {
        let access = TokenAccess {
            module: None,
            pin: Some("environment".to_owned()),
        };
        let pin_of = |uri: &str| {
            let uri = Uri::from_place(Path::new(uri)).unwrap().unwrap();
            access.pin(&uri).map(Option::unwrap)
        };
        assert_eq!(pin_of("pkcs11:").unwrap(), "environment");
        assert_eq!(pin_of("pkcs11:?pin-value=uri").unwrap(), "uri");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "file\n").unwrap();
        let uri = format!("pkcs11:?pin-source={}", file.path().display());
        assert_eq!(pin_of(&uri).unwrap(), "file");
        let plan = |uri: &str| {
            let uri = Uri::from_place(Path::new(uri)).unwrap().unwrap();
            access.plan(&uri)
        };
        assert_eq!(plan("pkcs11:").pin, PinFrom::Environment);
        assert_eq!(plan("pkcs11:").module, Path::new(DEFAULT_MODULE));
        assert_eq!(plan("pkcs11:?pin-value=uri").pin, PinFrom::Uri);
        assert_eq!(plan("pkcs11:?module-path=/m").module, Path::new("/m"));
        let missing = pin_of("pkcs11:?pin-source=/nowhere/pin")
            .unwrap_err()
            .to_string();
        assert_eq!(missing, "cannot read the PIN from /nowhere/pin");
        assert!(!format!("{access:?}").contains("environment"));
    }
}
