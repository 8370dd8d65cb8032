//! Firmware variables in the power-cut machine, and UEFI's boot manager on top of them.
//!
//! A variable is one sector, written as a whole and synced: what firmware promises of one
//! SetVariable, and no more.

use std::collections::BTreeMap;

use slotmgr::boot::BootError;
use slotmgr::boot::efi::Firmware;
use slotmgr::boot::efi::entry::Partition;
use slotmgr::boot::efi::vars::EfiVars;
use slotmgr::partition::Guid;
use slotmgr::slot::{FirmwareEntry, Layout, Slot};
use slotmgr::storage::sim::World;
use slotmgr::storage::{Area, Disks, EnvCopy};

const AREA: Area = Area::BootEnv(EnvCopy::First);
const SECTORS: usize = 12;

/// The variables in a world.
pub struct Nvram(pub World);

/// An empty one.
pub fn empty() -> Vec<u8> {
    vec![0; SECTORS * 512]
}

impl Nvram {
    /// All variables, with the sector of each.
    pub fn all(&self) -> BTreeMap<String, (usize, Vec<u8>)> {
        let bytes = self.0.current(AREA);
        let parse = |(sector, raw): (usize, &[u8])| {
            let (name, content) = (usize::from(raw[0]), usize::from(raw[1]));
            let text = String::from_utf8(raw[2..2 + name].to_vec()).unwrap();
            let content = raw[2 + name..2 + name + content].to_vec();
            (name > 0).then_some((text, (sector, content)))
        };
        bytes.chunks(512).enumerate().filter_map(parse).collect()
    }

    fn put(&self, sector: usize, raw: &[u8]) -> Result<(), BootError> {
        let io = |source| BootError::Variables {
            doing: "writing",
            name: "nvram".to_owned(),
            source,
        };
        let mut disk = self.0.clone().open(AREA).map_err(BootError::Open)?;
        let mut whole = raw.to_vec();
        whole.resize(512, 0);
        disk.write_at(&whole, sector as u64 * 512).map_err(io)?;
        disk.sync().map_err(io)
    }

    pub fn list(&self, name: &str) -> Vec<u16> {
        let all = self.all();
        let raw = all.get(name).map_or(&[][..], |(_, content)| content);
        raw.chunks(2)
            .map(|p| u16::from_le_bytes([p[0], p[1]]))
            .collect()
    }
}

impl EfiVars for Nvram {
    fn names(&self) -> Result<Vec<String>, BootError> {
        Ok(self.all().into_keys().collect())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, BootError> {
        Ok(self.all().remove(name).map(|(_, content)| content))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), BootError> {
        let all = self.all();
        let taken = |sector: &usize| all.values().any(|(other, _)| other == sector);
        let free = || (0..SECTORS).find(|sector| !taken(sector)).unwrap();
        let sector = all.get(name).map_or_else(free, |(sector, _)| *sector);
        let lengths = [name.len(), content.len()].map(|len| u8::try_from(len).unwrap());
        self.put(sector, &[&lengths[..], name.as_bytes(), content].concat())
    }

    fn remove(&self, name: &str) -> Result<(), BootError> {
        match self.all().get(name) {
            Some((sector, _)) => self.put(*sector, &[]),
            None => Ok(()),
        }
    }
}

/// With the variables of `world`, and with the second partition of a disk for whatever device.
pub fn firmware(world: &World) -> Firmware {
    Firmware {
        vars: Box::new(Nvram(world.clone())),
        locate: |_| {
            Ok(Partition {
                number: 2,
                first: 2048,
                blocks: 81_920,
                unique: Guid::parse("5b193300-fc78-40cd-8002-e86c45580b47").unwrap(),
            })
        },
    }
}

/// The usual slots, with what is to be in their entries.
pub fn layout_with_entries() -> Layout {
    let slots = super::layout();
    let slots = slots.iter().map(|(_, slot)| {
        let mut slot: Slot = slot.clone();
        slot.options.firmware_entry = Some(FirmwareEntry {
            loader: "\\linux.efi".to_owned(),
            command_line: format!("rauc.slot={}", slot.name),
        });
        slot
    });
    Layout::new(slots.collect()).unwrap()
}

/// A load option: active, of this description, with an end-of-path as its device path.
pub fn option(description: &str) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 4, 0];
    bytes.extend(
        description
            .encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes),
    );
    bytes.extend([0x7f, 0xff, 4, 0]);
    bytes
}

/// Switches the machine on: `BootNext`, which is deleted first, else the first of `BootOrder`.
/// `None` if the power fails meanwhile or nothing can be started.
pub fn boot(world: &World) -> Option<String> {
    let nvram = Nvram(world.clone());
    let next = nvram.list("BootNext").first().copied();
    if next.is_some() {
        nvram.remove("BootNext").ok()?;
    }
    let all = nvram.all();
    let started = next.into_iter().chain(nvram.list("BootOrder"));
    for number in started {
        let Some((_, raw)) = all.get(&format!("Boot{number:04X}")) else {
            continue;
        };
        let units = raw[6..].chunks(2).map(|p| u16::from_le_bytes([p[0], p[1]]));
        let name: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        nvram.write("BootCurrent", &number.to_le_bytes()).ok()?;
        return String::from_utf16(&name).ok();
    }
    None
}
