//! UEFI's own boot manager, by its variables (`bootloader=efi`).
//!
//! | variable | content | meaning |
//! |---|---|---|
//! | `Boot####` | a load option | an entry; its description is the slot's boot name |
//! | `BootOrder` | numbers, 16 bits each | what is started, in that order |
//! | `BootNext` | one number | what is started next, once; the firmware deletes it first |
//! | `BootCurrent` | one number | what was started; the firmware's |
//!
//! As with RAUC a slot in `BootOrder` is good, *condemn* takes it out of there, *arm* makes it
//! `BootNext`, and *confirm* puts it to the front of `BootOrder`. So there is one try, whatever is
//! configured. With `efi-use-bootnext=false` arming is what confirming is: there is no trial.
//!
//! Each of the three is one write of one variable, the only unit that firmware promises to write as
//! a whole; it is read back. Where two have to change, the order is such that what lies between is
//! one of the two states: a condemned slot leaves `BootNext` before it leaves `BootOrder`, and a
//! preferred one is first in `BootOrder` before another one's `BootNext` is dropped.
//!
//! A slot whose entry the firmware has lost gets a new one, if `system.conf` says what is to be in
//! it, before anything else is changed: under a number that nothing names yet, so that the entry
//! starts nothing until the next variable is written. A power cut in between leaves an entry that
//! the next change finds. Already *condemn* does so, and is refused where it cannot be done: not
//! only *arm*, when the slot's old content is gone.
//!
//! Source: UEFI Specification 2.10, sections 3.1 (boot manager) and 8.2 (variables).

pub mod entry;
pub mod option;
pub mod place;
pub mod vars;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::names::Names;
use super::{BootChange, BootEnv, BootError, BootState, ChangeKind, Standing};
use crate::slot::{FirmwareEntry, Layout};
use crate::storage::Disks;
use entry::{Partition, load_option};
use option::LoadOption;
use place::PlaceError;
use vars::EfiVars;

/// Most entries that are looked at. Firmware keeps some dozens at most.
const MAX_ENTRIES: usize = 1024;

/// How a new system is made the next one (`efi-use-bootnext`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activate {
    /// Once, by `BootNext`: it has to confirm itself.
    Once,
    /// For good, by `BootOrder`.
    ForGood,
}

/// Tells which partition a slot's device is.
pub type Locate = fn(&Path) -> Result<Partition, PlaceError>;

/// The firmware's side of a machine.
pub struct Firmware {
    /// Its variables.
    pub vars: Box<dyn EfiVars>,
    /// For entries that are made anew: [`place::of_device`] on a real machine.
    pub locate: Locate,
}

/// The backend for `bootloader=efi`.
pub struct Efi {
    names: Names,
    /// What the entry of each boot name starts, and the partition that this lies on.
    recipes: BTreeMap<String, (PathBuf, FirmwareEntry)>,
    vars: Box<dyn EfiVars>,
    locate: Locate,
    activate: Activate,
}

/// What the variables say.
struct Variables {
    /// Numbers of the entries of each boot name, lowest first.
    entries: BTreeMap<String, Vec<u16>>,
    /// The numbers of all entries, whosever they are.
    numbers: Vec<u16>,
    order: Vec<u16>,
    next: Option<u16>,
    current: Option<u16>,
}

impl Variables {
    fn of(&self, name: &str) -> &[u16] {
        self.entries.get(name).map_or(&[], Vec::as_slice)
    }

    /// A number that neither an entry has nor any variable names: `BootOrder` may go on naming an
    /// entry that is gone, and whatever got its number would be started at once.
    fn free_number(&self) -> Option<u16> {
        let named = self.next.iter().chain(&self.current).chain(&self.order);
        let taken: BTreeSet<u16> = named.chain(&self.numbers).copied().collect();
        (0..=u16::MAX).find(|number| !taken.contains(number))
    }
}

