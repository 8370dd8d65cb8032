//! systemd-boot's counted entries (`bootloader=systemd-boot`).
//!
//! Each slot has an entry `NAME.conf` in `loader/entries`, with `sort-key slotmgr` and a `version`
//! of ten digits. systemd-boot starts the entry with the highest version that is not out of tries.
//!
//! | what | how |
//! |---|---|
//! | good | `NAME.conf` |
//! | on trial | `NAME+LEFT.conf`; systemd-boot makes it `NAME+LEFT-DONE.conf` at each start |
//! | bad | `NAME+0.conf`: sorted behind all others |
//! | first | the highest `version`, in the entry itself: one write of one sector, in place |
//!
//! *Condemn* is one rename. *Arm* first makes the version the highest, which changes nothing as
//! long as the entry is bad, and then is one rename. *Confirm* is one rename. A rename on FAT is not
//! atomic (see [`files`]): a power cut in it may leave the entry under both names, of which
//! systemd-boot takes the one that has a try left, or under none. Then the *other* slot is started,
//! whose entry is not touched by any of the three, and the next change makes the lost entry anew
//! from its spare copy, as a bad one.
//!
//! Source: "Automatic Boot Assessment" and "The Boot Loader Interface" of systemd; the sorting of
//! the Boot Loader Specification.

pub mod entry;
pub mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::names::Names;
use super::{BootChange, BootEnv, BootError, BootState, ChangeKind, Standing};
use crate::slot::Layout;
use crate::storage::Disks;
use entry::{BadEntry, Count, Entry, FileName};
use files::EntryFiles;

/// The backend for `bootloader=systemd-boot`.
pub struct SystemdBoot {
    names: Names,
    files: Box<dyn EntryFiles>,
}

/// The files of one slot; more than one only after a power cut in a rename.
type Found = Vec<(Count, Entry)>;

/// Of all slots, by boot name.
type All = BTreeMap<String, Found>;

impl SystemdBoot {
    /// For the slots of `layout` that have a boot name.
    #[must_use]
    pub fn new(layout: &Layout, files: Box<dyn EntryFiles>) -> Self {
        let names = Names::of(layout);
        SystemdBoot { names, files }
    }

    fn load(&self) -> Result<All, BootError> {
        if let Some(by) = self.files.overridden()? {
            return Err(BootError::DefaultEntry { by });
        }
        let mut all = All::new();
        for text in self.files.names()? {
            let Some(name) = FileName::parse(&text) else {
                continue;
            };
            if self.names.slot(&name.slot).is_none() {
                continue;
            }
            let bytes = self.files.read(&text)?;
            if bytes.is_empty() {
                // A name without content is what a power cut leaves of a file that was added.
                continue;
            }
            let entry = Entry::parse(bytes).map_err(|source| bad_entry(&text, source))?;
            all.entry(name.slot).or_default().push((name.count, entry));
        }
        Ok(all)
    }

    /// The files of a slot; where there is none, it is made anew from the spare copy, as a bad one.
    fn own(&self, all: &mut All, name: &str) -> Result<(), BootError> {
        if all.get(name).is_some_and(|found| !found.is_empty()) {
            return Ok(());
        }
        let spare = self.files.spare(name)?;
        let spare = spare.ok_or_else(|| BootError::NoSpareEntry {
            name: name.to_owned(),
        })?;
        let entry = Entry::parse(spare.clone()).map_err(|source| bad_entry(name, source))?;
        let file = self.free_bad_name(name)?;
        // Safe to stop: it is bad, or not whole and so no entry.
        self.files.add(&file.to_string(), &spare)?;
        all.insert(name.to_owned(), vec![(file.count, entry)]);
        Ok(())
    }

    /// Gives the slot the highest version, unless it has that.
    fn put_first(&self, all: &mut All, name: &str) -> Result<(), BootError> {
        let highest = |wanted: &dyn Fn(&str) -> bool| {
            let found = all.iter().filter(|(slot, _)| wanted(slot));
            let versions = found.flat_map(|(_, found)| found).map(|(_, e)| e.version);
            versions.max().unwrap_or(0)
        };
        let others = highest(&|slot| slot != name);
        let own = highest(&|slot| slot == name);
        let version = match own > others {
            true => own,
            false => others + 1,
        };
        for (count, entry) in all.get_mut(name).into_iter().flatten() {
            if entry.version == version {
                continue;
            }
            let file = file_name(name, *count);
            let new = entry.with_version(version);
            let new = new.map_err(|source| bad_entry(&file, source))?;
            // Safe to stop: one sector, old or new, and each is a whole entry.
            self.files.overwrite(&file, &new)?;
            if self.files.read(&file)? != new {
                return Err(BootError::ReadBack);
            }
            *entry = Entry::parse(new).map_err(|source| bad_entry(&file, source))?;
        }
        Ok(())
    }

    /// Makes `count` what the slot's name counts. What else a power cut has left of it becomes bad.
    fn settle(&self, all: &All, name: &str, count: Count) -> Result<(), BootError> {
        let found = all.get(name).map_or(&[][..], Vec::as_slice);
        let mut counts: Vec<Count> = found.iter().map(|(count, _)| *count).collect();
        // The one that systemd-boot would take is the one that gets the new name.
        counts.sort_by_key(|count| (!count.can_start(), *count));
        if count.can_start() && !counts.contains(&count) {
            let Some(first) = counts.first_mut() else {
                return Ok(());
            };
            self.rename(name, *first, count)?;
            *first = count;
        }
        let used_up = |count| standing_of(&[count]) == Standing::Trial { left: 0 };
        for other in counts {
            if other != count && (other.can_start() || (used_up(other) && !count.can_start())) {
                let bad = self.free_bad_name(name)?;
                self.rename(name, other, bad.count)?;
            }
        }
        Ok(())
    }

