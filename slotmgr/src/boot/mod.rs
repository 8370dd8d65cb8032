//! The bootloader's memory: which slot it starts, how often it tries, what it has given up on.
//!
//! A backend does two things: [`BootEnv::read`] tells what the *bootloader* will read there, and
//! [`BootEnv::apply`] turns one [`BootChange`] into **one** durable update, read back. The order of
//! the changes is written here, once, for all backends: [`condemn`] before the first byte is
//! written into a slot, [`arm`] only with the [`Proven`] token in hand, [`confirm`] only for the
//! running slot.

pub mod barebox;
pub mod custom;
pub mod efi;
mod error;
pub mod gpt_priority;
pub mod grub;
pub mod grub_pair;
mod names;
pub mod noop;
pub mod program;
pub mod systemd_boot;
pub mod tryboot;
pub mod uboot;

use std::collections::BTreeMap;
use std::fmt;

pub use error::BootError;

use crate::install::Proven;
use crate::slot::{Booted, Layout, Running, SlotId, Target};
use crate::storage::Disks;

/// How often a new system may be tried before the old one comes back: 1 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries(u8);

impl Tries {
    /// Three: two accidental power cuts during the trial do not throw a good update away.
    pub const DEFAULT: Tries = Tries(3);

    /// One digit, since boot scripts have no arithmetic.
    #[must_use]
    pub fn new(count: u8) -> Option<Self> {
        (1..=9).contains(&count).then_some(Tries(count))
    }

    /// The number.
    #[must_use]
    pub fn count(self) -> u8 {
        self.0
    }
}

/// How the bootloader stands to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Confirmed: started without counting.
    Good,
    /// On trial, with so many further tries. `left: 0` is the last try, running or used up.
    Trial {
        /// Further tries.
        left: u8,
    },
    /// Not started.
    Bad,
}

impl Standing {
    /// Good, or with a try left. A slot whose tries are used up has shown that it does not come up.
    #[must_use]
    pub fn can_start(self) -> bool {
        match self {
            Standing::Good => true,
            Standing::Trial { left } => left > 0,
            Standing::Bad => false,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Good => f.write_str("good"),
            Standing::Trial { left: 0 } => f.write_str("on trial, no further try"),
            Standing::Trial { left: 1 } => f.write_str("on trial, 1 further try"),
            Standing::Trial { left } => write!(f, "on trial, {left} further tries"),
            Standing::Bad => f.write_str("bad"),
        }
    }
}

/// What the bootloader would read now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootState {
    /// The order in which slots are looked at. Names that no slot has are left out.
    pub order: Vec<SlotId>,
    /// Every slot that has a boot name.
    pub standings: BTreeMap<SlotId, Standing>,
}

impl BootState {
    /// How the bootloader stands to `id`; a slot that it does not know is bad.
    #[must_use]
    pub fn standing(&self, id: SlotId) -> Standing {
        self.standings.get(&id).copied().unwrap_or(Standing::Bad)
    }

    /// The slot that is started next: the first of the order that is good or has a try left.
    #[must_use]
    pub fn primary(&self) -> Option<SlotId> {
        let mut order = self.order.iter().copied();
        order.find(|id| self.standing(*id).can_start())
    }
}

/// One change of the bootloader's memory. Only the functions of this module make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootChange {
    slot: SlotId,
    kind: ChangeKind,
}

/// The kinds of [`BootChange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Do not start this slot: its content is about to change, or is known to be bad.
    Bad,
    /// Start this slot next, and give it so many tries.
    Next(Tries),
    /// Start this slot next; it keeps its standing if it is good, else it gets so many tries.
    Prefer(Tries),
    /// This slot has proved itself.
    Good,
    /// The same, and no other slot is started any more.
    GoodAlone,
}

impl BootChange {
    /// The slot that changes.
    #[must_use]
    pub fn slot(&self) -> SlotId {
        self.slot
    }

    /// What changes.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        self.kind
    }
}

/// A bootloader.
pub trait BootEnv {
    /// For people: `grub`.
    fn name(&self) -> &'static str;

    /// What the bootloader would read now.
    ///
    /// # Errors
    /// When the environment cannot be read or is not one.
    fn read(&self, disks: &mut dyn Disks) -> Result<BootState, BootError>;

    /// One durable update: written, synced, read back. Equal content writes nothing.
    ///
    /// # Errors
    /// Before the write nothing has changed. After it the old or the new content is there, and the
    /// next [`read`](BootEnv::read) tells which.
    fn apply(&self, disks: &mut dyn Disks, change: BootChange) -> Result<(), BootError>;

    /// What the bootloader itself knows of the slot that it has started, of which it also leaves
    /// traces on the kernel's command line; most know nothing.
    ///
    /// # Errors
    /// When it should know, and cannot be asked.
    fn current(&self, _cmdline: &str) -> Result<Option<String>, BootError> {
        Ok(None)
    }
}

/// A target that the bootloader ignores from now on, durably: it may be written.
#[must_use = "a condemned slot must be written and armed, or stays unusable"]
#[derive(Debug)]
pub struct Condemned {
    target: Target,
}

