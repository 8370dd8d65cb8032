//! The power-cut machine: disks in memory that lose power at a chosen operation.
//!
//! Every area keeps a *durable* image and a list of writes that no barrier has confirmed yet. When
//! the fuse burns at operation `k`, that operation is in flight: its write may or may not have
//! reached the medium, its barrier did not complete. [`World::power_on`] then makes the disks that
//! a machine might find: none, all, a prefix or a random subset of the unconfirmed 512-byte
//! sectors, over all areas together. 512 bytes is the only unit that storage of any kind promises
//! to write as a whole.
//!
//! Barriers hold per area: a sync of one disk confirms nothing on another.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Area, Disks, OpenError, SECTOR, Storage};

/// Which of the unconfirmed sectors reached the medium before the lights went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing that was not synced.
    None,
    /// Everything, synced or not.
    All,
    /// The first so many sectors, in the order they were written.
    Prefix(usize),
    /// A subset chosen by this seed, each sector by the toss of a coin.
    Random(u64),
    /// The sectors whose bits are set, counted from the lowest in the order they were written;
    /// nothing beyond the 64th.
    Subset(u64),
}

/// Several disks with one operation counter and one power supply. Clones are the same world.
#[derive(Debug, Clone, Default)]
pub struct World(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    areas: BTreeMap<Area, Image>,
    /// Unconfirmed sectors of all areas, in the order they were written.
    pending: Vec<Pending>,
    operations: u64,
    fuse: Option<u64>,
    off: bool,
}

/// Shared between the worlds that came out of one, until one of them writes: most states after a
/// cut differ in a few sectors of one area.
#[derive(Debug, Clone)]
struct Image {
    durable: Arc<Vec<u8>>,
    /// What a reader sees: durable and unconfirmed writes together.
    current: Arc<Vec<u8>>,
}

impl Image {
    fn new(content: Arc<Vec<u8>>) -> Self {
        Image {
            current: content.clone(),
            durable: content,
        }
    }
}

#[derive(Debug)]
struct Pending {
    area: Area,
    offset: usize,
    data: Vec<u8>,
}

impl World {
    /// A world without disks, under power.
    #[must_use]
    pub fn new() -> Self {
        World::default()
    }

    /// Adds an area with this content, durable from the start.
    pub fn add(&self, area: Area, content: Vec<u8>) {
        let image = Image::new(Arc::new(content));
        self.inner().areas.insert(area, image);
    }

