//! One gzip member into a buffer of known length.

use flate2::bufread::GzDecoder;

use super::{DecodeError, Format, read_whole};

pub(super) fn decode(stored: &[u8], out: &mut [u8]) -> Result<(), DecodeError> {
    let mut decoder = GzDecoder::new(stored);
    read_whole(Format::Gzip, &mut decoder, out)?;
    match decoder.get_ref().len() {
        0 => Ok(()),
        bytes => Err(DecodeError::Trailing {
            format: Format::Gzip,
            bytes,
        }),
    }
}
