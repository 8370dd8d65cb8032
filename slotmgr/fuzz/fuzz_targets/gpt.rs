//! A disk with a spoilt partition table: what cannot be read is not written, and a change leaves
//! two whole copies and touches nothing else.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use slotmgr::partition::SectorSize;
use slotmgr::partition::gpt::{Gpt, GptError, change};
use slotmgr::partition::mbr;
use slotmgr::storage::Storage;

const SECTOR: usize = 512;
/// Two tables of 32 sectors with their headers, sector 0, and space for partitions.
const SECTORS: usize = 96;
const LAST: usize = SECTORS - 1;
const TABLE_BYTES: usize = 32 * SECTOR;

/// A disk in memory that knows whether it was written.
#[derive(Clone)]
struct Memory {
    bytes: Vec<u8>,
    written: bool,
}

fn place(offset: u64, len: usize, limit: usize) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).ok();
    let range = start.and_then(|start| Some(start..start.checked_add(len)?));
    range.filter(|range| range.end <= limit).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

impl Storage for Memory {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let place = place(offset, buf.len(), self.bytes.len())?;
        buf.copy_from_slice(&self.bytes[place]);
        Ok(())
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        self.written = true;
        let place = place(offset, data.len(), self.bytes.len())?;
        self.bytes[place].copy_from_slice(data);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Two partitions, and two copies that agree.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; SECTORS * SECTOR];
    disk[450] = 0xee;
    disk[454] = 1;
    disk[458] = LAST as u8;
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut table = vec![0; TABLE_BYTES];
    for (number, (first, last)) in [(0_u8, (34_u8, 40_u8)), (2, (41, 60))] {
        let entry = &mut table[usize::from(number) * 128..][..128];
        entry[..32].fill(number + 1);
        (entry[32], entry[40], entry[56]) = (first, last, b'a' + number);
    }
    for (own, other, array) in [(1, LAST, 2), (LAST, 1, LAST - 32)] {
        disk[array * SECTOR..][..TABLE_BYTES].copy_from_slice(&table);
        let header = &mut disk[own * SECTOR..][..92];
        header[..8].copy_from_slice(b"EFI PART");
        (header[10], header[12], header[24], header[32]) = (1, 92, own as u8, other as u8);
        (header[40], header[48], header[72]) = (34, (LAST - 33) as u8, array as u8);
        (header[80], header[84]) = (128, 128);
    }
    disk
}

/// Makes the checksums of a copy fit what it says, as far as that lies on the disk.
fn mend(disk: &mut [u8], own: usize) {
    let header = disk[own * SECTOR..][..SECTOR].to_vec();
    let number = |at: usize| {
        let bytes = header[at..at + 4].iter().rev();
        bytes.fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let start = number(72).saturating_mul(SECTOR);
    let end = start.saturating_add(number(80).saturating_mul(number(84)));
    if let Some(entries) = disk.get(start..end) {
        let crc = crc32fast::hash(entries).to_le_bytes();
        disk[own * SECTOR + 88..][..4].copy_from_slice(&crc);
    }
    let header = &mut disk[own * SECTOR..][..SECTOR];
    header[16..20].fill(0);
    let covered = number(12).min(SECTOR);
    let crc = crc32fast::hash(&header[..covered]).to_le_bytes();
    header[16..20].copy_from_slice(&crc);
}

fuzz_target!(|data: &[u8]| {
    // What spoils the disk: a place and a byte for it, each; before or after the checksums are made.
    let [when, changes @ ..] = data else { return };
    let mut bytes = disk();
    let spoil = |bytes: &mut [u8]| {
        for change in changes.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
            bytes[at % (SECTORS * SECTOR)] = change[2];
        }
    };
    if when & 1 == 1 {
        mend(&mut bytes, 1);
        mend(&mut bytes, LAST);
    }
    spoil(&mut bytes);
    for (bit, own) in [(2, 1), (4, LAST)] {
        if when & bit != 0 {
            mend(&mut bytes, own);
        }
    }
    let before = Memory { bytes, written: false };

    let mut read = before.clone();
    let loaded = Gpt::load(&mut read, SectorSize::S512);
    let _ = mbr::load(&mut read, SectorSize::S512);
    assert!(!read.written, "reading writes nothing");

    let mut disk = before.clone();
    let edit = |table: &mut slotmgr::partition::table::Table| {
        let first = table.entries().next().map(|entry| (entry.number, entry.attributes));
        let (number, attributes) = first.unwrap_or((1, 0));
        table.set_attributes(number, attributes ^ 1 << 48).map_err(GptError::Unsound)
    };
    match (change(&mut disk, SectorSize::S512, edit), loaded) {
        (Err(_), _) => assert!(!disk.written, "what cannot be changed is not written"),
        (Ok(_), Err(error)) => panic!("changed although it cannot be read: {error}"),
        (Ok(done), Ok(old)) => {
            assert!(done.written);
            let new = Gpt::load(&mut disk, SectorSize::S512).expect("it can be read again");
            assert!(new.stale().is_none(), "both copies are whole, and equal");
            let table = |gpt: &Gpt| gpt.table().entries().collect::<Vec<_>>();
            let (old, mut changed) = (table(&old), table(&new));
            changed[0].attributes ^= 1 << 48;
            assert_eq!(old, changed, "nothing but what was asked for");
            let own = new.own_sectors();
            let sectors = disk.bytes.chunks(SECTOR).zip(before.bytes.chunks(SECTOR));
            for (number, (new, old)) in (0_u64..).zip(sectors) {
                let ours = number > 0 && own.iter().any(|range| range.contains(&number));
                assert!(ours || new == old, "sector {number} is none of the table");
            }
        }
    }
});
