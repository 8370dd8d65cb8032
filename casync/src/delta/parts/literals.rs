//! The literals of a block.

use super::cursor::Cursor;
use super::huffman::{self, Codes};
use crate::chunker::widen;

/// Bits of a section's first byte that are its kind and its size's format.
const HEAD: u8 = 15;

/// How the literals are written down.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Raw,
    /// All of them are the same byte.
    Same,
    /// By codes that are described here.
    Coded,
    /// By the codes of the block before.
    CodedAsBefore,
}

/// A section's head, and the description of its codes.
pub(super) struct Literals<'a> {
    head: u8,
    count: u32,
    codes: &'a [u8],
}

/// How a head gives the number of literals: its bytes, and the bits of each number in it.
struct Sizes {
    len: usize,
    shift: u32,
    width: u32,
    streams: usize,
}

impl<'a> Literals<'a> {
    /// Reads a section, and steps over the literals themselves.
    pub(super) fn read(block: &mut Cursor<'a>) -> Option<Self> {
        let mut literals = Self {
            head: *block.rest().first()? & HEAD,
            count: 0,
            codes: &[],
        };
        let sizes = literals.sizes();
        let numbers = block.number(sizes.len)? >> sizes.shift;
        let mask = (1_u64 << sizes.width) - 1;
        literals.count = u32::try_from(numbers & mask).ok()?;
        let stored = match literals.kind() {
            Kind::Raw => widen(literals.count),
            Kind::Same => 1,
            Kind::Coded | Kind::CodedAsBefore => {
                usize::try_from(numbers >> sizes.width & mask).ok()?
            }
        };
        let data = block.take(stored)?;
        if literals.kind() == Kind::Coded {
            literals.codes = data.get(..huffman::description_len(data)?)?;
        }
        Some(literals)
    }

    /// Adds the section to a frame's parts.
    pub(super) fn put(&self, parts: &mut Vec<u8>) -> Option<()> {
        parts.push(self.head);
        parts.push(u8::try_from(self.codes.len()).ok()?);
        parts.extend_from_slice(self.codes);
        parts.extend_from_slice(&self.count.to_le_bytes());
        Some(())
    }

    /// Takes what [`Literals::put`] added.
    pub(super) fn take(parts: &mut Cursor<'a>) -> Option<Self> {
        let head = parts.byte()? & HEAD;
        let len = parts.byte()?;
        Some(Self {
            head,
            codes: parts.take(len.into())?,
            count: parts.word()?,
        })
    }

    pub(super) fn count(&self) -> usize {
        widen(self.count)
    }

    /// The section of these literals.
    pub(super) fn write(&self, literals: &[u8], codes: &mut Option<Codes>) -> Option<Vec<u8>> {
        let data = match self.kind() {
            Kind::Raw => literals.to_vec(),
            Kind::Same => literals.get(..1)?.to_vec(),
            Kind::Coded => {
                *codes = Some(Codes::read(self.codes)?);
                let mut data = self.codes.to_vec();
                data.extend(self.streams(literals, codes.as_ref()?)?);
                data
            }
            Kind::CodedAsBefore => self.streams(literals, codes.as_ref()?)?,
        };
        let sizes = self.sizes();
        let mut numbers = u64::from(self.count) << sizes.shift | u64::from(self.head);
        if matches!(self.kind(), Kind::Coded | Kind::CodedAsBefore) {
            numbers |= u64::try_from(data.len()).ok()? << (sizes.shift + sizes.width);
        }
        let mut section = numbers.to_le_bytes().get(..sizes.len)?.to_vec();
        section.extend(data);
        Some(section)
    }

    /// One stream, or four with the lengths of the first three in front.
    fn streams(&self, literals: &[u8], codes: &Codes) -> Option<Vec<u8>> {
        if self.sizes().streams == 1 {
            return codes.encode(literals);
        }
        let (mut lengths, mut streams, mut rest) = (Vec::new(), Vec::new(), literals);
        for _ in 0..3 {
            let (quarter, behind) = rest.split_at_checked(literals.len().div_ceil(4))?;
            let stream = codes.encode(quarter)?;
            lengths.extend(u16::try_from(stream.len()).ok()?.to_le_bytes());
            streams.extend(stream);
            rest = behind;
        }
        lengths.extend(streams);
        lengths.extend(codes.encode(rest)?);
        Some(lengths)
    }

    fn kind(&self) -> Kind {
        match self.head & 3 {
            0 => Kind::Raw,
            1 => Kind::Same,
            2 => Kind::Coded,
            _ => Kind::CodedAsBefore,
        }
    }

    fn sizes(&self) -> Sizes {
        let format = self.head >> 2;
        let (len, shift, width) = match (self.kind(), format) {
            // With one bit of format only, the other one belongs to the number.
            (Kind::Raw | Kind::Same, 0 | 2) => (1, 3, 5),
            (Kind::Raw | Kind::Same, 1) => (2, 4, 12),
            (Kind::Raw | Kind::Same, _) => (3, 4, 20),
            (_, 0 | 1) => (3, 4, 10),
            (_, 2) => (4, 4, 14),
            (_, _) => (5, 4, 18),
        };
        Sizes {
            len,
            shift,
            width,
            streams: if format == 0 { 1 } else { 4 },
        }
    }
}