impl Efi {
    /// For the slots of `layout` that have a boot name.
    #[must_use]
    pub fn new(layout: &Layout, firmware: Firmware, activate: Activate) -> Self {
        let recipe = |(id, name): (_, &crate::slot::BootName)| {
            let slot = layout.slot(id);
            let entry = slot.options.firmware_entry.clone()?;
            Some((name.as_str().to_owned(), (slot.device.clone(), entry)))
        };
        Efi {
            names: Names::of(layout),
            recipes: layout.bootable().filter_map(recipe).collect(),
            vars: firmware.vars,
            locate: firmware.locate,
            activate,
        }
    }

    fn load(&self) -> Result<Variables, BootError> {
        let mut entries: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        let mut numbers: Vec<u16> = self
            .vars
            .names()?
            .iter()
            .filter_map(|n| number(n))
            .collect();
        numbers.sort_unstable();
        for number in numbers.iter().copied().take(MAX_ENTRIES) {
            let Some(raw) = self.vars.read(&entry_name(number))? else {
                continue;
            };
            // An entry that cannot be read, or that the firmware would pass over, is none of ours.
            if let Some(option) = LoadOption::parse(&raw).filter(LoadOption::is_active)
                && self.names.slot(&option.description).is_some()
            {
                entries.entry(option.description).or_default().push(number);
            }
        }
        let list = |name| -> Result<Vec<u16>, BootError> {
            let raw = self.vars.read(name)?.unwrap_or_default();
            let pairs = raw.chunks_exact(2);
            Ok(pairs
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                .collect())
        };
        Ok(Variables {
            entries,
            numbers,
            order: list("BootOrder")?,
            next: list("BootNext")?.first().copied(),
            current: list("BootCurrent")?.first().copied(),
        })
    }

    fn standing(variables: &Variables, name: &str) -> Standing {
        let entries = variables.of(name);
        let is = |number: Option<u16>| number.is_some_and(|number| entries.contains(&number));
        if variables
            .order
            .iter()
            .any(|number| entries.contains(number))
        {
            Standing::Good
        } else if is(variables.next) {
            Standing::Trial { left: 1 }
        } else if is(variables.current) {
            Standing::Trial { left: 0 }
        } else {
            Standing::Bad
        }
    }

    /// Makes an entry for `name`, which nothing names yet.
    fn create_entry(&self, variables: &mut Variables, name: &str) -> Result<(), BootError> {
        let no_entry = || no_entry(name);
        let (device, entry) = self.recipes.get(name).ok_or_else(no_entry)?;
        let place = (self.locate)(device).map_err(|source| BootError::EntryPlace {
            name: name.to_owned(),
            source,
        })?;
        let content = load_option(name, &place, entry).ok_or_else(no_entry)?;
        let number = variables.free_number().ok_or_else(no_entry)?;
        self.set(&entry_name(number), &content)?;
        variables.entries.insert(name.to_owned(), vec![number]);
        Ok(())
    }

    fn set_order(&self, variables: &Variables, order: &[u16]) -> Result<(), BootError> {
        if order == variables.order {
            return Ok(());
        }
        let bytes: Vec<u8> = order.iter().copied().flat_map(u16::to_le_bytes).collect();
        self.set("BootOrder", &bytes)
    }

    /// Empty content takes the variable away, as for firmware.
    fn set(&self, name: &str, content: &[u8]) -> Result<(), BootError> {
        // Safe to stop: the old or the new variable is there, as a whole.
        match content {
            [] => self.vars.remove(name)?,
            content => self.vars.write(name, content)?,
        }
        let back = self.vars.read(name)?.unwrap_or_default();
        match back == content {
            true => Ok(()),
            false => Err(BootError::ReadBack),
        }
    }

    /// Takes `BootNext` away if it is one of `entries`, or if it is not.
    fn drop_next(
        &self,
        next: Option<u16>,
        unwanted: impl Fn(u16) -> bool,
    ) -> Result<(), BootError> {
        match next {
            Some(next) if unwanted(next) => self.set("BootNext", &[]),
            _ => Ok(()),
        }
    }
}

