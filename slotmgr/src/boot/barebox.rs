//! barebox's bootchooser, by the program `barebox-state` (`bootloader=barebox`).
//!
//! | variable | meaning |
//! |---|---|
//! | `bootstate.<n>.priority` | the highest is started; 0: never |
//! | `bootstate.<n>.remaining_attempts` | barebox takes one at each start; 0: not started |
//!
//! As with RAUC: the next slot gets priority 20 and its attempts, all others that have a priority get
//! 10; a bad slot gets 0 and 0; a confirmed one gets `boot-attempts`. barebox counts at each start,
//! also of a confirmed slot: one with less than `boot-attempts` is therefore on trial, and `slotmgr
//! trial` sets it back.
//!
//! Where the variables lie is in the device tree, and barebox's state framework keeps them in three
//! copies with checksums. One change is one call that sets all its variables: one new state.

use std::path::PathBuf;

use super::names::Names;
use super::program::Program;
use super::{BootChange, BootEnv, BootError, BootState, ChangeKind, Standing, Tries};
use crate::slot::{Layout, SlotId};
use crate::storage::Disks;

const NEXT: u32 = 20;
const OTHERS: u32 = 10;

/// Which state, and where its description is.
#[derive(Debug, Clone, Default)]
pub struct StateName {
    /// `barebox-statename=`
    pub state: Option<String>,
    /// `barebox-dtbpath=`
    pub dtb: Option<PathBuf>,
}

/// The backend for `bootloader=barebox`.
#[derive(Debug)]
pub struct Barebox {
    names: Names,
    program: Program,
    name: StateName,
    attempts: Tries,
}

/// Of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    priority: u32,
    attempts: u32,
}

impl Barebox {
    /// For the slots of `layout` that have a boot name; a confirmed slot gets `attempts`.
    #[must_use]
    pub fn new(layout: &Layout, program: Program, name: StateName, attempts: Tries) -> Self {
        Barebox {
            names: Names::of(layout),
            program,
            name,
            attempts,
        }
    }

    fn ask(&self, arguments: &[String]) -> Result<String, BootError> {
        let dtb = self.name.dtb.as_ref().map(|path| path.to_string_lossy());
        let mut all = Vec::new();
        if let Some(state) = &self.name.state {
            all.extend(["-n", state]);
        }
        if let Some(dtb) = &dtb {
            all.extend(["-i", dtb]);
        }
        all.extend(arguments.iter().map(String::as_str));
        self.program.ask(&all).map_err(BootError::Program)
    }

    fn get(&self, variable: String) -> Result<u32, BootError> {
        let call = ["-g".to_owned(), variable];
        let answer = self.ask(&call)?;
        answer.parse().map_err(|_| {
            let call = call.each_ref().map(String::as_str);
            BootError::Program(self.program.bad_answer(&call, &answer, "a number"))
        })
    }

    fn load(&self) -> Result<Vec<(SlotId, &str, Counts)>, BootError> {
        let counts = |(id, name)| {
            let counts = Counts {
                priority: self.get(variable(name, "priority"))?,
                attempts: self.get(variable(name, "remaining_attempts"))?,
            };
            Ok((id, name, counts))
        };
        self.names.iter().map(counts).collect()
    }

    fn standing(&self, counts: Counts) -> Standing {
        match counts {
            Counts { priority: 0, .. } => Standing::Bad,
            Counts { attempts, .. } if attempts >= u32::from(self.attempts.count()) => {
                Standing::Good
            }
            Counts { attempts, .. } => Standing::Trial {
                left: u8::try_from(attempts).unwrap_or(u8::MAX),
            },
        }
    }

    fn wanted(&self, own: bool, old: Counts, kind: ChangeKind) -> Counts {
        let good = self.standing(old) == Standing::Good;
        let full = u32::from(self.attempts.count());
        match (own, kind) {
            (true, ChangeKind::Bad) | (false, ChangeKind::GoodAlone) => Counts {
                priority: 0,
                attempts: 0,
            },
            (true, ChangeKind::Good | ChangeKind::GoodAlone) => Counts {
                priority: if old.priority == 0 {
                    OTHERS
                } else {
                    old.priority
                },
                attempts: full,
            },
            (true, ChangeKind::Prefer(_)) if good => Counts {
                priority: NEXT,
                attempts: full,
            },
            (true, ChangeKind::Next(tries) | ChangeKind::Prefer(tries)) => Counts {
                priority: NEXT,
                attempts: u32::from(tries.count()),
            },
            (false, ChangeKind::Next(_) | ChangeKind::Prefer(_)) if old.priority > 0 => Counts {
                priority: OTHERS,
                ..old
            },
            (false, _) => old,
        }
    }
}

impl BootEnv for Barebox {
    fn name(&self) -> &'static str {
        "barebox"
    }

    /// barebox's two bootchoosers tell it on the command line.
    fn current(&self, cmdline: &str) -> Result<Option<String>, BootError> {
        let active = |key| crate::slot::parameter(cmdline, key).filter(|name| !name.is_empty());
        Ok(active("bootstate.active").or_else(|| active("bootchooser.active")))
    }

    fn read(&self, _: &mut dyn Disks) -> Result<BootState, BootError> {
        let mut slots = self.load()?;
        // The highest first; of equal ones the first in system.conf.
        slots.sort_by_key(|(_, _, counts)| std::cmp::Reverse(counts.priority));
        let started = slots.iter().filter(|(_, _, counts)| counts.priority > 0);
        Ok(BootState {
            order: started.map(|(id, _, _)| *id).collect(),
            standings: slots
                .iter()
                .map(|(id, _, counts)| (*id, self.standing(*counts)))
                .collect(),
        })
    }

    fn apply(&self, _: &mut dyn Disks, change: BootChange) -> Result<(), BootError> {
        let mut arguments = Vec::new();
        let mut wanted = self.load()?;
        for (id, name, counts) in &mut wanted {
            let new = self.wanted(*id == change.slot(), *counts, change.kind());
            let pairs = [
                ("priority", counts.priority, new.priority),
                ("remaining_attempts", counts.attempts, new.attempts),
            ];
            for (what, old, new) in pairs {
                if old != new {
                    let assignment = format!("{}={new}", variable(name, what));
                    arguments.extend(["-s".to_owned(), assignment]);
                }
            }
            *counts = new;
        }
        if arguments.is_empty() {
            return Ok(());
        }
        self.ask(&arguments)?;
        match self.load()? == wanted {
            true => Ok(()),
            false => Err(BootError::ReadBack),
        }
    }
}

fn variable(name: &str, what: &str) -> String {
    format!("bootstate.{name}.{what}")
}
