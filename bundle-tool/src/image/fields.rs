//! Little-endian fields at places of bytes that were read already.

use super::ImageError;

/// A place or a length that does not fit is one that is not there.
pub(super) fn to_usize(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or(usize::MAX)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ImageError> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field
        .copied()
        .ok_or_else(|| ImageError::damaged("a structure is cut off", at))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, ImageError> {
    array(bytes, at).map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, ImageError> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, ImageError> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// Writes a field where one was read.
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    let place = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut());
    if let Some(place) = place {
        *place = field;
    }
}

/// A place that is written as 32 bits.
pub(super) fn narrow(place: u64, what: &'static str) -> Result<u32, ImageError> {
    u32::try_from(place).map_err(|_| ImageError::damaged(what, place))
}
