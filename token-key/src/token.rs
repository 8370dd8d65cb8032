//! Tokens, and what is on them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use openssl::x509::X509;

use crate::access::TokenAccess;
use crate::error::TokenError;
use crate::uri::{Kind, TokenName, Uri};

/// The certificate that `uri` names.
///
/// # Errors
/// No module, no token, not exactly one certificate that fits, or something else in its place.
pub fn certificate(uri: &Uri, access: &TokenAccess) -> Result<X509, TokenError> {
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
pub(crate) struct Token {
    label: String,
    session: Session,
}

impl Token {
    /// Finds the one token that `uri` names. The session is logged in if there is a PIN, which
    /// only private keys need.
    pub(crate) fn open(uri: &Uri, access: &TokenAccess, wanted: Kind) -> Result<Self, TokenError> {
        if uri.kind.is_some_and(|kind| kind != wanted) {
            let (uri, wanted) = (uri.shown.clone(), wanted.name());
            return Err(TokenError::OtherKind { uri, wanted });
        }
        let module = access.plan(uri).module;
        let library = load(&module)?;
        let (slot, info) = find(&library, uri, &module)?;
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
        match access.pin(uri)? {
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

    /// The session alone.
    pub(crate) fn into_session(self) -> Session {
        self.session
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
    pub(crate) fn attribute(
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
    pub(crate) fn object(&self, uri: &Uri, wanted: Kind) -> Result<ObjectHandle, TokenError> {
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

/// Modules that are in this process. They stay: few of them survive to be unloaded while they are
/// initialised, and the service opens its keys anew for each installation.
static MODULES: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

fn load(module: &Path) -> Result<Pkcs11, TokenError> {
    let mut loaded = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, library)) = loaded.iter().find(|(path, _)| path == module) {
        return Ok(library.clone());
    }
    let failed = |source| TokenError::Module {
        module: module.to_owned(),
        source,
    };
    let library = Pkcs11::new(module).map_err(failed)?;
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // By another name it may be here already.
        Ok(()) | Err(Cryptoki::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(source) => return Err(failed(source)),
    }
    loaded.push((module.to_owned(), library.clone()));
    Ok(library)
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
