//! The stored form of a chunk: compressed, told apart by its first bytes, or as it is.

mod encode;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "xz")]
mod xz;
mod zstd_frame;

pub(crate) use zstd_frame::check_frame;

pub use encode::{DEFAULT_ZSTD_LEVEL, EncodeError, Encoder, Packing};

use std::fmt;
use std::io;

use thiserror::Error;

/// A compressor that stores use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 8878, one frame.
    Zstd,
    /// The .xz file format, one stream.
    Xz,
    /// RFC 1952, one member.
    Gzip,
}

impl Format {
    /// The format that begins with these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Gzip => "gzip",
        })
    }
}

/// What a store says a chunk's file holds: told by its name, not by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredForm {
    /// One of the [`Format`]s (`.cacnk`).
    Packed,
    /// The chunk's own bytes (no suffix).
    Raw,
}

/// Why stored bytes do not give a chunk of the expected length.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// None of the known first bytes.
    #[error("the stored chunk is neither zstd nor xz nor gzip")]
    UnknownFormat,
    /// A format that this program was built without.
    #[error("the stored chunk is packed with {0}, which this program was built without")]
    NotBuilt(Format),
    /// A zstd frame that asks for too much memory.
    #[error("the stored chunk's zstd window of {0} bytes is above the limit of 8 MiB")]
    Window(u64),
    /// The decoder refused the bytes.
    #[error("the stored chunk's {format} data is damaged")]
    Damaged {
        /// The compressor.
        format: Format,
        /// What it said.
        source: io::Error,
    },
    /// It gives more bytes than the index says; decoding stopped there.
    #[error("the stored chunk gives more than the {expected} bytes that the index says")]
    TooLong {
        /// Length by the index.
        expected: usize,
    },
    /// It gives fewer bytes than the index says.
    #[error("the stored chunk gives {found} bytes, not the {expected} that the index says")]
    TooShort {
        /// Length by the index.
        expected: usize,
        /// Length that was found.
        found: usize,
    },
    /// Something follows the compressed data.
    #[error("{bytes} bytes follow the stored chunk's {format} data")]
    Trailing {
        /// The compressor.
        format: Format,
        /// How many.
        bytes: usize,
    },
}

/// Decodes stored chunks, one after another; the decoder's memory is used again.
///
/// The output is bounded by the length that the index gives, whatever the stored bytes claim. What
/// comes out is not yet checked: see [`crate::chunk::HashedChunk`].
#[derive(Default)]
pub struct Decoder {
    zstd: zstd_frame::FrameDecoder,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder; takes memory on first use.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Fills `out`, which has the chunk's length, from `stored`; an error leaves any bytes in it.
    pub fn decode(
        &mut self,
        form: StoredForm,
        stored: &[u8],
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        match form {
            StoredForm::Packed => self.unpack(stored, out),
            StoredForm::Raw => copy_raw(stored, out),
        }
    }

    fn unpack(&mut self, stored: &[u8], out: &mut [u8]) -> Result<(), DecodeError> {
        match Format::of(stored).ok_or(DecodeError::UnknownFormat)? {
            Format::Zstd => self.zstd.decode(stored, out),
            #[cfg(feature = "xz")]
            Format::Xz => xz::decode(stored, out),
            #[cfg(feature = "gzip")]
            Format::Gzip => gzip::decode(stored, out),
            #[cfg(not(all(feature = "xz", feature = "gzip")))]
            other => Err(DecodeError::NotBuilt(other)),
        }
    }
}

fn copy_raw(stored: &[u8], out: &mut [u8]) -> Result<(), DecodeError> {
    let (expected, found) = (out.len(), stored.len());
    if found > expected {
        return Err(DecodeError::TooLong { expected });
    }
    if found < expected {
        return Err(DecodeError::TooShort { expected, found });
    }
    out.copy_from_slice(stored);
    Ok(())
}

/// Reads exactly `out` from a decoder, and that it has no more to give.
#[cfg(any(feature = "xz", feature = "gzip"))]
fn read_whole(
    format: Format,
    input: &mut impl io::Read,
    out: &mut [u8],
) -> Result<(), DecodeError> {
    let expected = out.len();
    let damaged = |source| DecodeError::Damaged { format, source };
    let mut found = 0;
    while found < expected {
        match input.read(&mut out[found..]).map_err(damaged)? {
            0 => return Err(DecodeError::TooShort { expected, found }),
            n => found += n,
        }
    }
    match input.read(&mut [0]).map_err(damaged)? {
        0 => Ok(()),
        _ => Err(DecodeError::TooLong { expected }),
    }
}

#[cfg(test)]
mod tests;
