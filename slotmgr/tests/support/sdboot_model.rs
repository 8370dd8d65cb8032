//! systemd-boot in the power-cut machine, and a FAT folder under it: names and contents are sectors
//! of their own, and a rename is two writes that nothing orders.

use slotmgr::boot::BootError;
use slotmgr::boot::systemd_boot::files::EntryFiles;
use slotmgr::storage::sim::World;
use slotmgr::storage::{Area, Disks, EnvCopy};

const AREA: Area = Area::BootEnv(EnvCopy::First);
/// Names of files; as many sectors with contents follow.
const NAMES: usize = 12;

/// The folder in a world.
pub struct Folder(pub World);

fn content(slot: &str, version: u32) -> Vec<u8> {
    let lines = [
        format!("title    System {slot}"),
        "sort-key slotmgr".to_owned(),
        format!("version  {version:010}"),
        format!("linux    /{slot}/linux.efi"),
        String::new(),
    ];
    lines.join("\n").into_bytes()
}

/// A runs and is good; B is older, and good.
pub fn both_good() -> Vec<(EnvCopy, Vec<u8>)> {
    let world = World::new();
    world.add(AREA, vec![0; NAMES * 2 * 512]);
    let folder = Folder(world.clone());
    folder.add("A.conf", &content("A", 2)).unwrap();
    folder.add("B.conf", &content("B", 1)).unwrap();
    vec![(EnvCopy::First, world.current(AREA))]
}

/// A sector: its length, perhaps a number, and bytes.
fn sector(number: usize, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
    let mut sector = [&length[..], &[u8::try_from(number).unwrap()], bytes].concat();
    sector.resize(512, 0);
    sector
}

impl Folder {
    fn sectors(&self, from: usize) -> Vec<(usize, usize, Vec<u8>)> {
        let bytes = self.0.current(AREA);
        let sectors = bytes.chunks(512).enumerate().skip(from).take(NAMES);
        let parse = |(at, raw): (usize, &[u8])| {
            let length = usize::from(u16::from_le_bytes([raw[0], raw[1]]));
            (at, usize::from(raw[2]), raw[3..3 + length].to_vec())
        };
        sectors.map(parse).collect()
    }

    /// Name, its sector, and the sector of the content.
    fn files(&self) -> Vec<(String, usize, usize)> {
        let used = self.sectors(0).into_iter();
        used.filter(|(_, _, name)| !name.is_empty())
            .map(|(at, content, name)| (String::from_utf8(name).unwrap(), at, content))
            .collect()
    }

    fn find(&self, name: &str) -> (usize, usize) {
        let files = self.files();
        let found = files.iter().find(|(other, ..)| other == name);
        let (_, at, content) = found.unwrap_or_else(|| panic!("{name} of {files:?}"));
        (*at, *content)
    }

    fn write(&self, writes: &[(usize, Vec<u8>)]) -> Result<(), BootError> {
        let io = |source| BootError::EntryFile {
            doing: "writing",
            path: "folder".into(),
            source,
        };
        let mut disk = self.0.clone().open(AREA).map_err(BootError::Open)?;
        for (at, bytes) in writes {
            disk.write_at(bytes, *at as u64 * 512).map_err(io)?;
        }
        disk.sync().map_err(io)
    }

    fn free(&self, from: usize) -> usize {
        let sectors = self.sectors(from);
        let free = sectors.iter().find(|(_, _, bytes)| bytes.is_empty());
        free.unwrap().0
    }
}

impl EntryFiles for Folder {
    fn names(&self) -> Result<Vec<String>, BootError> {
        Ok(self.files().into_iter().map(|(name, ..)| name).collect())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, BootError> {
        let (_, content) = self.find(name);
        Ok(self.sectors(NAMES)[content - NAMES].2.clone())
    }

    fn overwrite(&self, name: &str, bytes: &[u8]) -> Result<(), BootError> {
        assert_eq!(self.read(name)?.len(), bytes.len());
        self.write(&[(self.find(name).1, sector(0, bytes))])
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), BootError> {
        assert!(
            !self.names()?.iter().any(|name| name == to),
            "{to} is there"
        );
        let (old, content) = self.find(from);
        let new = sector(content, to.as_bytes());
        self.write(&[(self.free(0), new), (old, sector(0, &[]))])
    }

    fn spare(&self, slot: &str) -> Result<Option<Vec<u8>>, BootError> {
        Ok(Some(content(slot, 1)))
    }

    fn add(&self, name: &str, bytes: &[u8]) -> Result<(), BootError> {
        let at = self.free(NAMES);
        self.write(&[(at, sector(0, bytes))])?;
        self.write(&[(self.free(0), sector(at, name.as_bytes()))])
    }

    fn overridden(&self) -> Result<Option<String>, BootError> {
        Ok(None)
    }
}

/// The counters of a name: what stands before them, tries left and tries done.
fn counters(name: &str) -> Option<(String, u32, u32)> {
    let (stem, counters) = name.strip_suffix(".conf")?.rsplit_once('+')?;
    let (left, done) = counters.split_once('-').unwrap_or((counters, "0"));
    Some((stem.to_owned(), left.parse().ok()?, done.parse().ok()?))
}

/// Switches the machine on: the first of the sorted entries is counted, and started. `None` if the
/// power fails meanwhile, or there is none.
pub fn boot(world: &World) -> Option<String> {
    let folder = Folder(world.clone());
    let mut entries = Vec::new();
    for name in folder.names().unwrap() {
        let text = String::from_utf8(folder.read(&name).unwrap()).unwrap();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.map(|value| value.trim().to_owned())
        };
        if value("linux").is_some() && name.ends_with(".conf") {
            let out_of_tries = matches!(counters(&name), Some((_, 0, _)));
            let version: u64 = value("version").unwrap().parse().unwrap();
            let slot = value("title    System").unwrap();
            entries.push((!out_of_tries, version, name, slot));
        }
    }
    let (_, _, name, slot) = entries.into_iter().max()?;
    if let Some((stem, left, done)) = counters(&name) {
        let next = format!("{stem}+{}-{}.conf", left.saturating_sub(1), done + 1);
        // A name that is there already cannot be had; systemd-boot goes on all the same.
        if !folder.names().unwrap().contains(&next) {
            folder.rename(&name, &next).ok()?;
        }
    }
    Some(slot)
}
