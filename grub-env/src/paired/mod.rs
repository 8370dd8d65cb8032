//! Two files that Linux writes in turn, and a third in which GRUB counts: no writer ever touches
//! what the other wrote, and no write touches the copy that is in force. No I/O here.
//!
//! - `ab1` and `ab2`, written by Linux, read by GRUB. Each has `ab_seq=N` first and `ab_end=N` last.
//!   A copy counts only if both are there and equal; of two that count, the larger number is in
//!   force. Linux writes only the copy that is **not** in force, with the next number, so that a
//!   write cut short, torn within the sector or lost leaves the other.
//! - `ab3`, written by GRUB, read by Linux: which trial GRUB counted, and how many tries of it are
//!   used. A new trial has a new number, so that nobody has to reset the count.
//!
//! All files have [`LEN`] bytes, one sector. The text for `grub.cfg` that follows these rules
//! comes from [`GrubCfg`], and [`decide`] is the same decision in Rust; a test runs both over the
//! same states.

mod boot;
mod cfg;
mod count;
mod name;

use std::collections::BTreeSet;
use std::num::NonZeroU8;

pub use boot::{Boot, Why, decide};
pub use cfg::{BadCfg, GrubCfg};
pub use count::Count;
pub use name::{BadName, Name};

use crate::block::{Block, BlockError};

/// Length of each of the three files, in bytes: one sector, so that a disk writes it whole.
pub const LEN: usize = 512;

/// Names of the files in their directory: the two copies, and GRUB's counter.
pub const FILES: [&str; 3] = ["ab1", "ab2", "ab3"];

/// Most tries that a trial can have: GRUB counts with one digit.
pub const MAX_TRIES: u8 = 9;

/// All numbers have nine digits: the files keep their shape, GRUB does not take a number for octal
/// (a leading zero), and it fits the 32-bit integers of GRUB on PCs.
const FIRST_SEQ: u32 = 100_000_000;
const LAST_SEQ: u32 = 999_999_999;

/// Stands for "no slot" and "no trial", since GRUB cannot tell an empty variable from none.
const NONE: &str = "none";

/// The variables of a copy, in the order of the file; `ab_seq` and `ab_end` are its bounds.
const VARIABLES: [&str; 6] = [
    "ab_seq",
    "ab_primary",
    "ab_fallback",
    "ab_trial",
    "ab_tries",
    "ab_end",
];

/// The variables of GRUB's file.
const COUNTER: [&str; 2] = ["ab_counted", "ab_used"];

/// What Linux tells GRUB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The slot to boot.
    pub primary: Name,
    /// The slot to boot when the primary's tries are used up, or cannot be counted.
    pub fallback: Option<Name>,
    /// Set while the primary is on trial.
    pub trial: Option<Trial>,
}

/// A trial of the primary slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    id: u32,
    tries: NonZeroU8,
}

impl Trial {
    /// How often the slot may be tried, 1 to [`MAX_TRIES`].
    #[must_use]
    pub fn tries(self) -> NonZeroU8 {
        self.tries
    }
}

/// One of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// `ab1`
    First,
    /// `ab2`
    Second,
}

impl Which {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// The name of its file.
    #[must_use]
    pub fn file(self) -> &'static str {
        let [first, second, _] = FILES;
        match self {
            Self::First => first,
            Self::Second => second,
        }
    }
}

/// Why a copy does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// There is no such file, or nothing in it.
    #[error("there is nothing in it, or no such file")]
    Missing,
    /// A block without a number: what `pair create` puts beside a copy in force.
    #[error("it is empty, to be written by the next change")]
    Empty,
    /// It is no environment block.
    #[error("it is not an environment block")]
    Block(#[from] BlockError),
    /// The numbers at its two ends differ: a write was cut short.
    #[error("a write to it was cut short (it begins as {seq:?} and ends as {end:?})")]
    Torn {
        /// `ab_seq`; empty if there is none.
        seq: String,
        /// `ab_end`; empty if there is none.
        end: String,
    },
    /// A number or a name is none.
    #[error("{name} has the value {value:?}, which means nothing")]
    Value {
        /// The variable.
        name: &'static str,
        /// Its value; empty if there is none.
        value: String,
    },
}

