//! One .xz stream into a buffer of known length.

use std::io;

use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;

use super::{DecodeError, Format, read_whole};
use crate::limits::XZ_MEMORY;

pub(super) fn decode(stored: &[u8], out: &mut [u8]) -> Result<(), DecodeError> {
    let format = Format::Xz;
    let stream =
        Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(|error| DecodeError::Damaged {
            format,
            source: io::Error::other(error),
        })?;
    let mut decoder = XzDecoder::new_stream(stored, stream);
    read_whole(format, &mut decoder, out)?;
    match decoder.get_ref().len() {
        0 => Ok(()),
        bytes => Err(DecodeError::Trailing { format, bytes }),
    }
}
