//! A slot that the bundle's install hook writes.

use super::{Proof, Writer};
use crate::install::{AssembleError, ImageStream, ReadBackError};
use crate::slot::{Mounted, Slot};
use crate::storage::{Area, Disks, OpenError};

/// Nothing to do for us: the signed bundle brings the program that does it, and with it the
/// responsibility for what is in the slot then.
pub(super) struct Untouched;

impl Untouched {
    pub fn open(
        slot: &Slot,
        disks: &mut dyn Disks,
        area: Area,
    ) -> Result<Untouched, AssembleError> {
        match disks.open(area) {
            Ok(_) => Ok(Untouched),
            Err(OpenError::InUse { .. }) if slot.options.mounted == Mounted::Allowed => {
                Ok(Untouched)
            }
            Err(source) => Err(AssembleError::Open {
                slot: slot.name.clone(),
                source,
            }),
        }
    }
}

impl Writer for Untouched {
    fn write(&mut self, _: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AssembleError> {
        // The hook may have written anywhere.
        devio::system::sync_everything();
        Ok(())
    }

    fn read_back(&mut self, _: &mut Proof<'_>) -> Result<(), ReadBackError> {
        Ok(())
    }
}
