//! Unpacking one block into a buffer of known size: no block can ask for more memory than that.

use flate2::{Decompress, FlushDecompress, Status};
use liblzma::stream::{Action, Stream};

use super::SquashfsError;
use crate::limits::MAX_XZ_MEMORY;

/// Compressors that squashfs images of bundles use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressor {
    /// zlib's streams.
    Gzip,
    /// xz's.
    Xz,
    /// zstd's frames.
    Zstd,
}

impl Compressor {
    /// The compressor that a superblock names by this number.
    ///
    /// # Errors
    /// One that we do not have.
    pub fn from_id(id: u16) -> Result<Self, SquashfsError> {
        let name = match id {
            1 => return Ok(Self::Gzip),
            4 => return Ok(Self::Xz),
            6 => return Ok(Self::Zstd),
            2 => "lzma".to_owned(),
            3 => "lzo".to_owned(),
            5 => "lz4".to_owned(),
            other => format!("number {other}"),
        };
        Err(SquashfsError::Compressor { name })
    }

    /// Unpacks `packed` into the start of `out`; returns how much that gave.
    ///
    /// # Errors
    /// Damaged, or longer than `out`; in the decoder's words.
    pub fn unpack(self, packed: &[u8], out: &mut [u8]) -> Result<usize, String> {
        match self {
            Self::Gzip => gzip(packed, out),
            Self::Xz => xz(packed, out),
            Self::Zstd => zstd::bulk::decompress_to_buffer(packed, out).map_err(|e| e.to_string()),
        }
    }
}

fn gzip(packed: &[u8], out: &mut [u8]) -> Result<usize, String> {
    let mut decoder = Decompress::new(true);
    match decoder.decompress(packed, out, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) => usize::try_from(decoder.total_out()).map_err(|e| e.to_string()),
        Ok(_) => Err("the zlib stream does not end where it should".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn xz(packed: &[u8], out: &mut [u8]) -> Result<usize, String> {
    let mut decoder = Stream::new_stream_decoder(MAX_XZ_MEMORY, 0).map_err(|e| e.to_string())?;
    match decoder.process(packed, out, Action::Finish) {
        Ok(liblzma::stream::Status::StreamEnd) => {
            usize::try_from(decoder.total_out()).map_err(|e| e.to_string())
        }
        Ok(_) => Err("the xz stream does not end where it should".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
