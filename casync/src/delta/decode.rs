//! A piece out of its data and the base image.

use std::io;

use thiserror::Error;
use zstd::zstd_safe::get_frame_content_size;

use super::directory::{BaseRange, Mend, Piece, PieceKind};
use super::frame::{frame_with, unpack};
use super::parts::{put_together, take_apart};
use super::tools::Tools;
use crate::blob::Blob;
use crate::chunker::widen;
use crate::codec::DecodeError;
use crate::limits::{DELTA_PIECE, DELTA_PREFIX};

/// Why a piece does not come out.
#[derive(Debug, Error)]
pub enum PieceError {
    /// The delta's data cannot be read.
    #[error("cannot read the delta")]
    Data(#[source] io::Error),
    /// The base image cannot be read where the delta says.
    #[error("cannot read {len} bytes at byte {start} of the base image")]
    Base {
        /// Where.
        start: u64,
        /// How many.
        len: u32,
        /// Why.
        source: io::Error,
    },
    /// The base image has no zstd frame there.
    #[error("there is no zstd frame at byte {0} of the base image: it is another image")]
    NoFrame(u64),
    /// The prefix is longer than any builder makes it.
    #[error("the piece wants more than {DELTA_PREFIX} bytes of the base image")]
    LongPrefix,
    /// It cannot be unpacked.
    #[error("the piece cannot be unpacked")]
    Unpack(#[source] DecodeError),
    /// It cannot be packed again.
    #[error("the piece cannot be compressed")]
    Compress(#[source] io::Error),
    /// What the delta says of the frame does not fit together with its content.
    #[error("the piece's parts do not fit together")]
    Parts,
    /// Compressed, it has another length: it was made by another version of zstd.
    #[error("compressed again, the piece has {found} bytes, not {expected}")]
    OtherLength {
        /// By the delta.
        expected: u32,
        /// What came out.
        found: usize,
    },
}

/// The bytes of `piece`; `data` is what the delta holds for it.
pub(super) fn decode(
    piece: &Piece,
    data: Vec<u8>,
    base: &dyn Blob,
    tools: &mut Tools,
) -> Result<Vec<u8>, PieceError> {
    match &piece.kind {
        PieceKind::Raw => Ok(data),
        PieceKind::Packed { prefix } => {
            bytes_of(prefix, base, tools)?;
            unpacked(&tools.prefix, &data, piece.len)
        }
        PieceKind::Frame {
            level,
            content,
            mend,
            prefix,
        } => {
            let (data, second) = data.split_at(data.len().saturating_sub(widen(mend.data_len())));
            contents_of(prefix, base, tools)?;
            let Tools {
                packer,
                prefix,
                content: room,
                ..
            } = tools;
            room.resize(widen(*content), 0);
            unpack(prefix, data, room).map_err(PieceError::Unpack)?;
            let made = frame_with(packer, room, *level).map_err(PieceError::Compress)?;
            let mended = match mend {
                Mend::None => made,
                Mend::Bytes { .. } => unpacked(&made, second, piece.len)?,
                Mend::Parts { parts, .. } => {
                    let known = take_apart(&made).ok_or(PieceError::Parts)?;
                    let parts = unpacked(&known, second, *parts)?;
                    put_together(&parts, room).ok_or(PieceError::Parts)?
                }
            };
            if mended.len() != widen(piece.len) {
                return Err(PieceError::OtherLength {
                    expected: piece.len,
                    found: mended.len(),
                });
            }
            Ok(mended)
        }
    }
}

fn unpacked(prefix: &[u8], frame: &[u8], len: u32) -> Result<Vec<u8>, PieceError> {
    let mut out = vec![0; widen(len)];
    unpack(prefix, frame, &mut out).map_err(PieceError::Unpack)?;
    Ok(out)
}

/// What a piece is decoded against.
pub(super) fn prefix_of(piece: &Piece) -> &[BaseRange] {
    match &piece.kind {
        PieceKind::Raw => &[],
        PieceKind::Packed { prefix } | PieceKind::Frame { prefix, .. } => prefix,
    }
}

/// Makes the bytes of the ranges, one after another, the tools' prefix.
pub(super) fn bytes_of(
    ranges: &[BaseRange],
    base: &dyn Blob,
    tools: &mut Tools,
) -> Result<(), PieceError> {
    tools.prefix.clear();
    for range in ranges {
        read(range, base, room(&mut tools.prefix, range.len)?)?;
    }
    Ok(())
}

/// Makes the contents of the frames in the ranges, one after another, the tools' prefix.
pub(super) fn contents_of(
    ranges: &[BaseRange],
    base: &dyn Blob,
    tools: &mut Tools,
) -> Result<(), PieceError> {
    let Tools { prefix, frame, .. } = tools;
    prefix.clear();
    for range in ranges {
        if range.len > DELTA_PIECE + DELTA_PIECE / 8 {
            return Err(PieceError::LongPrefix);
        }
        frame.resize(widen(range.len), 0);
        read(range, base, frame)?;
        let len = content_len(frame).ok_or(PieceError::NoFrame(range.start))?;
        unpack(&[], frame, room(prefix, len)?).map_err(PieceError::Unpack)?;
    }
    Ok(())
}

/// Room for so many more bytes of a prefix, and for no more than these.
fn room(prefix: &mut Vec<u8>, len: u32) -> Result<&mut [u8], PieceError> {
    let at = prefix.len();
    let end = at.saturating_add(widen(len));
    if end > DELTA_PREFIX {
        return Err(PieceError::LongPrefix);
    }
    prefix.reserve_exact(end - at);
    prefix.resize(end, 0);
    Ok(&mut prefix[at..])
}

/// The content's length that a frame states, if it is one that we handle.
pub(super) fn content_len(frame: &[u8]) -> Option<u32> {
    let len = get_frame_content_size(frame).ok().flatten()?;
    u32::try_from(len).ok().filter(|len| *len <= DELTA_PIECE)
}

fn read(range: &BaseRange, base: &dyn Blob, into: &mut [u8]) -> Result<(), PieceError> {
    base.read_exact_at(range.start, into)
        .map_err(|source| PieceError::Base {
            start: range.start,
            len: range.len,
            source,
        })
}
