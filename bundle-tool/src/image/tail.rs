//! The tables behind the directories: fragments, exports, owners, extended attributes.

use std::collections::BTreeSet;

use super::ImageError;
use super::blocks::{Block, MovedBlocks};
use super::fields::{put, to_usize, u16_at, u32_at, u64_at};
use super::source::Source;
use super::superblock::NONE;
use super::table::{Repacked, Table, entries};

/// Bytes of an entry of the table of fragments (`u64` start, `u32` word, `u32` 0), and of that of
/// attributes (`u64` reference to the first one, `u32` how many, `u32` bytes).
const FRAGMENT: usize = 16;
const ATTRIBUTE: usize = 16;
/// Bit of an attribute's kind: its value is a reference to another one's.
const ELSEWHERE: u16 = 0x100;

/// The blocks of all fragments, and their table.
pub(super) fn fragments(source: &Source) -> Result<(Table, Vec<Block>), ImageError> {
    let sb = &source.superblock;
    let len = to_usize(sb.fragments).saturating_mul(FRAGMENT);
    if len == 0 {
        return Ok((Table::default(), Vec::new()));
    }
    let table = source.listed(sb.fragment_table, len)?;
    let mut blocks = Vec::new();
    for at in entries(&table, FRAGMENT) {
        blocks.push(fragment(&table, at)?);
    }
    blocks.retain(|block| !block.is_hole());
    Ok((table, blocks))
}

fn fragment(table: &Table, at: usize) -> Result<Block, ImageError> {
    Ok(Block {
        start: u64_at(&table.bytes, at)?,
        word: u32_at(&table.bytes, at + 8)?,
    })
}

/// The table of fragments, packed.
pub(super) fn moved_fragments(
    mut table: Table,
    blocks: &MovedBlocks,
    level: u8,
) -> Result<Repacked, ImageError> {
    for at in entries(&table, FRAGMENT) {
        let block = fragment(&table, at)?;
        if !block.is_hole() {
            let moved = blocks.find(block.start)?;
            put(&mut table.bytes, at, moved.start.to_le_bytes());
            put(&mut table.bytes, at + 8, moved.word.to_le_bytes());
        }
    }
    packed(table, level, "table of fragments")
}

/// The table of exports, packed: where the inode of each number is.
pub(super) fn exports(
    source: &Source,
    inodes: &Repacked,
    level: u8,
) -> Result<Option<Repacked>, ImageError> {
    let sb = &source.superblock;
    if sb.exports == NONE {
        return Ok(None);
    }
    let mut table = source.listed(sb.exports, to_usize(sb.inode_count).saturating_mul(8))?;
    for at in entries(&table, 8) {
        let moved = inodes.moved(u64_at(&table.bytes, at)?)?;
        put(&mut table.bytes, at, moved.to_le_bytes());
    }
    packed(table, level, "table of exports").map(Some)
}

/// The table of owners and groups, packed.
pub(super) fn ids(source: &Source, level: u8) -> Result<Repacked, ImageError> {
    let sb = &source.superblock;
    let table = source.listed(sb.ids, usize::from(sb.id_count) * 4)?;
    packed(table, level, "table of owners")
}

/// Extended attributes: names and values, and the table of who has which.
pub(super) struct Attributes {
    pub(super) values: Repacked,
    pub(super) owners: Repacked,
    pub(super) count: u32,
}

impl Attributes {
    /// Packs them again; `None` if there are none.
    pub(super) fn repack(source: &Source, level: u8) -> Result<Option<Self>, ImageError> {
        let place = source.superblock.attributes;
        if place == NONE {
            return Ok(None);
        }
        // u64 where the values begin, u32 how many, u32 0, then the list of blocks.
        let header = source.read(place, 16)?;
        let (values, count) = (u64_at(&header, 0)?, u32_at(&header, 8)?);
        if count == 0 {
            return Ok(None);
        }
        let len = to_usize(count).saturating_mul(ATTRIBUTE);
        let first = source.first_block(place + 16, len)?;
        let mut owners = source.table(first, place)?;
        if owners.len() != len {
            return Err(ImageError::damaged("a table of another length", place));
        }
        let values = source.table(values, first)?;
        let elsewhere = elsewhere(&owners, &values)?;
        let mut values = Repacked::new(values, level, "table of attributes");
        for at in elsewhere {
            values.pack_before(at)?;
            let moved = values.moved(u64_at(&values.old.bytes, at)?)?;
            put(&mut values.old.bytes, at, moved.to_le_bytes());
        }
        values.finish()?;
        for at in entries(&owners, ATTRIBUTE) {
            let moved = values.moved(u64_at(&owners.bytes, at)?)?;
            put(&mut owners.bytes, at, moved.to_le_bytes());
        }
        Ok(Some(Self {
            values,
            owners: packed(owners, level, "table of attributes")?,
            count,
        }))
    }
}

/// Where values are references, in order.
fn elsewhere(owners: &Table, values: &Table) -> Result<BTreeSet<usize>, ImageError> {
    let mut found = BTreeSet::new();
    for owner in entries(owners, ATTRIBUTE) {
        let mut at = values.place_of(u64_at(&owners.bytes, owner)?)?;
        for _ in 0..u32_at(&owners.bytes, owner + 8)? {
            let kind = u16_at(&values.bytes, at)?;
            // u16 kind, u16 length of the name, the name; u32 length of the value, the value.
            at += 4 + usize::from(u16_at(&values.bytes, at + 2)?);
            let len = to_usize(u32_at(&values.bytes, at)?);
            if kind & ELSEWHERE != 0 {
                found.insert(at + 4);
            }
            at = len.saturating_add(at + 4);
        }
    }
    Ok(found)
}

fn packed(table: Table, level: u8, name: &'static str) -> Result<Repacked, ImageError> {
    let mut table = Repacked::new(table, level, name);
    table.finish()?;
    Ok(table)
}
