//! Which slot the bootloader calls what.

use crate::slot::{BootName, Layout, SlotId};

/// The slots that have a boot name, in the order of `system.conf`.
#[derive(Debug, Clone)]
pub(super) struct Names(Vec<(SlotId, BootName)>);

impl Names {
    pub(super) fn of(layout: &Layout) -> Names {
        let names = layout.bootable().map(|(id, name)| (id, name.clone()));
        Names(names.collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &str)> {
        self.0.iter().map(|(id, name)| (*id, name.as_str()))
    }

    pub(super) fn name(&self, slot: SlotId) -> Option<&str> {
        self.iter()
            .find(|(id, _)| *id == slot)
            .map(|(_, name)| name)
    }

    pub(super) fn slot(&self, text: &str) -> Option<SlotId> {
        self.iter()
            .find(|(_, name)| *name == text)
            .map(|(id, _)| id)
    }
}
