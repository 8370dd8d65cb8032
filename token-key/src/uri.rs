//! `pkcs11:` URIs (RFC 7512): which object on which token is meant, and how to get at it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::TokenError;

/// What every such URI starts with.
pub const SCHEME: &str = "pkcs11:";

/// What is wrong with a URI. Never shows more of it than the name of an attribute: there may be a
/// PIN in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Not `name=value`.
    #[error("part {number} is not of the form name=value")]
    Part {
        /// Counted from 1, the query's parts last.
        number: usize,
    },
    /// A percent sign that is not followed by two hexadecimal digits.
    #[error("the value of '{name}' has a '%' without two hexadecimal digits")]
    Percent {
        /// The attribute.
        name: String,
    },
    /// A value that has to be text.
    #[error("the value of '{name}' is not UTF-8 text")]
    Text {
        /// The attribute.
        name: String,
    },
    /// Twice the same.
    #[error("'{name}' is given twice")]
    Doubled {
        /// The attribute.
        name: String,
    },
    /// An attribute that would narrow down what is meant, and that is not known here.
    #[error("the attribute '{name}' is not supported")]
    Unknown {
        /// The attribute.
        name: String,
    },
    /// A value that its attribute cannot have.
    #[error("'{name}' {problem}")]
    Value {
        /// The attribute.
        name: String,
        /// The end of the sentence.
        problem: &'static str,
    },
}

/// A parsed URI.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Uri {
    /// The URI without its query, in which a PIN may stand.
    pub(crate) shown: String,
    pub(crate) token: TokenName,
    /// Label of the object.
    pub(crate) object: Option<Vec<u8>>,
    pub(crate) id: Option<Vec<u8>>,
    pub(crate) kind: Option<Kind>,
    pub(crate) module: Option<PathBuf>,
    pub(crate) pin: Option<PinAt>,
}

/// What a token has to be called; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TokenName {
    pub(crate) label: Option<String>,
    pub(crate) manufacturer: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) slot: Option<u64>,
}

/// Kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Certificate,
    PrivateKey,
}

/// Where the PIN is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum PinAt {
    Value(String),
    File(PathBuf),
}

impl Uri {
    /// The URI in `place`, where else the name of a file stands; `None` if it is one.
    pub(crate) fn from_place(place: &Path) -> Option<Result<Self, UriError>> {
        let text = place.to_str()?.strip_prefix(SCHEME)?;
        Some(Self::parse(text))
    }

    /// The same, with an error that says which URI it is.
    ///
    /// # Errors
    /// The URI is not right.
    pub fn of(place: &Path) -> Result<Option<Self>, TokenError> {
        let wrong = |source| TokenError::Uri {
            uri: shown(place),
            source,
        };
        Self::from_place(place).transpose().map_err(wrong)
    }

    /// Whether it says which module is loaded into this process.
    #[must_use]
    pub fn names_module(&self) -> bool {
        self.module.is_some()
    }

    fn parse(text: &str) -> Result<Self, UriError> {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let mut uri = Self {
            shown: format!("{SCHEME}{path}"),
            ..Self::default()
        };
        let path = path.split(';').filter(|part| !part.is_empty());
        let query = query.split('&').filter(|part| !part.is_empty());
        let parts = path
            .map(|part| (part, false))
            .chain(query.map(|part| (part, true)));
        let mut seen = Vec::new();
        for (number, (part, in_query)) in (1..).zip(parts) {
            let (name, value) = part.split_once('=').ok_or(UriError::Part { number })?;
            if seen.contains(&name) {
                let name = name.to_owned();
                return Err(UriError::Doubled { name });
            }
            seen.push(name);
            let value = decode(name, value)?;
            if in_query {
                uri.set_access(name, value)?;
            } else {
                uri.set_name(name, value)?;
            }
        }
        Ok(uri)
    }

