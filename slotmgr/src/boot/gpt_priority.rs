//! Priority bits in the partition table itself: ChromeOS's firmware, Bottlerocket's GRUB
//! (`bootloader=gpt-priority`, which RAUC does not have).
//!
//! The boot name of a slot is the *name* of the partition whose attribute bits count; the bits are
//! described in [`crate::partition::priority`]. All slots change in one table, and a table is
//! written so that each reader finds the old one or the new one ([`crate::partition::gpt`]).
//!
//! | change | the slot | the others |
//! |---|---|---|
//! | condemn, bad | priority 0, not successful, one try that is never taken | |
//! | arm | above all others, its tries, not successful | moved down if there is no room |
//! | confirm | successful, no tries left to count | |
//!
//! Tries are taken from a successful slot too by Bottlerocket's GRUB, which writes the table for
//! it: so a confirmed slot has none.

use std::collections::BTreeMap;

use super::names::Names;
use super::{BootChange, BootEnv, BootError, BootState, ChangeKind, Standing};
use crate::partition::SectorSize;
use crate::partition::gpt::{self, Gpt};
use crate::partition::priority::{MAX, Priority};
use crate::partition::table::Table;
use crate::slot::{Layout, SlotId};
use crate::storage::{Area, Disks, EnvCopy, Storage};

/// The backend for `bootloader=gpt-priority`.
#[derive(Debug)]
pub struct GptPriority {
    names: Names,
    sector: SectorSize,
}

/// Number, attributes and bits of each slot's partition.
type Found = BTreeMap<SlotId, (u32, u64, Priority)>;

impl GptPriority {
    /// For the slots of `layout` that have a boot name; the disk counts in sectors of this size.
    #[must_use]
    pub fn new(layout: &Layout, sector: SectorSize) -> Self {
        GptPriority {
            names: Names::of(layout),
            sector,
        }
    }

    fn open(disks: &mut dyn Disks) -> Result<Box<dyn Storage>, BootError> {
        disks
            .open(Area::BootEnv(EnvCopy::First))
            .map_err(BootError::Open)
    }

    fn find(&self, table: &Table) -> Result<Found, BootError> {
        let find = |(id, name): (SlotId, &str)| {
            let mut found = table.entries().filter(|entry| entry.name == name);
            let name = name.to_owned();
            match (found.next(), found.next()) {
                (Some(entry), None) => Ok((id, (entry.number, entry.attributes, entry.priority()))),
                (None, _) => Err(BootError::NoPartition { name }),
                (Some(_), Some(_)) => Err(BootError::TwoPartitions { name }),
            }
        };
        self.names.iter().map(find).collect()
    }

    fn edit(&self, table: &mut Table, change: BootChange) -> Result<(), BootError> {
        let mut found = self.find(table)?;
        let id = change.slot();
        let highest = |found: &Found| {
            let others = found.iter().filter(|(other, _)| **other != id);
            others
                .map(|(_, (_, _, bits))| bits.priority)
                .max()
                .unwrap_or(0)
        };
        let lifts = matches!(change.kind(), ChangeKind::Next(_) | ChangeKind::Prefer(_));
        if lifts && highest(&found) >= MAX {
            lower(&mut found);
        }
        let above = highest(&found).saturating_add(1).min(MAX);
        if change.kind() == ChangeKind::GoodAlone && found.contains_key(&id) {
            for (_, (_, _, bits)) in found.iter_mut().filter(|(other, _)| **other != id) {
                *bits = Priority::OFF;
            }
        }
        let Some((_, _, bits)) = found.get_mut(&id) else {
            return Ok(()); // A slot that the bootloader does not know cannot be started anyway.
        };
        let tried = |tries: u8| Priority {
            priority: above,
            tries,
            successful: false,
        };
        *bits = match change.kind() {
            ChangeKind::Bad => Priority::OFF,
            ChangeKind::Next(tries) => tried(tries.count()),
            ChangeKind::Prefer(_) if bits.successful && bits.priority > 0 => Priority {
                priority: above,
                ..*bits
            },
            ChangeKind::Prefer(tries) => tried(tries.count()),
            ChangeKind::Good | ChangeKind::GoodAlone => Priority {
                // ChromeOS takes the priority away with the last try.
                priority: if bits.priority == 0 {
                    above
                } else {
                    bits.priority
                },
                tries: 0,
                successful: true,
            },
        };
        for (number, attributes, bits) in found.into_values() {
            table
                .set_attributes(number, bits.put_into(attributes))
                .map_err(gpt::GptError::Unsound)?;
        }
        Ok(())
    }
}

/// Makes room above: the order stays, the numbers become 1, 2, 3…
fn lower(found: &mut Found) {
    let mut used: Vec<u8> = found.values().map(|(_, _, bits)| bits.priority).collect();
    used.sort_unstable();
    used.dedup();
    used.retain(|priority| *priority > 0);
    for (_, _, bits) in found.values_mut() {
        if let Some(rank) = used.iter().position(|priority| *priority == bits.priority) {
            bits.priority = u8::try_from(rank + 1).unwrap_or(MAX);
        }
    }
}

fn standing(bits: Priority) -> Standing {
    match bits {
        Priority {
            priority: 1..,
            successful: true,
            ..
        } => Standing::Good,
        Priority {
            priority: 1..,
            tries,
            ..
        } => Standing::Trial { left: tries },
        // ChromeOS took the priority away with the last try.
        Priority {
            tries: 0,
            successful: false,
            ..
        } => Standing::Trial { left: 0 },
        _ => Standing::Bad,
    }
}

impl BootEnv for GptPriority {
    fn name(&self) -> &'static str {
        "gpt-priority"
    }

    fn read(&self, disks: &mut dyn Disks) -> Result<BootState, BootError> {
        let mut disk = GptPriority::open(disks)?;
        let gpt = Gpt::load(disk.as_mut(), self.sector)?;
        let found = self.find(gpt.table())?;
        let mut order: Vec<_> = found
            .iter()
            .filter(|(_, (_, _, bits))| bits.priority > 0)
            .map(|(id, (number, _, bits))| (std::cmp::Reverse(bits.priority), *number, *id))
            .collect();
        order.sort_unstable();
        Ok(BootState {
            order: order.into_iter().map(|(_, _, id)| id).collect(),
            standings: found
                .into_iter()
                .map(|(id, (_, _, bits))| (id, standing(bits)))
                .collect(),
        })
    }

    fn apply(&self, disks: &mut dyn Disks, change: BootChange) -> Result<(), BootError> {
        let mut disk = GptPriority::open(disks)?;
        gpt::change(disk.as_mut(), self.sector, |table| self.edit(table, change))?;
        Ok(())
    }
}
