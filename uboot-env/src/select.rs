//! Which of two copies counts: the rules of every reader, as pure functions.
//!
//! Two copies are told apart by their flags byte, which the CRC does **not** cover. How it is read
//! depends on the medium:
//!
//! | medium | scheme | a writer leaves |
//! |---|---|---|
//! | NOR flash, DataFlash | boolean: 1 active, 0 obsolete, 0xFF freshly erased | (1,0) or (0,1); (1,1) if it was cut |
//! | NAND, UBI, block device, file | incremental: a counter, wrapping 255 → 0 | neighbours |
//!
//! The readers agree on every incremental pair. On boolean pairs that no writer leaves they do not,
//! so such a pair is [`Standing::Ambiguous`]: we take what U-Boot's `fw_printenv` takes and write
//! both copies anew with the next change, after which it does not matter who is right.

/// One of the two copies, as ordered in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CopyId {
    /// The first line of the configuration.
    First,
    /// The second line.
    Second,
}

impl CopyId {
    /// The other copy.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// 0 or 1.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }
}

impl std::fmt::Display for CopyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "copy {}", self.index())
    }
}

/// How the flags byte is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagScheme {
    /// 1 active, 0 obsolete: bits can be cleared without an erase.
    Boolean,
    /// A wrapping counter.
    Incremental,
}

/// Flags of the current copy on NOR.
pub const FLAG_ACTIVE: u8 = 1;
/// Flags of the old copy on NOR.
pub const FLAG_OBSOLETE: u8 = 0;

impl FlagScheme {
    /// The flags byte for the copy that replaces one with `current`.
    #[must_use]
    pub const fn next(self, current: u8) -> u8 {
        match self {
            Self::Boolean => FLAG_ACTIVE,
            Self::Incremental => current.wrapping_add(1),
        }
    }

    /// The flags byte of a first copy when there was none.
    #[must_use]
    pub const fn initial(self) -> u8 {
        FLAG_ACTIVE
    }
}

/// What reading a copy gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyState {
    /// The CRC fits.
    Valid {
        /// The flags byte.
        flags: u8,
    },
    /// Read, but the CRC does not fit.
    Invalid,
    /// Could not be read: I/O or ECC error, interrupted UBI update, short file, missing device.
    Unreadable,
}

/// The programs that choose between copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// U-Boot's own Linux tool (`tools/env/fw_env.c`). Its table is the one we follow.
    FwEnv,
    /// libubootenv: `fw_printenv` of Debian and Yocto, SWUpdate.
    Libubootenv,
    /// U-Boot, every medium but parallel NOR (`env_check_redund`). On SPI NOR it *writes* the
    /// boolean scheme and still *reads* with the incremental rule.
    Uboot,
    /// U-Boot with the environment in parallel NOR (`env/flash.c`).
    UbootParallelNor,
}

impl Reader {
    /// All readers that exist for a scheme.
    #[must_use]
    pub const fn all(scheme: FlagScheme) -> &'static [Self] {
        match scheme {
            FlagScheme::Boolean => &[
                Self::FwEnv,
                Self::Libubootenv,
                Self::Uboot,
                Self::UbootParallelNor,
            ],
            FlagScheme::Incremental => &[Self::FwEnv, Self::Libubootenv, Self::Uboot],
        }
    }

    /// The name to show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FwEnv => "fw_printenv (U-Boot's)",
            Self::Libubootenv => "fw_printenv (libubootenv)",
            Self::Uboot => "U-Boot",
            Self::UbootParallelNor => "U-Boot (parallel NOR)",
        }
    }

    /// What this reader uses.
    #[must_use]
    pub fn pick(self, scheme: FlagScheme, first: CopyState, second: CopyState) -> Pick {
        use CopyState::{Unreadable, Valid};
        // Neither Linux tool goes on when one of the reads fails.
        if matches!(self, Self::FwEnv | Self::Libubootenv)
            && (first == Unreadable || second == Unreadable)
        {
            return Pick::Fails;
        }
        match (first, second) {
            (Valid { flags: f0 }, Valid { flags: f1 }) => Pick::Copy(self.compare(scheme, f0, f1)),
            (Valid { .. }, _) => Pick::Copy(CopyId::First),
            (_, Valid { .. }) => Pick::Copy(CopyId::Second),
            _ => Pick::Default,
        }
    }

    fn compare(self, scheme: FlagScheme, f0: u8, f1: u8) -> CopyId {
        match (self, scheme) {
            (Self::FwEnv, FlagScheme::Boolean) => fw_env_boolean(f0, f1),
            (Self::Libubootenv, FlagScheme::Boolean) => libubootenv_boolean(f0, f1),
            (Self::UbootParallelNor, _) => parallel_nor(f0, f1),
            (Self::Uboot, _) | (_, FlagScheme::Incremental) => incremental(f0, f1),
        }
    }
}

