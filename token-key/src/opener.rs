//! Encrypted bundles, opened by a key on a token.

use std::path::Path;
use std::sync::Arc;

use bundle_format::cms::{
    DecryptError, DecryptionKey, HeldKind, HolderError, KeyHolder, OaepHash, RsaPadding, Secret,
};
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::types::Ulong;
use zeroize::Zeroizing;

use crate::access::TokenAccess;
use crate::curve;
use crate::error::TokenError;
use crate::key::{KeyKind, TokenKey};
use crate::token::certificate;
use crate::uri::Uri;

/// Why there is no key to open bundles with.
#[derive(Debug, thiserror::Error)]
pub enum OpenerError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] DecryptError),
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A key that nothing can be encrypted to.
    #[error(
        "nothing can be encrypted to the key {uri}: it is neither RSA nor of an elliptic curve"
    )]
    Kind {
        /// Without its query.
        uri: String,
    },
}

/// The key that opens encrypted bundles, and its certificate if there is one: each in a PEM file, or on
/// a token, whose `pkcs11:` URI then stands in place of the file's name.
///
/// # Errors
/// A file or a token cannot be used.
pub fn decryption_key(
    key: &Path,
    passphrase: Option<&str>,
    certificate: Option<&Path>,
    access: &TokenAccess,
) -> Result<DecryptionKey, OpenerError> {
    let opened = match Uri::of(key)? {
        Some(uri) => DecryptionKey::held_by(Arc::new(Opener::open(&uri, access)?)),
        None => DecryptionKey::from_files(key, passphrase, None)?,
    };
    let Some(place) = certificate else {
        return Ok(opened);
    };
    Ok(opened.with_certificate(match Uri::of(place)? {
        Some(uri) => self::certificate(&uri, access)?,
        None => DecryptionKey::certificate(place)?,
    }))
}

/// A key of a kind that something can be encrypted to.
struct Opener {
    key: TokenKey,
    kind: HeldKind,
}

impl Opener {
    fn open(uri: &Uri, access: &TokenAccess) -> Result<Self, OpenerError> {
        let key = TokenKey::open(uri, access)?;
        let kind = match key.kind() {
            Some(KeyKind::Rsa) => HeldKind::Rsa,
            Some(KeyKind::Ec) => HeldKind::Ec,
            Some(KeyKind::Edwards) | None => {
                let uri = uri.shown.clone();
                return Err(OpenerError::Kind { uri });
            }
        };
        Ok(Self { key, kind })
    }
}

impl KeyHolder for Opener {
    fn kind(&self) -> HeldKind {
        self.kind
    }

    fn decrypt(
        &self,
        padding: &RsaPadding,
        encrypted: &[u8],
    ) -> Result<Option<Secret>, HolderError> {
        let mechanism = match padding {
            RsaPadding::Pkcs1 => Mechanism::RsaPkcs,
            RsaPadding::Oaep { hash, mask, label } => {
                let source = match label.as_slice() {
                    [] => PkcsOaepSource::empty(),
                    label => PkcsOaepSource::data_specified(label),
                };
                let (hash, _) = hash_types(*hash);
                let (_, mask) = hash_types(*mask);
                Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mask, source))
            }
        };
        let session = self.key.session();
        let opened = session.decrypt(&mechanism, self.key.handle, encrypted);
        Ok(told(opened, "decrypt with this key")?.map(Zeroizing::new))
    }

    fn agree(&self, point: &[u8]) -> Result<Option<Secret>, HolderError> {
        let session = self.key.session();
        let parameters = session.get_attributes(self.key.handle, &[AttributeType::EcParams]);
        // Not every token tells.
        let parameters = match parameters.unwrap_or_default().into_iter().next() {
            Some(Attribute::EcParams(der)) => der,
            _ => Vec::new(),
        };
        let Some(point) = curve::checked(&parameters, point)? else {
            return Ok(None);
        };
        let len = (point.len() - 1) / 2;
        let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), &point));
        let template = for_us(len.try_into()?);
        let derived = session.derive_key(&mechanism, self.key.handle, &template);
        let derived = told(
            derived,
            "agree on a secret with this key (CKM_ECDH1_DERIVE)",
        )?;
        let Some(derived) = derived else {
            return Ok(None);
        };
        let value = session.get_attributes(derived, &[AttributeType::Value]);
        // Should it fail: the session ends soon, and the object with it.
        let _ = session.destroy_object(derived);
        let value = told(value, "give the secret that it agreed on")?.unwrap_or_default();
        Ok(match value.into_iter().next() {
            Some(Attribute::Value(value)) => padded(Zeroizing::new(value), len),
            _ => None,
        })
    }
}

/// What a secret of `len` bytes has to be so that we can read it.
fn for_us(len: Ulong) -> [Attribute; 6] {
    [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::ValueLen(len),
    ]
}

/// Some tokens leave the zeros at the beginning out.
fn padded(value: Secret, len: usize) -> Option<Secret> {
    let missing = len.checked_sub(value.len())?;
    let mut secret = Zeroizing::new(vec![0; len]);
    secret.get_mut(missing..)?.copy_from_slice(&value);
    Some(secret)
}

/// Only what has nothing to do with the bytes that the token was given is told as an error. For all
/// else there is no answer, so that nobody learns from it how they were padded.
fn told<T>(
    result: cryptoki::error::Result<T>,
    what: &'static str,
) -> Result<Option<T>, TokenError> {
    use RvError::{
        ArgumentsBad, CryptokiNotInitialized, DeviceRemoved, FunctionNotSupported,
        KeyFunctionNotPermitted, KeyTypeInconsistent, MechanismInvalid, MechanismParamInvalid,
        PinExpired, SessionClosed, SessionHandleInvalid, TokenNotPresent, TokenNotRecognized,
        UserNotLoggedIn,
    };
    match result {
        Ok(value) => Ok(Some(value)),
        Err(
            source @ Cryptoki::Pkcs11(
                ArgumentsBad
                | CryptokiNotInitialized
                | DeviceRemoved
                | FunctionNotSupported
                | KeyFunctionNotPermitted
                | KeyTypeInconsistent
                | MechanismInvalid
                | MechanismParamInvalid
                | PinExpired
                | SessionClosed
                | SessionHandleInvalid
                | TokenNotPresent
                | TokenNotRecognized
                | UserNotLoggedIn,
                _,
            ),
        ) => Err(TokenError::Refused { what, source }),
        Err(_) => Ok(None),
    }
}

fn hash_types(hash: OaepHash) -> (MechanismType, PkcsMgfType) {
    match hash {
        OaepHash::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        OaepHash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        OaepHash::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        OaepHash::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    }
}