    /// Number of operations (writes and syncs) so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.inner().operations
    }

    /// Lets the power fail at the operation with this number, counted from 0.
    pub fn cut_at(&self, operation: u64) {
        self.inner().fuse = Some(operation);
    }

    /// Whether the power has failed.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.inner().off
    }

    /// How many sectors are written but not confirmed.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.inner().pending.len()
    }

    /// What a reader under power sees of `area`; empty for an area that does not exist.
    #[must_use]
    pub fn current(&self, area: Area) -> Vec<u8> {
        self.inner()
            .areas
            .get(&area)
            .map(|image| image.current.as_ref().clone())
            .unwrap_or_default()
    }

    /// Compares without copying.
    #[must_use]
    pub fn holds(&self, area: Area, content: &[u8]) -> bool {
        self.inner()
            .areas
            .get(&area)
            .is_some_and(|i| i.current.get(..content.len()) == Some(content))
    }

    /// The disks after the power came back, with `keep` of the unconfirmed sectors on them.
    #[must_use]
    pub fn power_on(&self, keep: Keep) -> World {
        let inner = self.inner();
        let mut images: BTreeMap<Area, Arc<Vec<u8>>> = inner
            .areas
            .iter()
            .map(|(area, image)| (*area, image.durable.clone()))
            .collect();
        let mut coin = Coin::new(keep);
        for (number, sector) in inner.pending.iter().enumerate() {
            if coin.keeps(number)
                && let Some(image) = images.get_mut(&sector.area)
            {
                put(
                    Arc::make_mut(image).as_mut_slice(),
                    sector.offset,
                    &sector.data,
                );
            }
        }
        let areas = images
            .into_iter()
            .map(|(area, content)| (area, Image::new(content)));
        World(Arc::new(Mutex::new(Inner {
            areas: areas.collect(),
            ..Inner::default()
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disks for World {
    fn open(&mut self, area: Area) -> Result<Box<dyn Storage>, OpenError> {
        let inner = self.inner();
        if inner.off {
            return Err(OpenError::PowerOff);
        }
        if !inner.areas.contains_key(&area) {
            return Err(OpenError::Absent(area.to_string()));
        }
        Ok(Box::new(SimStorage {
            world: self.clone(),
            area,
        }))
    }
}

/// Decides sector by sector. Splitmix64: small, and the same everywhere.
struct Coin {
    keep: Keep,
    state: u64,
}

impl Coin {
    fn new(keep: Keep) -> Self {
        Coin {
            keep,
            state: if let Keep::Random(seed) = keep {
                seed
            } else {
                0
            },
        }
    }

    fn keeps(&mut self, number: usize) -> bool {
        match self.keep {
            Keep::None => false,
            Keep::All => true,
            Keep::Prefix(count) => number < count,
            Keep::Subset(bits) => number < 64 && bits >> number & 1 == 1,
            Keep::Random(_) => {
                self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = self.state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (z ^ (z >> 31)) & 1 == 1
            }
        }
    }
}

fn put(image: &mut [u8], offset: usize, data: &[u8]) {
    if let Some(place) = image.get_mut(offset..offset + data.len()) {
        place.copy_from_slice(data);
    }
}

struct SimStorage {
    world: World,
    area: Area,
}

fn power_off() -> io::Error {
    io::Error::other("the power is off")
}

impl Inner {
    /// Counts one operation; true when the power fails in it.
    fn burn(&mut self) -> io::Result<bool> {
        if self.off {
            return Err(power_off());
        }
        let failing = self.fuse == Some(self.operations);
        self.operations += 1;
        self.off = failing;
        Ok(failing)
    }
}

impl Storage for SimStorage {
    fn len(&self) -> u64 {
        self.world
            .inner()
            .areas
            .get(&self.area)
            .map_or(0, |image| image.current.len() as u64)
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.world.inner();
        if inner.off {
            return Err(power_off());
        }
        let image = inner.areas.get(&self.area).ok_or_else(power_off)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start
            .checked_add(buf.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(
            image
                .current
                .get(start..end)
                .ok_or(io::ErrorKind::UnexpectedEof)?,
        );
        Ok(())
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut guard = self.world.inner();
        let failing = guard.burn()?;
        let inner = &mut *guard;
        let image = inner.areas.get_mut(&self.area).ok_or_else(power_off)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start
            .checked_add(data.len())
            .ok_or(io::ErrorKind::WriteZero)?;
        let place = Arc::make_mut(&mut image.current)
            .get_mut(start..end)
            .ok_or(io::ErrorKind::WriteZero)?;
        place.copy_from_slice(data);
        let mut at = start;
        while at < end {
            // Up to the next sector border: a write that starts inside a sector tears there too.
            let next = ((at / SECTOR + 1) * SECTOR).min(end);
            let piece = data[at - start..next - start].to_vec();
            inner.pending.push(Pending {
                area: self.area,
                offset: at,
                data: piece,
            });
            at = next;
        }
        if failing { Err(power_off()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut guard = self.world.inner();
        if guard.burn()? {
            return Err(power_off());
        }
        let inner = &mut *guard;
        let image = inner.areas.get_mut(&self.area).ok_or_else(power_off)?;
        let area = self.area;
        inner.pending.retain(|sector| {
            if sector.area == area {
                put(
                    Arc::make_mut(&mut image.durable).as_mut_slice(),
                    sector.offset,
                    &sector.data,
                );
            }
            sector.area != area
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RecordCopy;

    const AREA: Area = Area::Record(RecordCopy::First);

    fn world() -> World {
        let world = World::new();
        world.add(AREA, vec![0; 2048]);
        world
    }

    #[test]
    fn unsynced_bytes_vanish_and_synced_bytes_stay() {
        let mut world = world();
        let mut disk = world.open(AREA).unwrap();
        disk.write_at(&[1; 512], 0).unwrap();
        disk.sync().unwrap();
        disk.write_at(&[2; 512], 512).unwrap();
        assert_eq!(
            world.power_on(Keep::None).current(AREA)[..1024],
            [vec![1; 512], vec![0; 512]].concat()
        );
        assert_eq!(
            world.power_on(Keep::All).current(AREA)[..1024],
            [vec![1; 512], vec![2; 512]].concat()
        );
    }

    #[test]
    fn the_write_in_flight_can_be_torn_at_each_sector() {
        let mut world = world();
        world.cut_at(0);
        let mut disk = world.open(AREA).unwrap();
        disk.write_at(&[7; 1536], 256).unwrap_err();
        assert!(world.is_off());
        assert!(world.open(AREA).is_err());
        assert_eq!(world.unconfirmed(), 4);
        for kept in 0..=4_usize {
            let bytes = world.power_on(Keep::Prefix(kept)).current(AREA);
            let expected = [0, 256, 768, 1280, 1536][kept];
            assert_eq!(bytes.iter().filter(|b| **b == 7).count(), expected);
        }
    }

    #[test]
    fn a_barrier_that_is_cut_confirms_nothing() {
        let mut world = world();
        world.cut_at(1);
        let mut disk = world.open(AREA).unwrap();
        disk.write_at(&[7; 512], 0).unwrap();
        disk.sync().unwrap_err();
        assert_eq!(world.unconfirmed(), 1);
    }

    #[test]
    fn a_named_subset_is_kept_and_a_world_does_not_see_the_writes_of_another() {
        let mut world = world();
        world.open(AREA).unwrap().write_at(&[7; 2048], 0).unwrap();
        let found = world.power_on(Keep::Subset(0b0110));
        let expected = [vec![0; 512], vec![7; 1024], vec![0; 512]].concat();
        assert_eq!(found.current(AREA), expected);
        let mut other = found.power_on(Keep::None);
        other.open(AREA).unwrap().write_at(&[9; 512], 0).unwrap();
        assert_eq!(found.current(AREA), expected);
    }

    #[test]
    fn random_subsets_differ_by_seed_and_repeat_with_it() {
        let mut world = world();
        world.open(AREA).unwrap().write_at(&[7; 2048], 0).unwrap();
        let states: Vec<_> = (0..16)
            .map(|seed| world.power_on(Keep::Random(seed)).current(AREA))
            .collect();
        assert_eq!(states[3], world.power_on(Keep::Random(3)).current(AREA));
        assert!(states.iter().any(|state| *state != states[0]));
    }
}