impl Condemned {
    /// The slot.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }
}

/// The end of an installation: the bootloader will start the target next, on trial.
#[must_use]
#[derive(Debug)]
pub struct Armed {
    target: Target,
    tries: Tries,
}

impl Armed {
    /// The slot that is started next.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// How often it is tried.
    #[must_use]
    pub fn tries(&self) -> Tries {
        self.tries
    }
}

/// Checks that an installation may touch the environment at all. Writes nothing.
///
/// # Errors
/// When the environment cannot be read, or the running slot would not be started again: without it
/// there is nothing to fall back to while the target is being written. A system from outside needs no
/// slot: it is started again as it was.
pub fn check_fallback(
    env: &dyn BootEnv,
    disks: &mut dyn Disks,
    layout: &Layout,
    running: Running,
) -> Result<BootState, BootError> {
    let state = match env.read(disks) {
        // Nothing decides here: whoever does has to know.
        Err(BootError::NoMemory) => {
            return Ok(BootState {
                order: Vec::new(),
                standings: BTreeMap::new(),
            });
        }
        read => read?,
    };
    let Some(booted) = running.slot() else {
        return Ok(state);
    };
    match state.standing(booted.id()) {
        Standing::Good if state.order.contains(&booted.id()) => Ok(state),
        standing => Err(BootError::RunningSlotNotGood {
            slot: layout.slot(booted.id()).name.clone(),
            standing: if standing == Standing::Good {
                Standing::Bad
            } else {
                standing
            },
        }),
    }
}

/// Makes the bootloader ignore `target`, durably.
///
/// # Errors
/// As [`BootEnv::apply`]. It is safe to stop then: the running slot was found good, and its
/// variables are not touched by this change.
pub fn condemn(
    env: &dyn BootEnv,
    disks: &mut dyn Disks,
    target: Target,
) -> Result<Condemned, BootError> {
    env.apply(
        disks,
        BootChange {
            slot: target.id(),
            kind: ChangeKind::Bad,
        },
    )?;
    Ok(Condemned { target })
}

/// Makes the bootloader ignore the system whose root slot is `target`, durably. Nothing is to be done
/// where it would never start it.
///
/// # Errors
/// As [`condemn`].
pub fn condemn_system(
    env: &dyn BootEnv,
    disks: &mut dyn Disks,
    layout: &Layout,
    target: Target,
) -> Result<Condemned, BootError> {
    match layout.slot(target.id()).boot_name {
        Some(_) => condemn(env, disks, target),
        None => Ok(Condemned { target }),
    }
}

/// The one commit point: the bootloader starts the target next, on trial.
///
/// # Errors
/// As [`BootEnv::apply`]. It is safe to stop then: the environment is the old one (target bad,
/// running slot good) or the new one (target next, with its content proven).
pub fn arm(
    env: &dyn BootEnv,
    disks: &mut dyn Disks,
    proven: Proven,
    tries: Tries,
) -> Result<Armed, BootError> {
    let target = proven.boot_target();
    env.apply(
        disks,
        BootChange {
            slot: target.id(),
            kind: ChangeKind::Next(tries),
        },
    )?;
    Ok(Armed { target, tries })
}

/// The running system has proved itself.
///
/// # Errors
/// As [`BootEnv::apply`]. It is safe to stop then: the slot is still on trial, or confirmed.
pub fn confirm(env: &dyn BootEnv, disks: &mut dyn Disks, booted: Booted) -> Result<(), BootError> {
    let slot = booted.id();
    let kind = ChangeKind::Good;
    env.apply(disks, BootChange { slot, kind })
}

/// The running system has proved itself, and is not fallen back from any more. Both are one update:
/// at no time is the old system taken away from a new one that is still on trial.
///
/// # Errors
/// As [`confirm`].
pub fn confirm_alone(
    env: &dyn BootEnv,
    disks: &mut dyn Disks,
    booted: Booted,
) -> Result<(), BootError> {
    let slot = booted.id();
    let kind = ChangeKind::GoodAlone;
    env.apply(disks, BootChange { slot, kind })
}

/// What a person may say of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It has proved itself.
    Good,
    /// It shall not be started.
    Bad,
    /// It shall be started next.
    Active,
}

/// Marks a slot by hand; a slot made active that is not good gets `tries`.
///
/// # Errors
/// When the bootloader does not know the slot, else as [`BootEnv::apply`].
pub fn mark(
    env: &dyn BootEnv,
    disks: &mut dyn Disks,
    layout: &Layout,
    slot: SlotId,
    (mark, tries): (Mark, Tries),
) -> Result<(), BootError> {
    if layout.slot(slot).boot_name.is_none() {
        return Err(BootError::NoBootName(layout.slot(slot).name.clone()));
    }
    let kind = match mark {
        Mark::Good => ChangeKind::Good,
        Mark::Bad => ChangeKind::Bad,
        Mark::Active => ChangeKind::Prefer(tries),
    };
    env.apply(disks, BootChange { slot, kind })
}
