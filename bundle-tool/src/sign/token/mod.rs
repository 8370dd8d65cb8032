//! Keys and certificates on tokens: smart cards, HSMs, SoftHSM, through their PKCS#11 modules.
//!
//! The module is loaded here, without OpenSSL's engines or providers (docs/adr/0009): all that a
//! token has to do is to make the value of one signature.

mod error;
mod uri;

pub use error::TokenError;
pub use uri::UriError;
pub(super) use uri::{Uri, shown};

use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::x509::X509;

use super::scheme::Scheme;
use uri::{Kind, PinAt, TokenName};

/// The module that is loaded when nobody names one: p11-kit's, which knows those that are installed.
const DEFAULT_MODULE: &str = "p11-kit-proxy.so";

/// Largest file with a PIN, in bytes.
const MAX_PIN_FILE: u64 = 4096;

/// How tokens are reached when the URI does not say it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenAccess {
    /// The PKCS#11 module (`RAUC_PKCS11_MODULE`).
    pub module: Option<PathBuf>,
    /// The user's PIN (`RAUC_PKCS11_PIN`).
    pub pin: Option<String>,
}

/// A private key that stays on its token.
pub(super) struct TokenKey {
    session: Session,
    handle: ObjectHandle,
    kind: Option<KeyType>,
}

impl TokenKey {
    /// Finds the key, and logs in.
    pub(super) fn open(uri: &Uri, access: &TokenAccess) -> Result<Self, TokenError> {
        let token = Token::open(uri, access, Kind::PrivateKey)?;
        let handle = token.object(uri, Kind::PrivateKey)?;
        let kind = match token.attribute(handle, AttributeType::KeyType)? {
            Some(Attribute::KeyType(kind)) => Some(kind),
            _ => None,
        };
        let session = token.session;
        Ok(Self {
            session,
            handle,
            kind,
        })
    }

    /// Whether it is of the kind that `scheme` needs. Tokens do not fail well with other ones.
    pub(super) fn fits(&self, scheme: Scheme) -> bool {
        self.kind
            == Some(match scheme {
                Scheme::Rsa => KeyType::RSA,
                Scheme::Ecdsa => KeyType::EC,
                Scheme::Ed25519 => KeyType::EC_EDWARDS,
            })
    }

    /// Signs `bytes`; the value is in the form that OpenSSL gives for the same scheme.
    pub(super) fn sign(&self, scheme: Scheme, bytes: &[u8]) -> Result<Vec<u8>, TokenError> {
        let (mechanism, input) = match scheme {
            // The form that every token knows: padding by the token, digest and its header by us.
            Scheme::Rsa => (Mechanism::RsaPkcs, scheme.digest_info(bytes)?),
            Scheme::Ecdsa => (Mechanism::Ecdsa, scheme.digest_of(bytes)?),
            Scheme::Ed25519 => {
                let parameters = EddsaParams::new(EddsaSignatureScheme::Pure);
                (Mechanism::Eddsa(parameters), bytes.to_vec())
            }
        };
        let signed = self.session.sign(&mechanism, self.handle, &input);
        let value = signed.map_err(|source| TokenError::Refused {
            what: "sign with this key",
            source,
        })?;
        match scheme {
            Scheme::Rsa | Scheme::Ed25519 => Ok(value),
            Scheme::Ecdsa => ecdsa_der(&value),
        }
    }
}

/// Tokens give the two numbers of an ECDSA signature one after the other.
fn ecdsa_der(value: &[u8]) -> Result<Vec<u8>, TokenError> {
    if value.is_empty() || !value.len().is_multiple_of(2) {
        return Err(TokenError::Signature { len: value.len() });
    }
    let (r, s) = value.split_at(value.len() / 2);
    let (r, s) = (BigNum::from_slice(r)?, BigNum::from_slice(s)?);
    Ok(EcdsaSig::from_private_components(r, s)?.to_der()?)
}