    /// Attributes of the path: which object.
    fn set_name(&mut self, name: &str, value: Vec<u8>) -> Result<(), UriError> {
        match name {
            "token" => self.token.label = Some(text(name, value)?),
            "manufacturer" => self.token.manufacturer = Some(text(name, value)?),
            "model" => self.token.model = Some(text(name, value)?),
            "serial" => self.token.serial = Some(text(name, value)?),
            "slot-id" => {
                let number = text(name, value)?.parse().ok();
                self.token.slot = Some(number.ok_or_else(|| wrong(name, "is not a number"))?);
            }
            "object" => self.object = Some(value),
            "id" => self.id = Some(value),
            "type" => {
                self.kind = Some(match value.as_slice() {
                    b"cert" => Kind::Certificate,
                    b"private" => Kind::PrivateKey,
                    _ => return Err(wrong(name, "is neither cert nor private")),
                });
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// Attributes of the query: how to get at it.
    fn set_access(&mut self, name: &str, value: Vec<u8>) -> Result<(), UriError> {
        let value = text(name, value)?;
        match name {
            "module-path" => self.module = Some(value.into()),
            "pin-value" | "pin-source" if self.pin.is_some() => {
                return Err(wrong(name, "is given beside another PIN"));
            }
            "pin-value" => self.pin = Some(PinAt::Value(value)),
            "pin-source" if value.starts_with('|') => {
                return Err(wrong(name, "asks to run a program, which is not supported"));
            }
            "pin-source" => {
                let file = value
                    .strip_prefix("file://")
                    .or(value.strip_prefix("file:"));
                self.pin = Some(PinAt::File(file.unwrap_or(&value).into()));
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

/// Without the query, in which a PIN may stand.
impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// A place as it may be shown: the name of a file, or a URI without its query.
#[must_use]
pub fn shown(place: &Path) -> String {
    let text = place.display().to_string();
    match text.split_once('?') {
        Some((path, _)) if text.starts_with(SCHEME) => path.to_owned(),
        _ => text,
    }
}

fn wrong(name: &str, problem: &'static str) -> UriError {
    let name = name.to_owned();
    UriError::Value { name, problem }
}

fn unknown(name: &str) -> UriError {
    let name = name.to_owned();
    UriError::Unknown { name }
}

fn text(name: &str, value: Vec<u8>) -> Result<String, UriError> {
    let name = name.to_owned();
    String::from_utf8(value).map_err(|_| UriError::Text { name })
}

fn decode(name: &str, value: &str) -> Result<Vec<u8>, UriError> {
    let mut bytes = value.bytes();
    let mut decoded = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit(), digit());
        let value = high.zip(low).map(|(high, low)| high * 16 + low);
        let value = value.and_then(|value| u8::try_from(value).ok());
        let name = name.to_owned();
        decoded.push(value.ok_or(UriError::Percent { name })?);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Uri, UriError> {
        Uri::from_place(Path::new(text)).unwrap()
    }

    #[test]
    fn what_is_meant_and_how_to_get_at_it() {
        let uri = parsed(
            "pkcs11:token=My%20token;object=signer;id=%01%aB;type=private;slot-id=7\
             ?module-path=/lib/a.so&pin-value=12%2634",
        )
        .unwrap();
        assert_eq!(uri.token.label.as_deref(), Some("My token"));
        assert_eq!(uri.token.slot, Some(7));
        assert_eq!(uri.object.as_deref(), Some(&b"signer"[..]));
        assert_eq!(uri.id.as_deref(), Some(&[1, 0xab][..]));
        assert_eq!(uri.kind, Some(Kind::PrivateKey));
        assert_eq!(uri.module.as_deref(), Some(Path::new("/lib/a.so")));
        assert!(uri.pin == Some(PinAt::Value("12&34".to_owned())));
        for source in ["/run/pin", "file:/run/pin", "file:///run/pin"] {
            let uri = parsed(&format!("pkcs11:?pin-source={source}")).unwrap();
            assert!(uri.pin == Some(PinAt::File("/run/pin".into())), "{source}");
        }
        assert!(Uri::from_place(Path::new("signer.key.pem")).is_none());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (uri, expected) in [
            ("pkcs11:token", "part 1 is not of the form name=value"),
            ("pkcs11:token=a?pin-value", "part 2 is not of the form"),
            ("pkcs11:token=a;token=b", "'token' is given twice"),
            ("pkcs11:token=%4", "'token' has a '%' without two"),
            ("pkcs11:token=%zz", "'token' has a '%' without two"),
            ("pkcs11:token=%ff", "'token' is not UTF-8 text"),
            ("pkcs11:slot-id=x", "'slot-id' is not a number"),
            ("pkcs11:type=public", "'type' is neither cert nor private"),
            ("pkcs11:colour=red", "'colour' is not supported"),
            ("pkcs11:pin-value=1", "'pin-value' is not supported"),
            ("pkcs11:?module-name=x", "'module-name' is not supported"),
            ("pkcs11:?pin-source=|cat", "asks to run a program"),
            ("pkcs11:?pin-value=1&pin-source=/a", "beside another PIN"),
        ] {
            let error = parsed(uri).err().unwrap().to_string();
            assert!(error.contains(expected), "{uri}: {error}");
        }
    }

    #[test]
    fn a_pin_is_never_shown() {
        let place = Path::new("pkcs11:token=a;object=b?pin-value=geheim");
        assert_eq!(shown(place), "pkcs11:token=a;object=b");
        assert_eq!(parsed(place.to_str().unwrap()).unwrap().shown, shown(place));
        assert_eq!(shown(Path::new("what?.pem")), "what?.pem");
    }
}
