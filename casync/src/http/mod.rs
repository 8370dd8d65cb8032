//! Files on web servers, read whole or by ranges, with patience.
//!
//! Any server that serves plain files will do. Every answer is bounded by what was asked for. A
//! failure that may pass (no connection, a short answer, 408, 429, 5xx) is tried again after a pause
//! that grows, has some chance in it, and is not shorter than the server's `Retry-After`.
//!
//! An answer that is cut off is continued where it ended. Headers that a client is given (an
//! `Authorization`, a token) and the user in an address go to the server that it was given, and to no
//! other that this one redirects to. Messages name addresses without user, password and
//! query.
//!
//! [`Client::stop`] ends everything within moments, however silent a server is.

mod address;
mod client;
mod date;
mod failure;
mod file;
mod halt;
#[cfg(feature = "held-key")]
mod held;
mod patience;
mod rate;
mod settings;
mod store;

pub use address::{Address, AddressError};
pub use client::Client;
pub use failure::HttpError;
pub use file::HttpFile;
pub use halt::Halt;
#[cfg(feature = "held-key")]
pub use held::{ClientKey, HeldError, SigningError, TlsSignature};
pub use patience::{Patience, SystemWait, Wait};
pub use settings::{Header, Identity, Servers, Settings, SettingsError, Tls, header, headers};
pub use store::HttpStore;
pub use ureq::Proxy;