/// A copy that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    seq: u32,
    /// What it says.
    pub state: State,
}

impl Record {
    /// Reads one copy.
    ///
    /// # Errors
    /// [`CopyError`] if it does not count.
    pub fn parse(bytes: &[u8]) -> Result<Self, CopyError> {
        if bytes.is_empty() {
            return Err(CopyError::Missing);
        }
        let block = Block::parse(bytes)?;
        let text = |name| block.get_text(name).unwrap_or_default();
        let (seq, end) = (text("ab_seq"), text("ab_end"));
        if seq.is_empty() && end.is_empty() {
            return Err(CopyError::Empty);
        }
        if seq != end || seq.is_empty() {
            return Err(CopyError::Torn {
                seq: seq.to_owned(),
                end: end.to_owned(),
            });
        }
        let bad = |name| CopyError::Value {
            name,
            value: text(name).to_owned(),
        };
        let name = |variable| Name::new(text(variable)).map_err(|_| bad(variable));
        let fallback = match text("ab_fallback") {
            NONE => None,
            _ => Some(name("ab_fallback")?),
        };
        let trial = match text("ab_trial") {
            NONE => None,
            id => Some(Trial {
                id: number(id).ok_or_else(|| bad("ab_trial"))?,
                tries: tries(text("ab_tries")).ok_or_else(|| bad("ab_tries"))?,
            }),
        };
        let seq = number(seq).ok_or_else(|| bad("ab_seq"))?;
        Ok(Self {
            seq,
            state: State {
                primary: name("ab_primary")?,
                fallback,
                trial,
            },
        })
    }

    fn to_bytes(&self) -> Result<Vec<u8>, PairError> {
        let State {
            primary,
            fallback,
            trial,
        } = &self.state;
        let seq = self.seq.to_string();
        let id = trial.map_or_else(|| NONE.to_owned(), |t| t.id.to_string());
        let tries = trial.map_or(0, |t| t.tries.get()).to_string();
        let fallback = fallback.as_ref().map_or(NONE, Name::as_str);
        let values = [&seq, primary.as_str(), fallback, &id, &tries, &seq];
        let mut block = Block::new();
        for (name, value) in VARIABLES.into_iter().zip(values) {
            block.set(name, value).map_err(|_| PairError::TooLong)?;
        }
        block.to_bytes(LEN).map_err(|_| PairError::TooLong)
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .filter(|n| text.len() == 9 && (FIRST_SEQ..=LAST_SEQ).contains(n))
}

fn tries(text: &str) -> Option<NonZeroU8> {
    text.parse()
        .ok()
        .filter(|n: &NonZeroU8| text.len() == 1 && n.get() <= MAX_TRIES)
}

/// Why there is no next write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// Neither copy counts; what GRUB boots is what its configuration names as the default.
    /// Nothing may be written on a guess; [`initial`] makes new files.
    /// [`Pair::copy`] tells what is wrong with each.
    #[error("neither copy of the boot state is valid")]
    NoCopy,
    /// After 900 million writes.
    #[error("the boot state was written too often, its numbers are used up; create it anew")]
    Exhausted,
    /// Cannot happen with checked names; told rather than trusted.
    #[error("the boot state does not fit into {LEN} bytes")]
    TooLong,
}

/// A trial as it is asked for; its number is given by the write that begins it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialChange {
    /// No trial: the primary is good.
    None,
    /// The trial that is under way, if there is one, goes on with its count.
    Keep,
    /// A new trial with so many tries; more than [`MAX_TRIES`] count as that.
    Begin(NonZeroU8),
}

