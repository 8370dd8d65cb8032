//! U-Boot, with RAUC's variables in its environment, and one more of our own.
//!
//! | variable | values | meaning |
//! |---|---|---|
//! | `BOOT_ORDER` | boot names, blanks between | the slots that may be started, in that order |
//! | `BOOT_<n>_LEFT` | one hexadecimal digit | tries left; the boot script counts |
//! | `BOOT_<n>_GOOD` | `1`, unset | ours: confirmed, started without counting |
//!
//! Our boot script leaves `_LEFT` of a `_GOOD` slot alone. RAUC's script does not know `_GOOD` and
//! counts at each start: a slot with less than `boot-attempts` is therefore on trial, and `slotmgr
//! trial` sets it back. A slot without `_LEFT` has no try.
//!
//! A `_LEFT` above 9 is never written: RAUC writes hexadecimal, U-Boot's `bootmeth_rauc` reads
//! decimal, and takes `a` for 0.
//!
//! One change is one write of the copy that does not count, synced and read back; on NOR flash the
//! old copy is then marked as obsolete. A pair of copies that no writer leaves is put in order with
//! a second write, after the first is durable.

use std::io;

use uboot_env::codec::{Endian, FLAGS_OFFSET};
use uboot_env::config::EnvConfig;
use uboot_env::env::{Env, VarName};
use uboot_env::select::{CopyId, FLAG_OBSOLETE, FlagScheme};
use uboot_env::snapshot::{PlanError, Shape, Snapshot, WriteStep};
use uboot_env::storage::{CopyError, Op};

use super::{BootChange, BootEnv, BootError, BootState, ChangeKind, Standing, Tries};
use crate::slot::{BootName, Layout, SlotId};
use crate::storage::{Area, Disks, EnvCopy, OpenError, SECTOR, Storage, read_all};

/// The backend for `bootloader=uboot`.
#[derive(Debug)]
pub struct UBoot {
    names: Vec<(SlotId, BootName)>,
    shape: Shape,
    /// False for a single copy that can straddle sectors.
    atomic: bool,
    attempts: Tries,
}

/// An open copy, or why it is not.
type Opened = Result<Box<dyn Storage>, OpenError>;

impl UBoot {
    /// For the slots of `layout` that have a boot name; a confirmed slot gets `attempts`. Two copies
    /// count up, as everywhere but on NOR flash.
    #[must_use]
    pub fn new(layout: &Layout, config: &EnvConfig, attempts: Tries) -> Self {
        let one_sector = config.size <= SECTOR as u64
            && config
                .first
                .offset
                .unsigned_abs()
                .is_multiple_of(SECTOR as u64);
        UBoot {
            names: layout
                .bootable()
                .map(|(id, name)| (id, name.clone()))
                .collect(),
            shape: Shape {
                layout: config.layout(),
                size: config.size,
                endian: Endian::native(),
                scheme: FlagScheme::Incremental,
            },
            atomic: config.second.is_some() || one_sector,
            attempts,
        }
    }

    /// On a medium that uses the flags byte in this way.
    #[must_use]
    pub fn with_scheme(mut self, scheme: FlagScheme) -> Self {
        self.shape.scheme = scheme;
        self
    }

    fn open(&self, disks: &mut dyn Disks) -> Vec<(CopyId, Opened)> {
        let copies = self.shape.copies().iter();
        copies
            .map(|copy| (*copy, disks.open(Area::BootEnv(area(*copy)))))
            .collect()
    }

    /// Judges the copies. One that cannot be opened or read does not matter if the other is valid.
    fn load(&self, copies: &mut [(CopyId, Opened)]) -> Result<Snapshot, BootError> {
        if copies.iter().all(|(_, opened)| opened.is_err())
            && let Some((_, opened)) = copies.first_mut()
            && let Err(error) = std::mem::replace(opened, Err(OpenError::PowerOff))
        {
            return Err(BootError::Open(error));
        }
        let mut read = copies.iter_mut().map(|(copy, opened)| match opened {
            Ok(storage) => {
                read_all(storage.as_mut(), self.shape.size).map_err(|source| CopyError::Io {
                    op: Op::Read,
                    path: copy.to_string().into(),
                    offset: 0,
                    source,
                })
            }
            Err(_) => Err(CopyError::NoSuchCopy { copy: *copy }),
        });
        let missing = || {
            Err(CopyError::NoSuchCopy {
                copy: CopyId::First,
            })
        };
        let first = read.next().unwrap_or_else(missing);
        let second = read.next();
        drop(read);
        let snapshot = Snapshot::new(self.shape, first, second);
        if snapshot.env().is_some_and(Env::is_rejected) {
            tracing::warn!(
                "U-Boot rejects its whole environment, since an entry in it has no name, and goes by \
                 its built-in default; the next change takes that entry out"
            );
        }
        Ok(snapshot)
    }

