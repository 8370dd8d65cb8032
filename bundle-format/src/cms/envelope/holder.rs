//! Private keys that are not given away: what is asked of those who hold them.

use std::error::Error;

use zeroize::Zeroizing;

/// What came out of a private key, forgotten after use.
pub type Secret = Zeroizing<Vec<u8>>;

/// Why a key cannot be used at all: its holder is gone, or does not do such things. Never says anything
/// about what was to be opened.
pub type HolderError = Box<dyn Error + Send + Sync>;

/// Holds a private key, and does with it what envelopes need: a token, say.
///
/// Whether something was not meant for the key, is damaged or badly padded must not be told apart from
/// outside: for all of it the answer is `None`.
pub trait KeyHolder: Send + Sync {
    /// The kind of key.
    fn kind(&self) -> HeldKind;

    /// What is encrypted to an RSA key.
    ///
    /// # Errors
    /// The key cannot be used at all.
    fn decrypt(
        &self,
        padding: &RsaPadding,
        encrypted: &[u8],
    ) -> Result<Option<Secret>, HolderError>;

    /// The secret that an elliptic curve's key has in common with the owner of `point` (X9.62): the
    /// x coordinate of their product.
    ///
    /// # Errors
    /// The key cannot be used at all.
    fn agree(&self, point: &[u8]) -> Result<Option<Secret>, HolderError>;
}

/// Kinds of keys that envelopes are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldKind {
    /// RSA.
    Rsa,
    /// An elliptic curve.
    Ec,
}

/// How a key is padded before RSA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RsaPadding {
    /// PKCS #1 v1.5.
    Pkcs1,
    /// OAEP.
    Oaep {
        /// Hashes the label.
        hash: OaepHash,
        /// Makes the mask (MGF1).
        mask: OaepHash,
        /// Empty, as a rule.
        label: Vec<u8>,
    },
}

/// What OAEP hashes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OaepHash {
    /// SHA-1, the default of the standard; nothing rests on its weakness here.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}