impl BootEnv for Efi {
    fn name(&self) -> &'static str {
        "efi"
    }

    /// The entry that the firmware says it has started.
    fn current(&self, _: &str) -> Result<Option<String>, BootError> {
        let variables = self.load()?;
        let started = |(_, numbers): &(&String, &Vec<u16>)| {
            variables
                .current
                .is_some_and(|number| numbers.contains(&number))
        };
        let found = variables.entries.iter().find(started);
        Ok(found.map(|(name, _)| name.clone()))
    }

    fn read(&self, _: &mut dyn Disks) -> Result<BootState, BootError> {
        let variables = self.load()?;
        let of = |number: &u16| {
            let mut names = self.names.iter();
            names
                .find(|(_, name)| variables.of(name).contains(number))
                .map(|(id, _)| id)
        };
        let mut order = Vec::new();
        for id in variables.next.iter().chain(&variables.order).filter_map(of) {
            if !order.contains(&id) {
                order.push(id);
            }
        }
        let standing = |(id, name)| (id, Efi::standing(&variables, name));
        Ok(BootState {
            order,
            standings: self.names.iter().map(standing).collect(),
        })
    }

    fn apply(&self, _: &mut dyn Disks, change: BootChange) -> Result<(), BootError> {
        let Some(name) = self.names.name(change.slot()) else {
            return Ok(()); // A slot that the bootloader does not know cannot be started anyway.
        };
        let mut variables = self.load()?;
        if variables.of(name).is_empty() {
            self.create_entry(&mut variables, name)?;
        }
        let variables = variables;
        let entries = variables.of(name);
        let others = || {
            let order = variables.order.iter().copied();
            order.filter(|number| !entries.contains(number))
        };
        let good = Efi::standing(&variables, name) == Standing::Good;
        let once = match change.kind() {
            ChangeKind::Bad => {
                self.drop_next(variables.next, |next| entries.contains(&next))?;
                return self.set_order(&variables, &others().collect::<Vec<_>>());
            }
            ChangeKind::Good | ChangeKind::GoodAlone => false,
            ChangeKind::Prefer(_) if good => false,
            ChangeKind::Next(_) | ChangeKind::Prefer(_) => self.activate == Activate::Once,
        };
        // The running entry, if it is one of this name: that one has proved itself.
        let running = variables.current.filter(|number| entries.contains(number));
        let Some(first) = running.or(entries.first().copied()) else {
            return Err(no_entry(name));
        };
        if once {
            if variables.next == Some(first) {
                return Ok(());
            }
            return self.set("BootNext", &first.to_le_bytes());
        }
        // What no slot is called is not ours to take away: the network, a setup program.
        let a_slots = |number: &u16| {
            let mut slots = self.names.iter();
            slots.any(|(_, name)| variables.of(name).contains(number))
        };
        let alone = change.kind() == ChangeKind::GoodAlone;
        let others = others().filter(|number| !(alone && a_slots(number)));
        let order: Vec<u16> = [first].into_iter().chain(others).collect();
        self.set_order(&variables, &order)?;
        match change.kind() {
            ChangeKind::Good | ChangeKind::GoodAlone => Ok(()),
            _ => self.drop_next(variables.next, |next| next != first),
        }
    }
}

fn no_entry(name: &str) -> BootError {
    BootError::NoEntry {
        name: name.to_owned(),
    }
}

fn entry_name(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// Of `Boot####`, with four capital hexadecimal digits.
fn number(name: &str) -> Option<u16> {
    let digits = name
        .strip_prefix("Boot")
        .filter(|digits| digits.len() == 4)?;
    let number = u16::from_str_radix(digits, 16).ok()?;
    (entry_name(number) == name).then_some(number)
}
