//! Why a token cannot be used.

use std::path::PathBuf;

use cryptoki::error::Error as Cryptoki;
use openssl::error::ErrorStack;

use crate::uri::UriError;

/// Why a token cannot be used. None of the texts has a PIN in it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The URI is not right.
    #[error("the PKCS#11 URI {uri} cannot be used")]
    Uri {
        /// Without its query.
        uri: String,
        /// What is wrong with it.
        source: UriError,
    },
    /// The module cannot be loaded.
    #[error(
        "cannot load the PKCS#11 module {module}; name the one of your token by RAUC_PKCS11_MODULE or by module-path= in the URI", module = module.display()
    )]
    Module {
        /// Which.
        module: PathBuf,
        /// What the loader said.
        source: Cryptoki,
    },
    /// No token has that name.
    #[error("no token fits {uri}; the module {module} has: {found}", module = module.display())]
    NoToken {
        /// Without its query.
        uri: String,
        /// Which module.
        module: PathBuf,
        /// Labels of those that are there.
        found: String,
    },
    /// More than one.
    #[error("several tokens fit {uri}: {found}; say which one by token= or serial=")]
    SeveralTokens {
        /// Without its query.
        uri: String,
        /// Their labels.
        found: String,
    },
    /// The file with the PIN cannot be read.
    #[error("cannot read the PIN from {path}", path = path.display())]
    PinFile {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The token wants a PIN.
    #[error(
        "the token '{token}' wants a PIN: set RAUC_PKCS11_PIN, or name a file with it by pin-source= in the URI"
    )]
    NoPin {
        /// Its label.
        token: String,
    },
    /// The PIN is not the token's.
    #[error("the PIN of the token '{token}' is wrong; a token locks itself after a few wrong ones")]
    WrongPin {
        /// Its label.
        token: String,
    },
    /// Too many wrong PINs.
    #[error("the PIN of the token '{token}' is locked; its administrator can set a new one")]
    PinLocked {
        /// Its label.
        token: String,
    },
    /// The URI asks for another kind of object.
    #[error("{uri} does not name a {wanted}: leave type= out, or change it")]
    OtherKind {
        /// Without its query.
        uri: String,
        /// Certificate or private key.
        wanted: &'static str,
    },
    /// Nothing on the token fits.
    #[error("the token '{token}' has no {wanted} that fits {uri}")]
    NoObject {
        /// Its label.
        token: String,
        /// Certificate or private key.
        wanted: &'static str,
        /// Without its query.
        uri: String,
    },
    /// More than one object fits.
    #[error("{found} objects of the kind {wanted} fit {uri}; say which one by object= and id=")]
    SeveralObjects {
        /// How many.
        found: usize,
        /// Certificate or private key.
        wanted: &'static str,
        /// Without its query.
        uri: String,
    },
    /// The object is no certificate.
    #[error("{uri} holds something else than an X.509 certificate")]
    Certificate {
        /// Without its query.
        uri: String,
        /// What OpenSSL said.
        source: ErrorStack,
    },
    /// A signature value of an impossible form.
    #[error("the token made a signature of {len} bytes, which is no signature of this kind")]
    Signature {
        /// Its length.
        len: usize,
    },
    /// The token refuses.
    #[error("the token cannot {what}")]
    Refused {
        /// What it was asked for.
        what: &'static str,
        /// What it said.
        source: Cryptoki,
    },
    /// OpenSSL fails.
    #[error("OpenSSL failed")]
    OpenSsl(#[from] ErrorStack),
}
