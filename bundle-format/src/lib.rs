//! The RAUC bundle as bytes: container, manifest, signature, hash tree, squashfs.
//!
//! A bundle is read through [`ReadAt`], so that a file, memory and a network source are all the
//! same; nothing is mounted and no privileges are needed. The way of the data:
//!
//! ```text
//! Bundle::open      trailer and signature, sizes checked          (nothing is trusted)
//! Bundle::verify    CMS, chain, policy, manifest, tree geometry   (the one decision)
//! VerifiedBundle    every block checked against the signed root on every read
//!   .image(name)    squashfs unpacked in this process
//! ```
//!
//! # Example
//! ```no_run
//! use std::path::Path;
//! use bundle_format::{Bundle, FileReader, Limits, Trust};
//!
//! let trust = Trust::from_keyring_file(Path::new("keyring.pem"))?;
//! let file = FileReader::open(Path::new("update.raucb"))?;
//! let bundle = Bundle::open(file, &Limits::default())?.verify(&trust)?;
//! for image in &bundle.manifest().manifest().images {
//!     bundle.check_image(image, &mut |_, _| {})?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod block_hash_index;
mod bundle;
pub mod cms;
pub mod container;
pub mod crypt;
pub mod der;
mod digest;
pub mod keyfile;
pub mod limits;
pub mod manifest;
mod parallel;
mod payload;
mod payload_error;
mod pinned;
mod read_at;
pub mod squashfs;
mod verified;
pub mod verity;
mod version;

pub use bundle::{Bundle, BundleError, Envelope, VerifiedManifest};
pub use cms::{Signer, Trust, TrustError, VerifyError};
pub use container::ContainerError;
pub use digest::{Digest, HexError, decode_hex, encode_hex};
pub use limits::Limits;
pub use manifest::Manifest;
pub use payload::Payload;
pub use payload_error::PayloadError;
pub use read_at::{FileReader, ReadAt, check_range};
pub use verified::{Files, ImageReader, VerifiedBundle};
pub use version::{RAUC_VERSION, Version};
