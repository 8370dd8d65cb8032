//! The two boot areas of an eMMC: the one that the ROM does not use is written, then one byte of the
//! card makes the ROM use it.

use std::fs::File;
use std::path::{Path, PathBuf};

use devio::mmc::{BootArea, MmcError, Unprotected, boot_area, read_ext_csd, select_boot_area};

use super::raw::Raw;
use super::{Proof, Writer, too_large, write_error};
use crate::health::check::Stop;
use crate::install::{AssembleError, ImageStream, ReadBackError, Step};
use crate::slot::{Slot, SlotName};
use crate::storage::device::FileStorage;
use crate::storage::{OpenError, Storage as _};

/// A boot area, writable for as long as this lives.
pub(super) struct Emmc {
    slot: SlotName,
    whole: PathBuf,
    device: PathBuf,
    area: BootArea,
    raw: Raw,
    _unprotected: Unprotected,
}

impl Emmc {
    pub fn open(step: &Step, slot: &Slot) -> Result<Emmc, AssembleError> {
        let mmc = |source| AssembleError::Mmc {
            slot: slot.name.clone(),
            source,
        };
        let area = unused_area(&slot.device).map_err(mmc)?;
        let device = area_path(&slot.device, area);
        let name = device.file_name().unwrap_or_default();
        let unprotected =
            Unprotected::begin(&Path::new("/sys/class/block").join(name).join("force_ro"))
                .map_err(mmc)?;
        let open = |source| AssembleError::Open {
            slot: slot.name.clone(),
            source: OpenError::Open {
                what: "writing a boot area".to_owned(),
                path: device.clone(),
                source,
            },
        };
        let file = devio::block::open_exclusive(&device)
            .map_err(|error| open(std::io::Error::other(error)))?;
        let storage = FileStorage::new(file).map_err(open)?;
        let len = slot
            .options
            .size_limit
            .unwrap_or(u64::MAX)
            .min(storage.len());
        if step.size > len {
            return Err(too_large(step, len));
        }
        let raw = Raw::over(step, device.clone(), Box::new(storage));
        let whole = slot.device.clone();
        Ok(Emmc {
            slot: slot.name.clone(),
            whole,
            device,
            area,
            raw,
            _unprotected: unprotected,
        })
    }
}

/// Booting from nowhere or from the user area leaves both free; the first is taken then.
fn unused_area(whole: &Path) -> Result<BootArea, MmcError> {
    let io = |source| MmcError::Io {
        what: "open",
        source,
    };
    let csd = read_ext_csd(&File::open(whole).map_err(io)?)?;
    Ok(match boot_area(&csd)? {
        BootArea::Boot0 => BootArea::Boot1,
        BootArea::None | BootArea::Boot1 | BootArea::User => BootArea::Boot0,
    })
}

fn area_path(whole: &Path, area: BootArea) -> PathBuf {
    let mut name = whole
        .canonicalize()
        .unwrap_or_else(|_| whole.to_owned())
        .into_os_string();
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

    /// One byte of the card: the ROM uses the old area or the new one.
    fn complete(&mut self, _: &Stop) -> Result<(), AssembleError> {
        let device = File::open(&self.device).map_err(write_error(&self.slot, 0))?;
        let whole = File::open(&self.whole).map_err(write_error(&self.slot, 0))?;
        let mmc = |source| AssembleError::Mmc {
            slot: self.slot.clone(),
            source,
        };
        select_boot_area(&device, &whole, self.area).map_err(mmc)
    }
}
