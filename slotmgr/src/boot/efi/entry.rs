//! A boot entry made anew, where the firmware has lost one.
//!
//! Some firmware drops entries whose file system it could not read at a start, which is what a
//! power cut during an installation leaves behind; and a cleared NVRAM has none at all. What is to
//! be in an entry stands in `system.conf` then: `efi-loader`, `efi-cmdline`, and the slot's device,
//! which is the partition that the loader lies on.
//!
//! Source: UEFI Specification 2.10, sections 3.1.3 (load options) and 10.3 (device paths).

use crate::partition::Guid;
use crate::slot::FirmwareEntry;

/// The firmware looks at the entry.
const ACTIVE: u32 = 1;

/// Type and sub-type of the nodes of a device path.
const HARD_DRIVE: [u8; 2] = [4, 1];
const FILE: [u8; 2] = [4, 4];
const END: [u8; 2] = [0x7f, 0xff];

/// In a hard drive's node: a GPT, and so a signature that is a GUID.
const GPT: [u8; 2] = [2, 2];

/// A partition of a GPT, as a device path names it: without the way to its disk, so that the
/// firmware looks for it on all disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1 on.
    pub number: u32,
    /// First logical block.
    pub first: u64,
    /// How many logical blocks.
    pub blocks: u64,
    /// Its own GUID.
    pub unique: Guid,
}

/// The content of `Boot####` for a slot called `name`; `None` if it is too long for one.
#[must_use]
pub fn load_option(name: &str, place: &Partition, entry: &FirmwareEntry) -> Option<Vec<u8>> {
    let drive = [
        &place.number.to_le_bytes()[..],
        &place.first.to_le_bytes(),
        &place.blocks.to_le_bytes(),
        &place.unique.to_bytes(),
        &GPT,
    ]
    .concat();
    let file = utf16(&entry.loader, Ending::Zero);
    let path = [
        node(HARD_DRIVE, &drive)?,
        node(FILE, &file)?,
        node(END, &[])?,
    ]
    .concat();
    let length = u16::try_from(path.len()).ok()?;
    Some(
        [
            &ACTIVE.to_le_bytes()[..],
            &length.to_le_bytes(),
            &utf16(name, Ending::Zero),
            &path,
            // Its length is that of what remains of the variable.
            &utf16(&entry.command_line, Ending::None),
        ]
        .concat(),
    )
}

fn node(kind: [u8; 2], content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len().checked_add(4)?).ok()?;
    Some([&kind[..], &length.to_le_bytes(), content].concat())
}

#[derive(PartialEq, Eq)]
enum Ending {
    Zero,
    None,
}

fn utf16(text: &str, ending: Ending) -> Vec<u8> {
    let zero = (ending == Ending::Zero).then_some(0);
    let units = text.encode_utf16().chain(zero);
    units.flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::super::option::LoadOption;
    use super::*;

    fn partition() -> Partition {
        Partition {
            number: 2,
            first: 0x800,
            blocks: 0x14000,
            unique: Guid::parse("c12a7328-f81f-11d2-ba4b-00a0c93ec93b").unwrap(),
        }
    }

    fn entry(loader: &str) -> FirmwareEntry {
        FirmwareEntry {
            loader: loader.to_owned(),
            command_line: "@1".to_owned(),
        }
    }

    #[test]
    fn every_byte_of_an_entry() {
        let made = load_option("B", &partition(), &entry("\\a.efi")).unwrap();
        let expected = [
            &[1, 0, 0, 0, 64, 0][..],
            b"B\0\0\0",
            &[4, 1, 42, 0, 2, 0, 0, 0],
            &[0, 8, 0, 0, 0, 0, 0, 0],
            &[0, 0x40, 1, 0, 0, 0, 0, 0],
            &[0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11],
            &[0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b],
            &[2, 2],
            &[4, 4, 18, 0],
            b"\\\0a\0.\0e\0f\0i\0\0\0",
            &[0x7f, 0xff, 4, 0],
            b"@\x001\0",
        ]
        .concat();
        assert_eq!(made, expected);
    }

    #[test]
    fn the_name_is_read_back_and_too_long_paths_are_none() {
        let made = load_option("Rot", &partition(), &entry("\\x")).unwrap();
        let read = LoadOption::parse(&made).unwrap();
        assert!(read.is_active() && read.description == "Rot");
        let long = "x".repeat(40_000);
        assert_eq!(load_option("B", &partition(), &entry(&long)), None);
    }
}
