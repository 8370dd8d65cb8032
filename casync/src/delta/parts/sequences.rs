//! Sequences of a block: how many literals, then how much of what came before.

use super::bits::{BitWriter, BitsFromEnd};
use super::cursor::Cursor;
use super::fse::{Decoder, Encoder};
use super::tables::Tables;

/// Bits of an offset and of a length in eight bytes.
const OFFSET_BITS: u32 = 24;
const LENGTH_BITS: u32 = 20;

/// One sequence. `offset` is as the format has it: 1 to 3 are the last offsets again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) literals: u32,
    pub(super) matched: u32,
    pub(super) offset: u32,
}

impl Sequence {
    /// The sequence in eight bytes, if it fits.
    pub(super) fn to_word(self) -> Option<u64> {
        let fits = self.offset >> OFFSET_BITS == 0 && self.matched >> LENGTH_BITS == 0;
        let lengths = u64::from(self.literals) << LENGTH_BITS | u64::from(self.matched);
        (fits && self.literals >> LENGTH_BITS == 0)
            .then_some(lengths << OFFSET_BITS | u64::from(self.offset))
    }

    pub(super) fn of_word(word: u64) -> Self {
        let bits = |shift: u32, width: u32| {
            let low = word >> shift & ((1 << width) - 1);
            u32::try_from(low).unwrap_or(u32::MAX)
        };
        Self {
            literals: bits(OFFSET_BITS + LENGTH_BITS, LENGTH_BITS),
            matched: bits(OFFSET_BITS, LENGTH_BITS),
            offset: bits(0, OFFSET_BITS),
        }
    }
}

/// Where a code's values begin, and how many bits tell which one.
type Codes = &'static [(u32, u32)];

#[rustfmt::skip]
const LITERALS: Codes = &[
    (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 0),
    (12, 0), (13, 0), (14, 0), (15, 0), (16, 1), (18, 1), (20, 1), (22, 1), (24, 2), (28, 2), (32, 3),
    (40, 3), (48, 4), (64, 6), (128, 7), (256, 8), (512, 9), (1024, 10), (2048, 11), (4096, 12), (8192, 13),
    (16384, 14), (32768, 15), (65536, 16),
];

#[rustfmt::skip]
const MATCHES: Codes = &[
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 0), (12, 0), (13, 0), (14, 0),
    (15, 0), (16, 0), (17, 0), (18, 0), (19, 0), (20, 0), (21, 0), (22, 0), (23, 0), (24, 0), (25, 0),
    (26, 0), (27, 0), (28, 0), (29, 0), (30, 0), (31, 0), (32, 0), (33, 0), (34, 0), (35, 1), (37, 1),
    (39, 1), (41, 1), (43, 2), (47, 2), (51, 3), (59, 3), (67, 4), (83, 4), (99, 5), (131, 7), (259, 8),
    (515, 9), (1027, 10), (2051, 11), (4099, 12), (8195, 13), (16387, 14), (32771, 15), (65539, 16),
];

/// Largest code of an offset: more does not fit into a sequence's eight bytes.
const LARGEST_OFFSET: u8 = 23;

/// The code of a value, the bits behind the code, and how many.
fn code_of(codes: Codes, value: u32) -> Option<(u8, u32, u32)> {
    let behind = codes.partition_point(|(start, _)| *start <= value);
    let code = behind.checked_sub(1)?;
    let (start, bits) = *codes.get(code)?;
    let extra = value - start;
    (extra >> bits == 0).then_some((u8::try_from(code).ok()?, extra, bits))
}

/// Numbers of sequences that have more than one byte begin here.
const TWO_BYTES: u32 = 0x80;
const THREE_BYTES: u32 = 0x7f00;

pub(super) fn read_count(block: &mut Cursor<'_>) -> Option<u32> {
    let first = u32::from(block.byte()?);
    match first {
        0..TWO_BYTES => Some(first),
        0xff => Some(THREE_BYTES + u32::from(block.short()?)),
        _ => Some(((first - TWO_BYTES) << 8) + u32::from(block.byte()?)),
    }
}

pub(super) fn write_count(count: u32, block: &mut Vec<u8>) -> Option<()> {
    let [low, high, ..] = count.to_le_bytes();
    match count {
        0..TWO_BYTES => block.push(low),
        TWO_BYTES..THREE_BYTES => block.extend([high | 0x80, low]),
        _ => {
            block.push(0xff);
            block.extend(u16::try_from(count - THREE_BYTES).ok()?.to_le_bytes());
        }
    }
    Some(())
}

pub(super) fn decode(tables: &Tables, count: u32, bytes: &[u8]) -> Option<Vec<Sequence>> {
    let literals = Decoder::new(tables.literals.as_ref()?)?;
    let offsets = Decoder::new(tables.offsets.as_ref()?)?;
    let matches = Decoder::new(tables.matches.as_ref()?)?;
    let mut bits = BitsFromEnd::new(bytes)?;
    let mut literal = literals.first(&mut bits)?;
    let mut offset = offsets.first(&mut bits)?;
    let mut matched = matches.first(&mut bits)?;
    let mut sequences = Vec::new();
    for number in 0..count {
        if offset.symbol > LARGEST_OFFSET {
            return None;
        }
        let far = (1_u32 << offset.symbol) + bits.read(offset.symbol.into())?;
        let (start, width) = *MATCHES.get(usize::from(matched.symbol))?;
        let long = start + bits.read(width)?;
        let (start, width) = *LITERALS.get(usize::from(literal.symbol))?;
        sequences.push(Sequence {
            literals: start + bits.read(width)?,
            matched: long,
            offset: far,
        });
        if number + 1 < count {
            literal = literals.next(literal, &mut bits)?;
            matched = matches.next(matched, &mut bits)?;
            offset = offsets.next(offset, &mut bits)?;
        }
    }
    (bits.left() == 0).then_some(sequences)
}

/// From the last sequence to the first.
pub(super) fn encode(tables: &Tables, sequences: &[Sequence]) -> Option<Vec<u8>> {
    let mut literals = Encoder::new(tables.literals.as_ref()?)?;
    let mut offsets = Encoder::new(tables.offsets.as_ref()?)?;
    let mut matches = Encoder::new(tables.matches.as_ref()?)?;
    let mut out = BitWriter::default();
    for sequence in sequences.iter().rev() {
        let (literal, literal_extra, literal_bits) = code_of(LITERALS, sequence.literals)?;
        let (matched, match_extra, match_bits) = code_of(MATCHES, sequence.matched)?;
        let offset_bits = sequence.offset.checked_ilog2()?;
        let offset = u8::try_from(offset_bits).ok()?;
        offsets.put(offset, &mut out)?;
        matches.put(matched, &mut out)?;
        literals.put(literal, &mut out)?;
        out.put(literal_extra, literal_bits);
        out.put(match_extra, match_bits);
        out.put(sequence.offset, offset_bits);
    }
    matches.finish(&mut out)?;
    offsets.finish(&mut out)?;
    literals.finish(&mut out)?;
    Some(out.finish())
}