/// A reader's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// This copy.
    Copy(CopyId),
    /// No copy: the built-in default environment.
    Default,
    /// The reader gives up with an error.
    Fails,
}

/// 255 is followed by 0; else the larger; a tie goes to the first.
fn incremental(f0: u8, f1: u8) -> CopyId {
    match (f0, f1) {
        (255, 0) => CopyId::Second,
        (0, 255) => CopyId::First,
        _ if f1 > f0 => CopyId::Second,
        _ => CopyId::First,
    }
}

fn fw_env_boolean(f0: u8, f1: u8) -> CopyId {
    match (f0, f1) {
        (FLAG_ACTIVE, FLAG_OBSOLETE) => CopyId::First,
        (FLAG_OBSOLETE, FLAG_ACTIVE) => CopyId::Second,
        (0xFF, _) => CopyId::First,
        (_, 0xFF) => CopyId::Second,
        _ => CopyId::First,
    }
}

fn libubootenv_boolean(f0: u8, f1: u8) -> CopyId {
    match (f0, f1) {
        (_, 0xFF) => CopyId::Second,
        (0xFF, _) => CopyId::First,
        _ if f1 > f0 => CopyId::Second,
        _ => CopyId::First,
    }
}

/// As `fw_env`, but for a pair that none of its cases names the start-up code chooses nothing, and
/// the loader then takes the second copy.
fn parallel_nor(f0: u8, f1: u8) -> CopyId {
    match (f0, f1) {
        (FLAG_ACTIVE, FLAG_OBSOLETE) => CopyId::First,
        (FLAG_OBSOLETE, FLAG_ACTIVE) => CopyId::Second,
        (a, b) if a == b => CopyId::First,
        (0xFF, _) => CopyId::First,
        _ => CopyId::Second,
    }
}

/// What the two copies amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Both valid, a pair that an orderly (or once interrupted) writer leaves.
    Sound {
        /// The copy in use.
        current: CopyId,
    },
    /// Both valid and all readers agree, but no writer leaves such a pair in one step.
    Odd {
        /// The copy in use.
        current: CopyId,
    },
    /// Both valid, and the readers disagree about which one counts.
    Ambiguous {
        /// The copy that U-Boot's `fw_printenv`, and we, use.
        ours: CopyId,
    },
    /// One is valid.
    OneCopy {
        /// That one.
        current: CopyId,
    },
    /// None is valid: U-Boot runs on its built-in default environment.
    Nothing,
}

impl Standing {
    /// The rule of this crate.
    #[must_use]
    pub fn of(scheme: FlagScheme, first: CopyState, second: CopyState) -> Self {
        use CopyState::Valid;
        let (f0, f1) = match (first, second) {
            (Valid { flags: f0 }, Valid { flags: f1 }) => (f0, f1),
            (Valid { .. }, _) => {
                return Self::OneCopy {
                    current: CopyId::First,
                };
            }
            (_, Valid { .. }) => {
                return Self::OneCopy {
                    current: CopyId::Second,
                };
            }
            _ => return Self::Nothing,
        };
        let ours = Reader::FwEnv.compare(scheme, f0, f1);
        if Reader::all(scheme)
            .iter()
            .any(|r| r.compare(scheme, f0, f1) != ours)
        {
            Self::Ambiguous { ours }
        } else if is_orderly(scheme, f0, f1) {
            Self::Sound { current: ours }
        } else {
            Self::Odd { current: ours }
        }
    }

    /// The copy in use, if any.
    #[must_use]
    pub const fn current(self) -> Option<CopyId> {
        match self {
            Self::Sound { current } | Self::Odd { current } | Self::OneCopy { current } => {
                Some(current)
            }
            Self::Ambiguous { ours } => Some(ours),
            Self::Nothing => None,
        }
    }

    /// Whether a change must be written to both copies, one after the other.
    #[must_use]
    pub const fn needs_both(self) -> bool {
        matches!(
            self,
            Self::Odd { .. } | Self::Ambiguous { .. } | Self::Nothing
        )
    }
}

/// Pairs that a writer leaves: complete, cut before the old copy was marked, or both fresh from
/// the factory.
const fn is_orderly(scheme: FlagScheme, f0: u8, f1: u8) -> bool {
    match scheme {
        FlagScheme::Boolean => matches!((f0, f1), (1, 0) | (0, 1) | (1, 1)),
        FlagScheme::Incremental => matches!(f1.wrapping_sub(f0), 0 | 1 | 255),
    }
}

#[cfg(test)]
mod tests;
