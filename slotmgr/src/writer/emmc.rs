//! The two boot areas of an eMMC: the one that the ROM does not use is written, then one byte of the
//! card makes the ROM use it.

use std::path::{Path, PathBuf};

use devio::mmc::{BootArea, MmcError, Unprotected};

use super::raw::Raw;
use super::{Proof, Writer, too_large};
use crate::install::{AssembleError, Environment, ImageStream, ReadBackError, Step};
use crate::partition::emmc::{BootAreaSwitch, Card, target};
use crate::program::Stop;
use crate::slot::{Slot, SlotName};
use crate::storage::device::FileStorage;
use crate::storage::{Area, OpenError, Storage as _};

/// A boot area, writable for as long as this lives.
pub(super) struct Emmc {
    slot: SlotName,
    card: Box<dyn BootAreaSwitch + Send>,
    area: BootArea,
    size_limit: Option<u64>,
    raw: Raw,
    _unprotected: Option<Unprotected>,
}

impl Emmc {
    pub fn open(step: &Step, slot: &Slot) -> Result<Emmc, AssembleError> {
        let mmc = |source| AssembleError::Mmc {
            slot: slot.name.clone(),
            source,
        };
        let whole = slot.device.canonicalize();
        let whole = whole.unwrap_or_else(|_| slot.device.clone());
        let mut card = Card {
            whole: whole.clone(),
        };
        let area = target(card.current().map_err(mmc)?);
        let device = area_path(&whole, area);
        let name = device.file_name().unwrap_or_default();
        let unprotected =
            Unprotected::begin(&Path::new("/sys/class/block").join(name).join("force_ro"))
                .map_err(mmc)?;
        let storage = open_area(slot, &device)?;
        let limit = slot.options.size_limit.unwrap_or(u64::MAX);
        let len = limit.min(storage.len());
        if step.size > len {
            return Err(too_large(step, len));
        }
        Ok(Emmc {
            slot: slot.name.clone(),
            card: Box::new(card),
            area,
            size_limit: slot.options.size_limit,
            raw: Raw::over(
                Area::Slot(step.target.id()),
                (slot.name.clone(), device),
                Box::new(storage),
            ),
            _unprotected: Some(unprotected),
        })
    }
}

fn open_area(slot: &Slot, device: &Path) -> Result<FileStorage, AssembleError> {
    let open = |source| AssembleError::Open {
        slot: slot.name.clone(),
        source: OpenError::Open {
            what: "writing a boot area".to_owned(),
            path: device.to_owned(),
            source,
        },
    };
    let file =
        devio::block::open_exclusive(device).map_err(|error| open(std::io::Error::other(error)))?;
    FileStorage::new(file).map_err(open)
}

/// `/dev/mmcblk0` has `/dev/mmcblk0boot0` and `/dev/mmcblk0boot1`.
fn area_path(whole: &Path, area: BootArea) -> PathBuf {
    let mut name = whole.to_owned().into_os_string();
    name.push(if area == BootArea::Boot1 {
        "boot1"
    } else {
        "boot0"
    });
    name.into()
}

impl Writer for Emmc {
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        self.raw.write(image)
    }

    fn sync(&mut self) -> Result<(), AssembleError> {
        self.raw.sync()
    }

    fn read_back(&mut self, proof: &mut Proof<'_>) -> Result<(), ReadBackError> {
        self.raw.read_back(proof)
    }

    fn told(&self) -> Environment {
        let number = if self.area == BootArea::Boot1 {
            "1"
        } else {
            "0"
        };
        let mut told = vec![(
            "RAUC_BOOT_PARTITION_ACTIVATING".to_owned(),
            number.to_owned(),
        )];
        if let Some(limit) = self.size_limit {
            told.push(("RAUC_BOOT_SIZE_LIMIT".to_owned(), limit.to_string()));
        }
        told
    }

    /// One byte of the card: the ROM uses the old area or the new one.
    fn complete(&mut self, _: &Stop) -> Result<(), AssembleError> {
        let selected = self.card.select(self.area);
        selected.map_err(|source: MmcError| AssembleError::Mmc {
            slot: self.slot.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::emmc::tests::Fake;
    use crate::storage::Disks as _;
    use crate::storage::sim::World;

    /// The card is switched by `complete` and by nothing before it; one that ignores the switch is an
    /// error, so that nothing is armed.
    #[test]
    fn the_switch_comes_last_and_is_checked() {
        for deaf in [false, true] {
            let mut world = World::new();
            let area = Area::Slot(crate::slot::SlotId::for_test(0));
            world.add(area, vec![0; 512]);
            let slot = SlotName::parse("bootloader.0").unwrap();
            let mut writer = Emmc {
                slot: slot.clone(),
                card: Box::new(Fake {
                    area: BootArea::Boot0,
                    deaf,
                }),
                area: BootArea::Boot1,
                size_limit: Some(512),
                raw: Raw::over(
                    area,
                    (slot, "/dev/mmcblk0boot1".into()),
                    world.open(area).unwrap(),
                ),
                _unprotected: None,
            };
            writer.sync().unwrap();
            assert_eq!(writer.card.current().unwrap(), BootArea::Boot0);
            let told = writer.told();
            assert!(told.contains(&("RAUC_BOOT_PARTITION_ACTIVATING".into(), "1".into())));
            assert!(told.contains(&("RAUC_BOOT_SIZE_LIMIT".into(), "512".into())));
            assert_eq!(writer.complete(&Stop::default()).is_err(), deaf);
            let expected = if deaf {
                BootArea::Boot0
            } else {
                BootArea::Boot1
            };
            assert_eq!(writer.card.current().unwrap(), expected);
        }
    }
}
