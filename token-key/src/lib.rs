//! Keys and certificates on tokens: smart cards, HSMs, SoftHSM, through their PKCS#11 modules.
//!
//! The module is loaded here, without OpenSSL's engines or providers (docs/adr/0009): all that a
//! token has to do is what its private key is needed for. The structures around it are others' affair.

mod access;
mod curve;
mod error;
mod key;
mod opener;
mod token;
mod uri;

pub use access::{PIN_VARIABLE, PinFrom, Plan, TokenAccess};
pub use error::TokenError;
pub use key::{Hash, KeyKind, Signing, TokenKey};
pub use opener::{OpenerError, decryption_key};
pub use token::certificate;
pub use uri::{SCHEME, Uri, UriError, shown};