/// One write to be made, to the copy that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nothing is written yet"]
pub struct Update {
    /// The copy to write.
    pub which: Which,
    /// Its new content, [`LEN`] bytes.
    pub bytes: Vec<u8>,
}

/// Both copies as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    first: Result<Record, CopyError>,
    second: Result<Record, CopyError>,
    /// All numbers that stand in either file, also in what a write cut short left there.
    numbers: BTreeSet<u32>,
}

impl Pair {
    /// From the bytes of both files. For a file that is missing or unreadable, pass no bytes.
    #[must_use]
    pub fn parse(first: &[u8], second: &[u8]) -> Self {
        Self {
            first: Record::parse(first),
            second: Record::parse(second),
            numbers: [first, second].into_iter().flat_map(numbers).collect(),
        }
    }

    /// One copy, or why it does not count.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn copy(&self, which: Which) -> Result<&Record, &CopyError> {
        match which {
            Which::First => self.first.as_ref(),
            Which::Second => self.second.as_ref(),
        }
    }

    /// The copy that GRUB goes by: the valid one with the larger number, the first if they are
    /// equal.
    #[must_use]
    pub fn in_force(&self) -> Option<(Which, &Record)> {
        match (&self.first, &self.second) {
            (Ok(first), Ok(second)) if second.seq > first.seq => Some((Which::Second, second)),
            (Ok(first), _) => Some((Which::First, first)),
            (Err(_), Ok(second)) => Some((Which::Second, second)),
            (Err(_), Err(_)) => None,
        }
    }

    /// What to write so that GRUB boots `primary`, and `fallback` after a trial that failed.
    /// `None` if the copy in force says that already.
    ///
    /// # Errors
    /// [`PairError`]; nothing is to be written then.
    pub fn change(
        &self,
        primary: Name,
        fallback: Option<Name>,
        trial: TrialChange,
    ) -> Result<Option<Update>, PairError> {
        let (which, record) = self.in_force().ok_or(PairError::NoCopy)?;
        // None that is left in the copy that is written now: an old end and a new beginning with
        // the same number would count as a whole.
        let seq = (record.seq + 1..=LAST_SEQ)
            .find(|seq| !self.numbers.contains(seq))
            .ok_or(PairError::Exhausted)?;
        let trial = match trial {
            TrialChange::None => None,
            TrialChange::Keep => record.state.trial,
            TrialChange::Begin(tries) => Some(Trial {
                id: seq,
                tries: at_most_max(tries),
            }),
        };
        let state = State {
            primary,
            fallback,
            trial,
        };
        if state == record.state {
            return Ok(None);
        }
        let bytes = Record { seq, state }.to_bytes()?;
        Ok(Some(Update {
            which: which.other(),
            bytes,
        }))
    }
}

/// Whatever looks like one of our numbers.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    let head = bytes.get(..LEN).unwrap_or(bytes);
    let runs = head.split(|byte| !byte.is_ascii_digit());
    runs.filter_map(|run| number(std::str::from_utf8(run).ok()?))
}

fn at_most_max(tries: NonZeroU8) -> NonZeroU8 {
    NonZeroU8::new(MAX_TRIES).map_or(tries, |max| tries.min(max))
}

/// The three files at installation, in the order of [`FILES`]: `primary` is good, no trial.
///
/// # Errors
/// [`PairError::TooLong`], which checked names exclude.
pub fn initial(primary: Name, fallback: Option<Name>) -> Result<[Vec<u8>; 3], PairError> {
    let state = State {
        primary,
        fallback,
        trial: None,
    };
    let first = Record {
        seq: FIRST_SEQ,
        state: state.clone(),
    }
    .to_bytes()?;
    let second = Record {
        seq: FIRST_SEQ + 1,
        state,
    }
    .to_bytes()?;
    Ok([first, second, Count { id: 0, used: 0 }.to_bytes()?])
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
