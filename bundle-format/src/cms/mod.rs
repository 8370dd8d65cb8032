//! The signature: a CMS structure, and the one place that decides whether to trust it.

mod asn1;
mod ed25519;
mod envelope;
mod name;
mod parts;
mod policy;
mod recipients;
mod signer;
mod structure;
mod trust;
mod verify;

pub use envelope::{
    DecryptError, DecryptionKey, HeldKind, HolderError, KeyHolder, OaepHash, RsaPadding, Secret,
};
pub use name::one_line;
pub use parts::SignedParts;
pub use policy::{Policy, PolicyError};
pub use recipients::{Recipient, recipients};
pub use signer::{Signer, name as certificate_name};
pub use structure::{CmsKind, StructureError, kind};
pub use trust::{CheckTime, Purpose, Revocation, Trust, TrustError};
pub use verify::VerifyError;

pub(crate) use structure::{SignedData, parse};
pub(crate) use verify::{Content, verify};