    /// A name that makes the slot bad and that no file has.
    fn free_bad_name(&self, name: &str) -> Result<FileName, BootError> {
        let taken = self.files.names()?;
        let done = std::iter::once(None).chain((0..u32::MAX).map(Some));
        let mut names = done.map(|done| FileName {
            slot: name.to_owned(),
            count: Count::On { left: 0, done },
        });
        let free = names.find(|name| !taken.contains(&name.to_string()));
        free.ok_or(BootError::ReadBack)
    }

    /// Out of the way with a file of this name, which is no entry, being empty: an entry would have
    /// been counted. It is renamed too, as nothing here is ever removed.
    fn put_aside(&self, name: &str) -> Result<(), BootError> {
        let taken = self.files.names()?;
        if !taken.iter().any(|other| other == name) || !self.files.read(name)?.is_empty() {
            return Ok(());
        }
        let mut asides = (0..u32::MAX).map(|number| format!("{name}.empty{number}"));
        let aside = asides.find(|aside| !taken.contains(aside));
        self.files.rename(name, &aside.ok_or(BootError::ReadBack)?)
    }

    fn rename(&self, name: &str, from: Count, to: Count) -> Result<(), BootError> {
        let (from, to) = (file_name(name, from), file_name(name, to));
        self.put_aside(&to)?;
        // Safe to stop: whatever is left of this entry, that of the other slot is as it was.
        self.files.rename(&from, &to)?;
        let names = self.files.names()?;
        match names.contains(&to) && !names.contains(&from) {
            true => Ok(()),
            false => Err(BootError::ReadBack),
        }
    }
}

fn file_name(slot: &str, count: Count) -> String {
    let slot = slot.to_owned();
    FileName { slot, count }.to_string()
}

fn bad_entry(file: &str, why: BadEntry) -> BootError {
    BootError::Entry {
        file: file.to_owned(),
        why,
    }
}

fn standing(found: &[(Count, Entry)]) -> Standing {
    let counts: Vec<Count> = found.iter().map(|(count, _)| *count).collect();
    standing_of(&counts)
}

/// As systemd-boot sees them together: while one of them has a try left, the slot is on trial.
fn standing_of(counts: &[Count]) -> Standing {
    let left = counts.iter().map(|count| match count {
        Count::On { left, .. } => *left,
        Count::Off => 0,
    });
    let used = |count: &Count| matches!(count, Count::On { done: Some(done), .. } if *done > 0);
    match left.max().unwrap_or(0) {
        0 if counts.contains(&Count::Off) => Standing::Good,
        0 if counts.iter().any(used) => Standing::Trial { left: 0 },
        0 => Standing::Bad,
        left => Standing::Trial {
            left: u8::try_from(left).unwrap_or(u8::MAX),
        },
    }
}

impl BootEnv for SystemdBoot {
    fn name(&self) -> &'static str {
        "systemd-boot"
    }

    fn read(&self, _: &mut dyn Disks) -> Result<BootState, BootError> {
        let all = self.load()?;
        let found = |name: &str| all.get(name).map_or(&[][..], Vec::as_slice);
        let version = |name: &str| found(name).iter().map(|(_, entry)| entry.version).max();
        let mut slots: Vec<_> = self.names.iter().collect();
        slots.sort_by_key(|(_, name)| std::cmp::Reverse(version(name)));
        let known = slots.iter().filter(|(_, name)| version(name).is_some());
        Ok(BootState {
            order: known.map(|(id, _)| *id).collect(),
            standings: slots
                .iter()
                .map(|(id, name)| (*id, standing(found(name))))
                .collect(),
        })
    }

    fn apply(&self, _: &mut dyn Disks, change: BootChange) -> Result<(), BootError> {
        let Some(name) = self.names.name(change.slot()) else {
            return Ok(()); // A slot that the bootloader does not know cannot be started anyway.
        };
        let mut all = self.load()?;
        self.own(&mut all, name)?;
        let good = all.get(name).is_some_and(|f| standing(f) == Standing::Good);
        match change.kind() {
            ChangeKind::Bad => self.settle(&all, name, Count::BAD),
            ChangeKind::Good => self.settle(&all, name, Count::Off),
            ChangeKind::GoodAlone => {
                // Two changes: what lies between them is a confirmed system with a fallback.
                self.settle(&all, name, Count::Off)?;
                let others = self.names.iter().filter(|(_, other)| *other != name);
                others
                    .into_iter()
                    .try_for_each(|(_, other)| self.settle(&all, other, Count::BAD))
            }
            ChangeKind::Prefer(_) if good => self.put_first(&mut all, name),
            ChangeKind::Next(tries) | ChangeKind::Prefer(tries) => {
                self.put_first(&mut all, name)?;
                let left = u32::from(tries.count());
                self.settle(&all, name, Count::On { left, done: None })
            }
        }
    }
}
