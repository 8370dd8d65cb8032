//! Packs chunks for a store.

use std::fmt;
use std::io;

use thiserror::Error;
use zstd::zstd_safe::{CCtx, CParameter, compress_bound, get_error_name};

use super::Format;

/// The level that casync packs with.
pub const DEFAULT_ZSTD_LEVEL: i32 = 3;

/// How chunks are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packing {
    /// zstd at a level of zstd's own (1 to 22, and negative ones).
    Zstd {
        /// The level.
        level: i32,
    },
    /// xz with its default preset.
    #[cfg(feature = "xz")]
    Xz,
    /// gzip with its default level.
    #[cfg(feature = "gzip")]
    Gzip,
}

impl Default for Packing {
    fn default() -> Self {
        Self::Zstd {
            level: DEFAULT_ZSTD_LEVEL,
        }
    }
}

/// A chunk could not be packed.
#[derive(Debug, Error)]
#[error("cannot pack a chunk with {format}")]
pub struct EncodeError {
    format: Format,
    source: io::Error,
}

/// Packs chunks, one after another; the compressor's memory is used again.
pub struct Encoder {
    packing: Packing,
    zstd: CCtx<'static>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("packing", &self.packing)
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder. zstd takes a level beyond its last as its last.
    pub fn new(packing: Packing) -> Result<Self, EncodeError> {
        let mut zstd = CCtx::create();
        let level = match packing {
            Packing::Zstd { level } => level,
            #[cfg(any(feature = "xz", feature = "gzip"))]
            _ => DEFAULT_ZSTD_LEVEL,
        };
        zstd.set_parameter(CParameter::CompressionLevel(level))
            .map_err(zstd_error)?;
        Ok(Self { packing, zstd })
    }

    /// Replaces `out` by the packed chunk.
    ///
    /// The frame states its content's size and has no checksum: the chunk's id says more.
    pub fn encode(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.clear();
        match self.packing {
            Packing::Zstd { .. } => {
                out.reserve(compress_bound(chunk.len()));
                self.zstd
                    .compress2(out, chunk)
                    .map(|_| ())
                    .map_err(zstd_error)
            }
            #[cfg(feature = "xz")]
            Packing::Xz => {
                let mut encoder = liblzma::bufread::XzEncoder::new(chunk, XZ_PRESET);
                read_all(Format::Xz, &mut encoder, out)
            }
            #[cfg(feature = "gzip")]
            Packing::Gzip => {
                let level = flate2::Compression::default();
                read_all(
                    Format::Gzip,
                    &mut flate2::bufread::GzEncoder::new(chunk, level),
                    out,
                )
            }
        }
    }
}

/// liblzma's `LZMA_PRESET_DEFAULT`.
#[cfg(feature = "xz")]
const XZ_PRESET: u32 = 6;

#[cfg(any(feature = "xz", feature = "gzip"))]
fn read_all(
    format: Format,
    encoder: &mut impl io::Read,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    encoder
        .read_to_end(out)
        .map(|_| ())
        .map_err(|source| EncodeError { format, source })
}

fn zstd_error(code: usize) -> EncodeError {
    EncodeError {
        format: Format::Zstd,
        source: io::Error::other(get_error_name(code)),
    }
}
