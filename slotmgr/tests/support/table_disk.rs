//! Small disks with partition tables, made by hand, and models of those who read them.
//!
//! Nothing here uses the codec under test: makers and readers follow the UEFI specification and
//! the readers' sources.

use slotmgr::storage::sim::World;
use slotmgr::storage::{Area, EnvCopy};

/// The disk of a world that has nothing else.
pub const DISK: Area = Area::BootEnv(EnvCopy::First);

/// A partition as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub number: usize,
    pub kind: u8,
    pub first: u64,
    pub last: u64,
    pub attributes: u64,
}

/// How a test disk is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub sector: usize,
    pub sectors: u64,
    /// First sector of the primary entries.
    pub array: u64,
    pub count: u32,
    pub entry: usize,
    pub header: u32,
}

impl Shape {
    pub const S512: Shape = Shape {
        sector: 512,
        sectors: 160,
        array: 2,
        count: 128,
        entry: 128,
        header: 92,
    };

    pub const S4096: Shape = Shape {
        sector: 4096,
        sectors: 40,
        ..Shape::S512
    };

    /// Something for the ROM stands in sector 2, and the headers are of a later version.
    pub const MOVED: Shape = Shape {
        array: 9,
        entry: 256,
        count: 24,
        header: 128,
        ..Shape::S512
    };

    pub fn array_sectors(&self) -> u64 {
        ((self.count as usize * self.entry).div_ceil(self.sector)) as u64
    }

    pub fn usable(&self) -> (u64, u64) {
        let first = self.array + self.array_sectors();
        (first, self.sectors - 2 - self.array_sectors())
    }
}