/// The certificate that `uri` names.
pub(super) fn certificate(uri: &Uri, access: &TokenAccess) -> Result<X509, TokenError> {
    let token = Token::open(uri, access, Kind::Certificate)?;
    let handle = token.object(uri, Kind::Certificate)?;
    let der = match token.attribute(handle, AttributeType::Value)? {
        Some(Attribute::Value(der)) => der,
        _ => Vec::new(),
    };
    X509::from_der(&der).map_err(|source| TokenError::Certificate {
        uri: uri.shown.clone(),
        source,
    })
}

/// A token with an open session.
struct Token {
    label: String,
    session: Session,
}

impl Token {
    /// Finds the one token that `uri` names. The session is logged in if there is a PIN, which
    /// only private keys need.
    fn open(uri: &Uri, access: &TokenAccess, wanted: Kind) -> Result<Self, TokenError> {
        if uri.kind.is_some_and(|kind| kind != wanted) {
            let (uri, wanted) = (uri.shown.clone(), wanted.name());
            return Err(TokenError::OtherKind { uri, wanted });
        }
        let configured = uri.module.as_deref().or(access.module.as_deref());
        let module = configured.unwrap_or(Path::new(DEFAULT_MODULE));
        let library = load(module)?;
        let (slot, info) = find(&library, uri, module)?;
        let session = library
            .open_ro_session(slot)
            .map_err(|source| TokenError::Refused {
                what: "open a session",
                source,
            })?;
        let token = Self {
            label: info.label().to_owned(),
            session,
        };
        match pin(uri, access)? {
            Some(pin) => token.login(Some(&AuthPin::new(pin.into())))?,
            // A reader with keys of its own asks for the PIN itself.
            None if info.protected_authentication_path() => token.login(None)?,
            None if wanted == Kind::PrivateKey && info.login_required() => {
                let token = token.label;
                return Err(TokenError::NoPin { token });
            }
            None => {}
        }
        Ok(token)
    }

    fn login(&self, pin: Option<&AuthPin>) -> Result<(), TokenError> {
        let token = self.label.clone();
        match self.session.login(UserType::User, pin) {
            // All sessions with one token share the login.
            Ok(()) | Err(Cryptoki::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Cryptoki::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => Err(TokenError::WrongPin { token }),
            Err(Cryptoki::Pkcs11(RvError::PinLocked, _)) => Err(TokenError::PinLocked { token }),
            Err(source) => Err(TokenError::Refused {
                what: "log in",
                source,
            }),
        }
    }

    /// An attribute of an object, if it has it.
    fn attribute(
        &self,
        object: ObjectHandle,
        which: AttributeType,
    ) -> Result<Option<Attribute>, TokenError> {
        let found = self.session.get_attributes(object, &[which]);
        let found = found.map_err(|source| TokenError::Refused {
            what: "describe its object",
            source,
        })?;
        Ok(found.into_iter().next())
    }

    /// The one object that `uri` names.
    fn object(&self, uri: &Uri, wanted: Kind) -> Result<ObjectHandle, TokenError> {
        let mut template = vec![Attribute::Class(wanted.class())];
        template.extend(uri.object.clone().map(Attribute::Label));
        template.extend(uri.id.clone().map(Attribute::Id));
        let found = self.session.find_objects(&template);
        let found = found.map_err(|source| TokenError::Refused {
            what: "search its objects",
            source,
        })?;
        let (uri, wanted) = (uri.shown.clone(), wanted.name());
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(TokenError::NoObject {
                token: self.label.clone(),
                wanted,
                uri,
            }),
            several => Err(TokenError::SeveralObjects {
                found: several.len(),
                wanted,
                uri,
            }),
        }
    }
}

