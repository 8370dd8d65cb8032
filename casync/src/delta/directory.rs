//! The list of a delta's pieces.

use thiserror::Error;

use super::varint::{Numbers, VarintError, put, put_signed};
use crate::chunker::widen;
use crate::limits::{DELTA_PARTS, DELTA_PIECE, DELTA_PREFIX, DELTA_RANGES, packed_len};

/// Bytes of the base image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseRange {
    /// Where they begin.
    pub start: u64,
    /// How many there are.
    pub len: u32,
}

/// How a piece is made of its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// The data is the piece.
    Raw,
    /// The data is a zstd frame; its prefix are these bytes of the base, one range after another.
    Packed {
        /// The prefix.
        prefix: Vec<BaseRange>,
    },
    /// The data is a zstd frame of the *content* of the piece, which is a zstd frame itself. Each
    /// range of the base is a whole zstd frame, too; the contents of all are the prefix.
    Frame {
        /// Level with which the content is compressed to be the piece.
        level: u8,
        /// Bytes of the content.
        content: u32,
        /// What is done where zstd makes something else of the content than stands in the image.
        mend: Mend,
        /// The prefix.
        prefix: Vec<BaseRange>,
    },
}

/// How a frame that this zstd makes of a content becomes the one that another zstd made of it.
///
/// The data ends with a second frame for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// They are the same.
    None,
    /// The second frame is the piece, with the frame that was made as its prefix.
    Bytes {
        /// Bytes of the second frame.
        len: u32,
    },
    /// The second frame are the piece's parts, with those of the frame that was made as their prefix.
    Parts {
        /// Bytes of the second frame.
        len: u32,
        /// Bytes of the piece's parts.
        parts: u32,
    },
}

impl Mend {
    /// Bytes of the second frame; 0 without one.
    #[must_use]
    pub fn data_len(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Bytes { len } | Self::Parts { len, .. } => len,
        }
    }
}

/// A stretch of the new image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the new image.
    pub start: u64,
    /// Its length.
    pub len: u32,
    /// Where its data begins, counted from the start of the delta's data.
    pub data_start: u64,
    /// Bytes of its data.
    pub data_len: u32,
    /// How it is made.
    pub kind: PieceKind,
}

impl Piece {
    /// Offset behind the piece's last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.len.into())
    }
}

