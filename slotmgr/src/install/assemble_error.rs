//! Why images could not be written.

use std::io;

use bundle_format::{Digest, PayloadError};
use devio::mmc::MmcError;

use super::{ChunkedError, ProgramError};
use crate::slot::SlotName;
use crate::storage::OpenError;
use crate::writer::{FilesystemError, FlashError, SwitchError, UnpackError};

/// Why the images could not be written.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A target that cannot be opened.
    #[error("slot {slot} cannot be written")]
    Open {
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// More bytes than the slot has.
    #[error(
        "image {image} has {size} bytes, and slot {slot} has {len}: it is too small by {} bytes. \
         Nothing was written",
        size - len
    )]
    TooLarge {
        /// File in the bundle.
        image: String,
        /// Its bytes.
        size: u64,
        /// The target.
        slot: SlotName,
        /// Its bytes.
        len: u64,
    },
    /// The bundle is damaged, or its source does not answer.
    #[error(
        "while reading image {image} from the bundle; slot {slot} stays unusable until the next installation"
    )]
    Source {
        /// File in the bundle.
        image: String,
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: PayloadError,
    },
    /// The same, at some byte of the image.
    #[error(
        "while reading image {image} at byte {offset}; slot {slot} stays unusable until the next installation"
    )]
    Read {
        /// File in the bundle.
        image: String,
        /// The target.
        slot: SlotName,
        /// Byte of the image.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The target does not take it.
    #[error(
        "while writing slot {slot} at byte {offset}; it stays unusable until the next installation"
    )]
    Write {
        /// The target.
        slot: SlotName,
        /// Byte of the slot.
        offset: u64,
        /// What the device said.
        #[source]
        source: io::Error,
    },
    /// A chunk could not be had, or the index is no good.
    #[error(
        "while putting image {image} together of chunks; slot {slot} stays unusable until the next installation"
    )]
    Chunked {
        /// File in the bundle.
        image: String,
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: Box<ChunkedError>,
    },
    /// Not the image that the manifest promises.
    #[error(
        "image {image} is not what the manifest promises: expected {expected_size} bytes with \
         SHA-256 {expected}, found {size} bytes with {found}; slot {slot} stays unusable until the \
         next installation"
    )]
    Digest {
        /// File in the bundle.
        image: String,
        /// The target.
        slot: SlotName,
        /// Promised length.
        expected_size: u64,
        /// Promised digest.
        expected: Digest,
        /// Found length.
        size: u64,
        /// Found digest.
        found: Digest,
    },
    /// A half of a region.
    #[error("slot {slot} cannot be written")]
    Switch {
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: SwitchError,
    },
    /// A file system could not be made, mounted or grown.
    #[error("while preparing slot {slot}; it stays unusable until the next installation")]
    Filesystem {
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: FilesystemError,
    },
    /// An archive that cannot be unpacked.
    #[error(
        "while unpacking image {image}; slot {slot} stays unusable until the next installation"
    )]
    Archive {
        /// File in the bundle.
        image: String,
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// Flash.
    #[error("slot {slot} cannot be written")]
    Flash {
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: FlashError,
    },
    /// The boot areas of an eMMC.
    #[error("slot {slot} cannot be written")]
    Mmc {
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: MmcError,
    },
    /// A hook of the bundle failed.
    #[error(
        "a hook of the bundle failed for slot {slot}; it stays unusable until the next installation"
    )]
    Hook {
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: ProgramError,
    },
    /// Somebody asked for it.
    #[error("the installation was stopped; slot {slot} stays unusable until the next installation")]
    Stopped {
        /// The target.
        slot: SlotName,
    },
}