/// The partitions of every test disk: 1, 3, 5 and the last but one, so that numbers have gaps.
pub fn parts(shape: &Shape) -> Vec<Part> {
    let (first, last) = shape.usable();
    let quarter = (last + 1 - first) / 4;
    let numbers = [1, 3, 5, shape.count as usize - 1];
    let number = |index: usize| numbers[index];
    (0..4)
        .map(|index| Part {
            number: number(index),
            kind: 0x40 + u8::try_from(index).unwrap(),
            first: first + quarter * index as u64,
            last: first + quarter * index as u64 + quarter / 2 - 1,
            attributes: 0x8000_0000_0000_0004,
        })
        .collect()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// The bytes of a disk with these partitions, both copies whole.
pub fn disk(shape: &Shape, parts: &[Part]) -> Vec<u8> {
    let size = shape.sector;
    let mut bytes = vec![0xab; size * usize::try_from(shape.sectors).unwrap()];
    bytes[..512].fill(0);
    put(
        &mut bytes,
        446 + 4,
        &[0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    );
    put(&mut bytes, 510, &[0x55, 0xaa]);
    let mut array = vec![0; usize::try_from(shape.array_sectors()).unwrap() * size];
    for part in parts {
        let at = (part.number - 1) * shape.entry;
        put(&mut array, at, &[part.kind; 16]);
        put(
            &mut array,
            at + 16,
            &[u8::try_from(part.number).unwrap(); 16],
        );
        put(&mut array, at + 32, &part.first.to_le_bytes());
        put(&mut array, at + 40, &part.last.to_le_bytes());
        put(&mut array, at + 48, &part.attributes.to_le_bytes());
        let name = name(part.number);
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        put(&mut array, at + 56, &units);
        // What a later version of the format may keep in larger entries.
        array[at + 128..at + shape.entry].fill(0xcd);
    }
    let last = shape.sectors - 1;
    let copies = [
        (1, last, shape.array),
        (last, 1, last - shape.array_sectors()),
    ];
    for (own, other, at) in copies {
        let header = header(shape, &array, (own, other, at));
        put(&mut bytes, usize::try_from(own).unwrap() * size, &header);
        put(&mut bytes, usize::try_from(at).unwrap() * size, &array);
    }
    bytes
}

/// Two of the partitions are slots.
pub fn name(number: usize) -> String {
    match number {
        1 => "A".to_owned(),
        3 => "B".to_owned(),
        number => format!("P{number}"),
    }
}

fn header(shape: &Shape, array: &[u8], (own, other, at): (u64, u64, u64)) -> Vec<u8> {
    let mut header = vec![0; shape.sector];
    let (first, last) = shape.usable();
    let covered = &array[..shape.count as usize * shape.entry];
    put(&mut header, 0, b"EFI PART");
    put(&mut header, 8, &0x0001_0000_u32.to_le_bytes());
    put(&mut header, 12, &shape.header.to_le_bytes());
    for (place, value) in [(24, own), (32, other), (40, first), (48, last), (72, at)] {
        put(&mut header, place, &value.to_le_bytes());
    }
    put(&mut header, 56, &[0x77; 16]);
    put(&mut header, 80, &shape.count.to_le_bytes());
    put(
        &mut header,
        84,
        &u32::try_from(shape.entry).unwrap().to_le_bytes(),
    );
    put(&mut header, 88, &crc32fast::hash(covered).to_le_bytes());
    // Unknown to us: what lies behind 92 must survive.
    header[92..shape.header as usize].fill(0xef);
    let crc = crc32fast::hash(&header[..shape.header as usize]);
    put(&mut header, 16, &crc.to_le_bytes());
    header
}

/// A world with nothing but this disk.
pub fn world(bytes: &[u8]) -> World {
    let world = World::new();
    world.add(DISK, bytes.to_vec());
    world
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let mut raw = [0; 8];
    raw[..len].copy_from_slice(&bytes[at..at + len]);
    u64::from_le_bytes(raw)
}

fn read_parts(bytes: &[u8], sector: usize, header: &[u8]) -> Option<Vec<Part>> {
    let at = usize::try_from(number(header, 72, 8))
        .ok()?
        .checked_mul(sector)?;
    let (count, size) = (
        number(header, 80, 4),
        usize::try_from(number(header, 84, 4)).ok()?,
    );
    let count = usize::try_from(count).ok()?;
    let array = bytes.get(at..at.checked_add(count.checked_mul(size)?)?)?;
    let used = |(index, raw): (usize, &[u8])| {
        (raw[..16] != [0; 16]).then(|| Part {
            number: index + 1,
            kind: raw[0],
            first: number(raw, 32, 8),
            last: number(raw, 40, 8),
            attributes: number(raw, 48, 8),
        })
    };
    Some(array.chunks(size).enumerate().filter_map(used).collect())
}

/// A copy as everybody reads it who checks it: checksums, and that it is where it says.
pub fn checked_copy(bytes: &[u8], sector: usize, lba: u64) -> Option<Vec<Part>> {
    let at = usize::try_from(lba).unwrap() * sector;
    let header = &bytes[at..at + sector];
    let size = usize::try_from(number(header, 12, 4)).ok()?;
    if &header[..8] != b"EFI PART" || !(92..=sector).contains(&size) || number(header, 24, 8) != lba
    {
        return None;
    }
    let mut zeroed = header[..size].to_vec();
    zeroed[16..20].fill(0);
    if u64::from(crc32fast::hash(&zeroed)) != number(header, 16, 4) {
        return None;
    }
    let array = usize::try_from(number(header, 72, 8))
        .ok()?
        .checked_mul(sector)?;
    let len = usize::try_from(number(header, 80, 4) * number(header, 84, 4)).ok()?;
    let covered = bytes.get(array..array.checked_add(len)?)?;
    if u64::from(crc32fast::hash(covered)) != number(header, 88, 4) {
        return None;
    }
    read_parts(bytes, sector, header)
}

fn protected(bytes: &[u8]) -> bool {
    bytes[510..512] == [0x55, 0xaa] && bytes[446 + 4] == 0xee
}

/// Linux without `gpt` on its command line: the primary copy or nothing.
pub fn linux(bytes: &[u8], sector: usize) -> Option<Vec<Part>> {
    protected(bytes)
        .then(|| checked_copy(bytes, sector, 1))
        .flatten()
}

/// UEFI firmware, U-Boot, Linux with `gpt`: the primary copy, else the one in the last sector.
pub fn firmware(bytes: &[u8], sector: usize) -> Option<Vec<Part>> {
    let last = (bytes.len() / sector) as u64 - 1;
    let backup = || checked_copy(bytes, sector, last);
    protected(bytes)
        .then(|| checked_copy(bytes, sector, 1).or_else(backup))
        .flatten()
}

/// GRUB: the primary header's first eight bytes, its fields, and the entries; no checksum.
pub fn grub(bytes: &[u8], sector: usize) -> Option<Vec<Part>> {
    let header = &bytes[sector..2 * sector];
    (protected(bytes) && &header[..8] == b"EFI PART")
        .then(|| read_parts(bytes, sector, header))
        .flatten()
}
