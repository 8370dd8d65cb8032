//! GRUB's decision, in Rust: for tests of the generated script, and for saying in advance what
//! the next start will do.

use super::{Count, MAX_TRIES, Name, Pair};

/// Why GRUB takes a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is the primary, and confirmed.
    Good,
    /// It is the primary, on trial, and this try was counted.
    Trial,
    /// The primary's tries are used up.
    UsedUp,
    /// The primary is on trial, but the try could not be counted: without a count a bad system
    /// would be started for ever.
    Uncounted,
    /// Neither copy is valid.
    Default,
}

impl Why {
    /// The value of `ab_why` in the script.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Trial => "trial",
            Self::UsedUp => "used-up",
            Self::Uncounted => "uncounted",
            Self::Default => "default",
        }
    }
}

/// What GRUB does at one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The slot that it boots.
    pub slot: Name,
    /// Why.
    pub why: Why,
    /// What it writes into its own file before.
    pub counted: Option<Vec<u8>>,
}

/// What GRUB does with these three files, if it can write. `default` is the slot that its
/// configuration names for the case that neither copy is valid.
#[must_use]
pub fn decide(pair: &Pair, counter: &[u8], default: &Name) -> Boot {
    let Some((_, record)) = pair.in_force() else {
        return Boot {
            slot: default.clone(),
            why: Why::Default,
            counted: None,
        };
    };
    let state = &record.state;
    let go = |slot: &Name, why| Boot {
        slot: slot.clone(),
        why,
        counted: None,
    };
    let Some(trial) = state.trial else {
        return go(&state.primary, Why::Good);
    };
    // Without a fallback there is nothing better than to go on trying.
    let back = state.fallback.as_ref().unwrap_or(&state.primary);
    let Some(count) = Count::parse(counter) else {
        return go(back, Why::Uncounted);
    };
    let used = count.used_of(trial);
    if used >= trial.tries.get() || used >= MAX_TRIES {
        return go(back, Why::UsedUp);
    }
    match (Count {
        id: trial.id,
        used: used + 1,
    })
    .to_bytes()
    {
        Ok(bytes) => Boot {
            slot: state.primary.clone(),
            why: Why::Trial,
            counted: Some(bytes),
        },
        Err(_) => go(back, Why::Uncounted),
    }
}
