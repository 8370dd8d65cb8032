//! Switching between the two boot areas of eMMC: slots of the type `boot-emmc`.
//!
//! The ROM starts what is in the area that one byte of the card names. An update is written into
//! the other area, and then that byte is changed: the card's own, single commit point.

use std::fs::File;
use std::path::PathBuf;

use devio::mmc::{self, BootArea, MmcError};

/// The byte that names the area the ROM starts from.
pub trait BootAreaSwitch {
    /// The area that is named now.
    ///
    /// # Errors
    /// What the card says.
    fn current(&mut self) -> Result<BootArea, MmcError>;

    /// Names another area, durably, and reads back.
    ///
    /// # Errors
    /// [`MmcError::NotSwitched`] if the card says otherwise afterwards.
    fn select(&mut self, area: BootArea) -> Result<(), MmcError>;
}

/// A card in this machine.
#[derive(Debug)]
pub struct Card {
    /// `/dev/mmcblkX`.
    pub whole: PathBuf,
}

impl Card {
    fn open(&self, suffix: &str) -> Result<File, MmcError> {
        let mut path = self.whole.clone().into_os_string();
        path.push(suffix);
        File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|source| MmcError::Io {
                what: "open",
                source,
            })
    }
}

impl BootAreaSwitch for Card {
    fn current(&mut self) -> Result<BootArea, MmcError> {
        mmc::boot_area(&mmc::read_ext_csd(&self.open("")?)?)
    }

    fn select(&mut self, area: BootArea) -> Result<(), MmcError> {
        // By the node of a boot area, and checked by the node of the card: what the card says, and
        // not what the driver of the first remembers.
        let node = match area {
            BootArea::Boot1 => "boot1",
            _ => "boot0",
        };
        mmc::select_boot_area(&self.open(node)?, &self.open("")?, area)
    }
}

/// The area that an update is written into, and that is selected afterwards: never the one that
/// the card starts from now. A card that starts from its user area, or not at all, begins with
/// the first.
#[must_use]
pub fn target(current: BootArea) -> BootArea {
    match current {
        BootArea::Boot0 => BootArea::Boot1,
        BootArea::Boot1 | BootArea::User | BootArea::None => BootArea::Boot0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A card that may ignore the switch, as some kernels made it do.
    #[derive(Debug, Clone)]
    pub(crate) struct Fake {
        pub area: BootArea,
        pub deaf: bool,
    }

    impl BootAreaSwitch for Fake {
        fn current(&mut self) -> Result<BootArea, MmcError> {
            Ok(self.area)
        }

        fn select(&mut self, area: BootArea) -> Result<(), MmcError> {
            if !self.deaf {
                self.area = area;
            }
            match self.area == area {
                true => Ok(()),
                false => Err(MmcError::NotSwitched {
                    wanted: area,
                    found: self.area,
                }),
            }
        }
    }

    #[test]
    fn the_target_is_never_what_runs_and_two_updates_come_back() {
        let mut card = Fake {
            area: BootArea::User,
            deaf: false,
        };
        let mut seen = Vec::new();
        for _ in 0..3 {
            let current = card.current().unwrap();
            let target = target(current);
            assert_ne!(target, current);
            card.select(target).unwrap();
            seen.push(card.area);
        }
        assert_eq!(seen, [BootArea::Boot0, BootArea::Boot1, BootArea::Boot0]);
        card.deaf = true;
        assert!(
            card.select(BootArea::Boot1).is_err(),
            "and it still starts from boot0"
        );
        assert_eq!(card.current().unwrap(), BootArea::Boot0);
    }
}
