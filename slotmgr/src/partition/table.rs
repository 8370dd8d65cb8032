//! The entries of a GPT, and what may be changed in them.
//!
//! The entries stay the bytes that they were: a change patches its own field and nothing else, so
//! that numbers, names, unknown attribute bits and unused entries are kept.

use super::header::{Fields, Header};
use super::{Guid, le_u64, put};

const TYPE: usize = 0;
const UNIQUE: usize = 16;
const FIRST: usize = 32;
const LAST: usize = 40;
const ATTRIBUTES: usize = 48;
const NAME: usize = 56;
const NAME_BYTES: usize = 72;

/// One used entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Number, from 1 on: `/dev/sdaNUMBER`.
    pub number: u32,
    /// Kind of partition.
    pub kind: Guid,
    /// The partition's own GUID.
    pub unique: Guid,
    /// First sector.
    pub first: u64,
    /// Last sector: part of the partition.
    pub last: u64,
    /// All 64 bits.
    pub attributes: u64,
    /// Its name; characters that are none are replaced.
    pub name: String,
}

/// What makes a table useless although its checksums are right. Nothing is written over it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// First after last, or outside what partitions may use.
    #[error("partition {number} lies outside of the space for partitions")]
    Outside {
        /// The partition.
        number: u32,
    },
    /// Two partitions share sectors.
    #[error("partitions {first} and {second} overlap")]
    Overlap {
        /// The one.
        first: u32,
        /// The other.
        second: u32,
    },
    /// No such partition.
    #[error("there is no partition {number}")]
    Missing {
        /// The partition.
        number: u32,
    },
}

/// The entries of one table, with the limits that its header sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    fields: Fields,
    entries: Vec<u8>,
}

impl Table {
    /// `entries` are the bytes that the header's checksum covers.
    #[must_use]
    pub fn new(header: &Header, entries: Vec<u8>) -> Table {
        Table {
            fields: header.fields(),
            entries,
        }
    }

    /// All entries, as bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.entries
    }

    /// The disk's GUID.
    #[must_use]
    pub fn disk(&self) -> Guid {
        self.fields.disk
    }

    /// First and last sector that partitions may use.
    #[must_use]
    pub fn usable(&self) -> (u64, u64) {
        (self.fields.first_usable, self.fields.last_usable)
    }

    /// The used entries, by number.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let raw = self.entries.chunks_exact(self.entry_size());
        raw.zip(1..).filter_map(|(raw, number)| entry(raw, number))
    }

    /// The entry of this number, if it is used.
    #[must_use]
    pub fn entry(&self, number: u32) -> Option<Entry> {
        entry(self.entries.get(self.place(number)?)?, number)
    }

    /// The first entry with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Entry> {
        self.entries().find(|entry| entry.name == name)
    }

    /// Moves a partition: its first and last sector.
    ///
    /// # Errors
    /// If there is no such partition, or it would overlap with another one or leave its space. The
    /// table is as it was then.
    pub fn set_place(&mut self, number: u32, (first, last): (u64, u64)) -> Result<(), Unsound> {
        let before = self.clone();
        self.patch(number, FIRST, &first.to_le_bytes())?;
        self.patch(number, LAST, &last.to_le_bytes())?;
        self.check().inspect_err(|_| *self = before)
    }

    /// Changes the kind of a partition.
    ///
    /// # Errors
    /// If there is no such partition, or the kind is the one of unused entries.
    pub fn set_kind(&mut self, number: u32, kind: Guid) -> Result<(), Unsound> {
        if kind == Guid::ZERO {
            return Err(Unsound::Missing { number });
        }
        self.patch(number, TYPE, &kind.to_bytes())
    }

    /// Sets all attribute bits of a partition.
    ///
    /// # Errors
    /// If there is no such partition.
    pub fn set_attributes(&mut self, number: u32, attributes: u64) -> Result<(), Unsound> {
        self.patch(number, ATTRIBUTES, &attributes.to_le_bytes())
    }

    /// Whether all partitions lie within their space, and no two share a sector.
    ///
    /// # Errors
    /// The first breach.
    pub fn check(&self) -> Result<(), Unsound> {
        let mut entries: Vec<Entry> = self.entries().collect();
        let (first_usable, last_usable) = self.usable();
        let outside = |entry: &&Entry| {
            entry.first > entry.last || entry.first < first_usable || entry.last > last_usable
        };
        if let Some(Entry { number, .. }) = entries.iter().find(outside) {
            return Err(Unsound::Outside { number: *number });
        }
        entries.sort_by_key(|entry| entry.first);
        for pair in entries.windows(2) {
            if pair[1].first <= pair[0].last {
                return Err(Unsound::Overlap {
                    first: pair[0].number,
                    second: pair[1].number,
                });
            }
        }
        Ok(())
    }

    fn patch(&mut self, number: u32, at: usize, value: &[u8]) -> Result<(), Unsound> {
        let missing = Unsound::Missing { number };
        if self.entry(number).is_none() {
            return Err(missing);
        }
        let place = self.place(number).ok_or(missing)?;
        if let Some(raw) = self.entries.get_mut(place) {
            put(raw, at, value);
        }
        Ok(())
    }

    fn place(&self, number: u32) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(number.checked_sub(1)?)
            .ok()?
            .checked_mul(self.entry_size())?;
        Some(start..start.checked_add(self.entry_size())?)
    }

    /// From 128 on: the header was checked.
    fn entry_size(&self) -> usize {
        usize::try_from(self.fields.entry_size).unwrap_or(usize::MAX)
    }
}

fn entry(raw: &[u8], number: u32) -> Option<Entry> {
    let guid = |at: usize| raw.get(at..at + 16)?.try_into().ok().map(Guid);
    let kind = guid(TYPE).filter(|kind| *kind != Guid::ZERO)?;
    let name = raw.get(NAME..NAME + NAME_BYTES)?;
    let units = name
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0);
    Some(Entry {
        number,
        kind,
        unique: guid(UNIQUE)?,
        first: le_u64(raw, FIRST),
        last: le_u64(raw, LAST),
        attributes: le_u64(raw, ATTRIBUTES),
        name: char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    })
}