/// Why bytes are no directory.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Not the numbers that belong there.
    #[error(transparent)]
    Number(#[from] VarintError),
    /// A number that cannot be.
    #[error("piece {number} of the delta has {what} {value}, which is not possible")]
    Piece {
        /// Which piece, from 0.
        number: u64,
        /// What is wrong.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// Bytes follow the last piece.
    #[error("bytes follow the last piece of the delta")]
    Trailing,
}

const RAW: u64 = 0;
const PACKED: u64 = 1;
const FRAME: u64 = 2;
const FRAME_IN_PARTS: u64 = 3;

pub(super) fn put_pieces(out: &mut Vec<u8>, pieces: &[Piece]) {
    put(out, u64::try_from(pieces.len()).unwrap_or(u64::MAX));
    let (mut end, mut base) = (0, 0);
    for piece in pieces {
        put(out, piece.start - end);
        put(out, piece.len.into());
        put(out, piece.data_len.into());
        end = piece.end();
        match &piece.kind {
            PieceKind::Raw => put(out, RAW),
            PieceKind::Packed { prefix } => {
                put(out, PACKED);
                put_ranges(out, prefix, &mut base);
            }
            PieceKind::Frame {
                level,
                content,
                mend,
                prefix,
            } => {
                let parts = match mend {
                    Mend::None | Mend::Bytes { .. } => None,
                    Mend::Parts { parts, .. } => Some(*parts),
                };
                put(out, parts.map_or(FRAME, |_| FRAME_IN_PARTS));
                put(out, (*level).into());
                put(out, (*content).into());
                put(out, mend.data_len().into());
                if let Some(parts) = parts {
                    put(out, parts.into());
                }
                put_ranges(out, prefix, &mut base);
            }
        }
    }
}

/// Ranges as differences to where the last one ended: most follow each other.
fn put_ranges(out: &mut Vec<u8>, ranges: &[BaseRange], base: &mut u64) {
    put(out, u64::try_from(ranges.len()).unwrap_or(u64::MAX));
    for range in ranges {
        put_signed(out, range.start.wrapping_sub(*base).cast_signed());
        put(out, range.len.into());
        *base = range.start + u64::from(range.len);
    }
}

/// Reads what [`put_pieces`] wrote; nothing may follow.
pub(super) fn take_pieces(numbers: &mut Numbers<'_>) -> Result<Vec<Piece>, DirectoryError> {
    let count = numbers.next()?;
    let (mut pieces, mut end, mut data, mut base) = (Vec::new(), 0_u64, 0_u64, 0_u64);
    for number in 0..count {
        let wrong = |what, value| DirectoryError::Piece {
            number,
            what,
            value,
        };
        let gap = numbers.next()?;
        let start = end.checked_add(gap).ok_or(wrong("a gap of", gap))?;
        let len = numbers.next_u32()?;
        if len == 0 || len > DELTA_PIECE {
            return Err(wrong("a length of", len.into()));
        }
        let data_len = numbers.next_u32()?;
        if u64::from(data_len) > packed_len(DELTA_PIECE.into()) {
            return Err(wrong("data of bytes", data_len.into()));
        }
        let kind = match numbers.next()? {
            RAW if data_len != len => return Err(wrong("raw data of bytes", data_len.into())),
            RAW => PieceKind::Raw,
            PACKED => PieceKind::Packed {
                prefix: take_ranges(numbers, number, &mut base)?,
            },
            kind @ (FRAME | FRAME_IN_PARTS) => {
                let (level, content, mend) = take_frame(numbers, (number, data_len), kind)?;
                PieceKind::Frame {
                    level,
                    content,
                    mend,
                    prefix: take_ranges(numbers, number, &mut base)?,
                }
            }
            other => return Err(wrong("the kind", other)),
        };
        end = start
            .checked_add(len.into())
            .ok_or(wrong("a start of", start))?;
        pieces.push(Piece {
            start,
            len,
            data_start: data,
            data_len,
            kind,
        });
        data = data.saturating_add(data_len.into());
    }
    if !numbers.is_done() {
        return Err(DirectoryError::Trailing);
    }
    Ok(pieces)
}

/// Level, content and mend.
fn take_frame(
    numbers: &mut Numbers<'_>,
    (number, data_len): (u64, u32),
    kind: u64,
) -> Result<(u8, u32, Mend), DirectoryError> {
    let wrong = |what, value| DirectoryError::Piece {
        number,
        what,
        value,
    };
    let level = match numbers.next()? {
        level @ 1..=22 => u8::try_from(level).unwrap_or(1),
        other => return Err(wrong("the level", other)),
    };
    let content = numbers.next_u32()?;
    if content > DELTA_PIECE {
        return Err(wrong("a content of bytes", content.into()));
    }
    let len = numbers.next_u32()?;
    if len > data_len {
        return Err(wrong("a second frame of bytes", len.into()));
    }
    let mend = match (kind, len) {
        (FRAME_IN_PARTS, _) => Mend::Parts {
            len,
            parts: numbers.next_u32()?,
        },
        (_, 0) => Mend::None,
        _ => Mend::Bytes { len },
    };
    match mend {
        Mend::Parts { parts, .. } if widen(parts) > DELTA_PARTS => {
            Err(wrong("a frame whose parts have bytes", parts.into()))
        }
        _ => Ok((level, content, mend)),
    }
}

fn take_ranges(
    numbers: &mut Numbers<'_>,
    number: u64,
    base: &mut u64,
) -> Result<Vec<BaseRange>, DirectoryError> {
    let wrong = |what, value| DirectoryError::Piece {
        number,
        what,
        value,
    };
    let count = numbers.next()?;
    if count > DELTA_RANGES {
        return Err(wrong("a number of ranges of", count));
    }
    let (mut ranges, mut total) = (Vec::new(), 0_usize);
    for _ in 0..count {
        let start = base.wrapping_add_signed(numbers.next_signed()?);
        let len = numbers.next_u32()?;
        let end = start.checked_add(len.into());
        *base = end.ok_or(wrong("a range at", start))?;
        total = total.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
        if total > DELTA_PREFIX {
            return Err(wrong("a prefix of bytes", len.into()));
        }
        ranges.push(BaseRange { start, len });
    }
    Ok(ranges)
}
