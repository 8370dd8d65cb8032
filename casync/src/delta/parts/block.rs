//! One block of a frame.

use super::cursor::Cursor;
use super::huffman::Codes;
use super::literals::Literals;
use super::sequences::{self, Sequence};
use super::tables::Tables;
use crate::chunker::widen;

/// Most bytes that a block is unpacked to.
const LARGEST: usize = 128 * 1024;

/// What a block may use of the blocks before it.
#[derive(Default)]
pub(super) struct Memory {
    tables: Tables,
    codes: Option<Codes>,
}

/// What stands behind a block's head.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// The content as it is.
    Raw,
    /// The one byte that all of the content is.
    Same,
    /// Literals and sequences.
    Compressed,
}

/// The three bytes in front of a block.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) last: bool,
    pub(super) kind: Kind,
    /// Bytes behind the head; of [`Kind::Same`], those that the one stands for.
    pub(super) size: u32,
}

impl Head {
    pub(super) fn read(frame: &mut Cursor<'_>) -> Option<Self> {
        let [low, middle, high] = frame.array()?;
        let mut head = Self::of_bits(low)?;
        head.size = u32::from_le_bytes([low, middle, high, 0]) >> 3;
        Some(head)
    }

    pub(super) fn write(self, frame: &mut Vec<u8>) {
        let [low, middle, high, _] = (self.size << 3 | u32::from(self.bits())).to_le_bytes();
        frame.extend([low, middle, high]);
    }

    /// Everything but the size.
    pub(super) fn bits(self) -> u8 {
        let kind = match self.kind {
            Kind::Raw => 0,
            Kind::Same => 1,
            Kind::Compressed => 2,
        };
        kind << 1 | u8::from(self.last)
    }

    pub(super) fn of_bits(bits: u8) -> Option<Self> {
        let kind = match bits >> 1 & 3 {
            0 => Kind::Raw,
            1 => Kind::Same,
            2 => Kind::Compressed,
            _ => return None,
        };
        Some(Self {
            last: bits & 1 == 1,
            kind,
            size: 0,
        })
    }

    /// Bytes behind the head.
    pub(super) fn stored(self) -> usize {
        match self.kind {
            Kind::Raw | Kind::Compressed => widen(self.size),
            Kind::Same => 1,
        }
    }
}

/// Takes apart what stands behind a head.
pub(super) fn take_apart(block: &[u8], memory: &mut Memory, parts: &mut Vec<u8>) -> Option<()> {
    let mut block = Cursor::new(block);
    Literals::read(&mut block)?.put(parts)?;
    let count = sequences::read_count(&mut block)?;
    parts.extend_from_slice(&count.to_le_bytes());
    if count == 0 {
        return block.is_done().then_some(());
    }
    let modes = block.byte()?;
    let described = block.take(memory.tables.update(modes, block.rest())?)?;
    parts.push(modes);
    parts.extend_from_slice(&u16::try_from(described.len()).ok()?.to_le_bytes());
    parts.extend_from_slice(described);
    for sequence in sequences::decode(&memory.tables, count, block.rest())? {
        parts.extend_from_slice(&sequence.to_word()?.to_le_bytes());
    }
    Some(())
}

/// Makes what stands behind a head.
pub(super) fn put_together(
    parts: &mut Cursor<'_>,
    content: &mut Cursor<'_>,
    memory: &mut Memory,
) -> Option<Vec<u8>> {
    let literals = Literals::take(parts)?;
    let count = parts.word()?;
    let (mut sequences, mut head) = (Vec::new(), Vec::new());
    sequences::write_count(count, &mut head)?;
    if count > 0 {
        let modes = parts.byte()?;
        let len = parts.short()?;
        let described = parts.take(len.into())?;
        if memory.tables.update(modes, described)? != described.len() {
            return None;
        }
        head.push(modes);
        head.extend_from_slice(described);
        let words = parts.take(widen(count).checked_mul(size_of::<u64>())?)?;
        let words = words.as_chunks().0.iter().copied();
        sequences.extend(words.map(u64::from_le_bytes).map(Sequence::of_word));
    }
    let plain = literals_of(&sequences, literals.count(), content)?;
    let mut block = literals.write(&plain, &mut memory.codes)?;
    block.extend(head);
    if count > 0 {
        block.extend(sequences::encode(&memory.tables, &sequences)?);
    }
    Some(block)
}

/// The bytes that no match gives.
fn literals_of(sequences: &[Sequence], count: usize, content: &mut Cursor<'_>) -> Option<Vec<u8>> {
    let mut literals = Vec::new();
    for sequence in sequences {
        literals.extend_from_slice(content.take(widen(sequence.literals))?);
        content.take(widen(sequence.matched))?;
    }
    let behind = count.checked_sub(literals.len())?;
    literals.extend_from_slice(content.take(behind)?);
    (literals.len() <= LARGEST).then_some(literals)
}