    /// As the boot script takes it: an empty order is a missing one (libubootenv can store it), and
    /// a word that is no text is no slot.
    fn order<'e>(&'e self, env: &'e Env) -> Vec<&'e str> {
        match env.get(b"BOOT_ORDER").filter(|order| !order.is_empty()) {
            Some(order) => order
                .split(u8::is_ascii_whitespace)
                .filter_map(|name| std::str::from_utf8(name).ok())
                .filter(|name| !name.is_empty())
                .collect(),
            None => self.names.iter().map(|(_, name)| name.as_str()).collect(),
        }
    }

    fn standing(&self, env: &Env, name: &BootName) -> Standing {
        let left = tries_left(get(env, name, "LEFT").unwrap_or_default());
        let good = get(env, name, "GOOD") == Some(b"1");
        if !self.order(env).contains(&name.as_str()) {
            Standing::Bad
        } else if good && left >= self.attempts.count() {
            Standing::Good
        } else {
            Standing::Trial { left }
        }
    }

    fn state(&self, env: &Env) -> BootState {
        let by_name = |text: &str| {
            let mut names = self.names.iter();
            names
                .find(|(_, name)| name.as_str() == text)
                .map(|(id, _)| *id)
        };
        BootState {
            order: self.order(env).into_iter().filter_map(by_name).collect(),
            standings: self
                .names
                .iter()
                .map(|(id, name)| (*id, self.standing(env, name)))
                .collect(),
        }
    }

    fn edit(&self, env: &mut Env, change: BootChange) -> Result<(), BootError> {
        let slot = |(id, _): &&(SlotId, BootName)| *id == change.slot();
        let Some((_, name)) = self.names.iter().find(slot) else {
            return Ok(()); // A slot that the bootloader does not know cannot be started anyway.
        };
        let standing = self.standing(env, name);
        let old = self.order(env);
        let others = || old.iter().copied().filter(|other| *other != name.as_str());
        let order: Vec<&str> = match change.kind() {
            // U-Boot takes an empty order for a missing one: the last name stays, without a try.
            ChangeKind::Bad if others().next().is_none() => old.clone(),
            ChangeKind::Bad => others().collect(),
            ChangeKind::Good if old.contains(&name.as_str()) => old.clone(),
            ChangeKind::Good => others().chain([name.as_str()]).collect(),
            ChangeKind::GoodAlone => vec![name.as_str()],
            ChangeKind::Next(_) | ChangeKind::Prefer(_) => {
                [name.as_str()].into_iter().chain(others()).collect()
            }
        };
        let order = order.join(" ");
        if change.kind() == ChangeKind::GoodAlone {
            for (_, other) in self.names.iter().filter(|(_, other)| other != name) {
                set(env, &variable(other, "LEFT"), Some("0"))?;
                set(env, &variable(other, "GOOD"), None)?;
            }
        }
        let (left, good) = match change.kind() {
            ChangeKind::Bad => (0, false),
            ChangeKind::Good | ChangeKind::GoodAlone => (self.attempts.count(), true),
            ChangeKind::Prefer(_) if standing == Standing::Good => (self.attempts.count(), true),
            ChangeKind::Next(tries) | ChangeKind::Prefer(tries) => (tries.count(), false),
        };
        set(env, "BOOT_ORDER", Some(&order))?;
        set(env, &variable(name, "LEFT"), Some(&left.to_string()))?;
        set(env, &variable(name, "GOOD"), good.then_some("1"))
    }