fn load(module: &Path) -> Result<Pkcs11, TokenError> {
    let failed = |source| TokenError::Module {
        module: module.to_owned(),
        source,
    };
    let library = Pkcs11::new(module).map_err(failed)?;
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // A module is loaded once into a process, however many of its objects are asked for.
        Ok(()) | Err(Cryptoki::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(library),
        Err(source) => Err(failed(source)),
    }
}

/// The one token that fits.
fn find(library: &Pkcs11, uri: &Uri, module: &Path) -> Result<(Slot, TokenInfo), TokenError> {
    let refused = |source| TokenError::Refused {
        what: "be listed",
        source,
    };
    let mut fitting = Vec::new();
    let mut all = Vec::new();
    for slot in library.get_slots_with_token().map_err(refused)? {
        let info = library.get_token_info(slot).map_err(refused)?;
        if !info.token_initialized() {
            continue;
        }
        all.push(format!("'{}'", info.label()));
        if uri.token.fits(slot, &info) {
            fitting.push((slot, info));
        }
    }
    let uri = uri.shown.clone();
    match fitting.len() {
        1 => {}
        0 => {
            let found = if all.is_empty() {
                "no token at all".to_owned()
            } else {
                all.join(", ")
            };
            let module = module.to_owned();
            return Err(TokenError::NoToken { uri, module, found });
        }
        _ => {
            let labels = fitting
                .iter()
                .map(|(_, info)| format!("'{}'", info.label()));
            let found = labels.collect::<Vec<_>>().join(", ");
            return Err(TokenError::SeveralTokens { uri, found });
        }
    }
    Ok(fitting.remove(0))
}

impl TokenName {
    fn fits(&self, slot: Slot, info: &TokenInfo) -> bool {
        let same = |wanted: &Option<String>, found: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted == found.trim_end())
        };
        same(&self.label, info.label())
            && same(&self.manufacturer, info.manufacturer_id())
            && same(&self.model, info.model())
            && same(&self.serial, info.serial_number())
            && self.slot.is_none_or(|wanted| wanted == slot.id())
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
        }
    }

    fn class(self) -> ObjectClass {
        match self {
            Self::Certificate => ObjectClass::CERTIFICATE,
            Self::PrivateKey => ObjectClass::PRIVATE_KEY,
        }
    }
}

/// What the URI says comes before what the environment says.
fn pin(uri: &Uri, access: &TokenAccess) -> Result<Option<String>, TokenError> {
    match &uri.pin {
        Some(PinAt::Value(pin)) => Ok(Some(pin.clone())),
        Some(PinAt::File(path)) => read_pin(path).map(Some),
        None => Ok(access.pin.clone()),
    }
}

fn read_pin(path: &Path) -> Result<String, TokenError> {
    use std::io::Read as _;
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
    fn two_numbers_become_der() {
        assert_eq!(
            ecdsa_der(&[0, 1, 0x80, 2]).unwrap(),
            [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 2]
        );
        for wrong in [&[][..], &[1, 2, 3]] {
            assert!(matches!(
                ecdsa_der(wrong),
                Err(TokenError::Signature { .. })
            ));
        }
    }

    #[test]
    fn the_uri_comes_before_the_environment() {
        let access = TokenAccess {
            module: None,
            pin: Some("environment".to_owned()),
        };
        let pin_of = |uri: &str| {
            let uri = Uri::from_place(Path::new(uri)).unwrap().unwrap();
            pin(&uri, &access).map(Option::unwrap)
        };
        assert_eq!(pin_of("pkcs11:").unwrap(), "environment");
        assert_eq!(pin_of("pkcs11:?pin-value=uri").unwrap(), "uri");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "file\n").unwrap();
        let uri = format!("pkcs11:?pin-source={}", file.path().display());
        assert_eq!(pin_of(&uri).unwrap(), "file");
        let missing = pin_of("pkcs11:?pin-source=/nowhere/pin")
            .unwrap_err()
            .to_string();
        assert_eq!(missing, "cannot read the PIN from /nowhere/pin");
    }
}