    fn write(&self, copies: &mut [(CopyId, Opened)], step: &WriteStep) -> Result<(), BootError> {
        let storage = opened(copies, step.copy)?;
        // Until the last byte is there the CRC is wrong, and the other copy counts.
        storage.write_at(&step.image, 0).map_err(io("writing"))?;
        storage.sync().map_err(io("syncing"))?;
        let after = read_all(storage, self.shape.size).map_err(io("reading back"))?;
        if after != step.image {
            return Err(BootError::ReadBack);
        }
        let Some(old) = step.then_obsolete else {
            return Ok(());
        };
        // Both copies are valid and active until this byte is 0, and either may be taken: a cut
        // before it leaves the old environment or the new one.
        let storage = opened(copies, old)?;
        let flags = FLAGS_OFFSET as u64;
        storage
            .write_at(&[FLAG_OBSOLETE], flags)
            .map_err(io("writing"))?;
        storage.sync().map_err(io("syncing"))
    }
}

/// A copy that is to be written.
fn opened(copies: &mut [(CopyId, Opened)], copy: CopyId) -> Result<&mut dyn Storage, BootError> {
    let found = copies.iter_mut().find(|(other, _)| *other == copy);
    match found {
        Some((_, Ok(storage))) => Ok(storage.as_mut()),
        Some((_, lost)) => match std::mem::replace(lost, Err(OpenError::PowerOff)) {
            Err(error) => Err(BootError::Open(error)),
            Ok(_) => Err(BootError::ReadBack),
        },
        None => Err(BootError::ReadBack),
    }
}

fn io(doing: &'static str) -> impl FnOnce(io::Error) -> BootError {
    move |source| BootError::Io { doing, source }
}

impl BootEnv for UBoot {
    fn name(&self) -> &'static str {
        "uboot"
    }

    fn read(&self, disks: &mut dyn Disks) -> Result<BootState, BootError> {
        let snapshot = self.load(&mut self.open(disks))?;
        let env = snapshot.env().ok_or(PlanError::NoValidCopy);
        Ok(self.state(env.map_err(BootError::NoPlan)?))
    }

    fn apply(&self, disks: &mut dyn Disks, change: BootChange) -> Result<(), BootError> {
        let mut copies = self.open(disks);
        let snapshot = self.load(&mut copies)?;
        let env = snapshot.env().ok_or(PlanError::NoValidCopy);
        let mut wanted = env.map_err(BootError::NoPlan)?.clone();
        self.edit(&mut wanted, change)?;
        let plan = snapshot.plan(&wanted).map_err(BootError::NoPlan)?;
        if plan.steps.is_empty() {
            return Ok(());
        }
        if !self.atomic {
            return Err(BootError::SingleCopy {
                size: self.shape.size,
            });
        }
        // Safe to stop: nothing has been written.
        for step in &plan.steps {
            self.write(&mut copies, step)?;
        }
        match self.load(&mut copies)?.env() == Some(&wanted) {
            true => Ok(()),
            false => Err(BootError::ReadBack),
        }
    }
}

fn area(copy: CopyId) -> EnvCopy {
    match copy {
        CopyId::First => EnvCopy::First,
        CopyId::Second => EnvCopy::Second,
    }
}

/// A count as our script takes it: one hexadecimal digit (RAUC), or several decimal ones
/// (`bootmeth_rauc`), of which it makes nine. Anything else is no try.
fn tries_left(value: &[u8]) -> u8 {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let left = match value {
        [digit] if !digit.is_ascii_uppercase() => char::from(*digit).to_digit(16).map(u64::from),
        _ if value.iter().all(u8::is_ascii_digit) => text.parse().ok().filter(|left| *left > 9),
        _ => None,
    };
    u8::try_from(left.unwrap_or(0)).unwrap_or(u8::MAX)
}

fn variable(name: &BootName, suffix: &str) -> String {
    format!("BOOT_{name}_{suffix}")
}

fn get<'e>(env: &'e Env, name: &BootName, suffix: &str) -> Option<&'e [u8]> {
    env.get(variable(name, suffix).as_bytes())
}

fn set(env: &mut Env, name: &str, value: Option<&str>) -> Result<(), BootError> {
    let bad = |source| BootError::Variable {
        what: name.to_owned(),
        source,
    };
    let var = VarName::new(name).map_err(bad)?;
    match value {
        Some(value) => env.set(&var, value.as_bytes()).map_err(bad)?,
        None => env.remove(&var),
    };
    Ok(())
}

#[cfg(test)]
mod tests;
