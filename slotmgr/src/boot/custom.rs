//! A program of the integrator's, spoken to in RAUC's protocol (`bootloader=custom`).
//!
//! | call | it does | it prints |
//! |---|---|---|
//! | `get-primary` | | the boot name of the slot that is started next |
//! | `get-state NAME` | | `good` or `bad`; ours: `trial` |
//! | `set-primary NAME` | makes NAME the next one, startable, with all its tries | |
//! | `set-state NAME good` | confirms NAME | |
//! | `set-state NAME bad` | keeps NAME from being started | |
//! | `get-current` | | the boot name of the running slot |
//!
//! Condemn is `set-state NAME bad`, arm is `set-primary NAME`, confirm is `set-state NAME good`: one
//! call each, in RAUC's order. Whether a call is *one* durable update is up to the program. After
//! each call it is asked whether it has done what it was told to do.
//!
//! RAUC's two words do not tell a slot on trial from a confirmed one. A program that can, prints
//! `trial` when `SLOTMGR_PROTOCOL` is in its environment; without that `slotmgr trial` finds no trial,
//! and `slotmgr mark good booted` has to run in every boot, as with RAUC.

use super::names::Names;
use super::program::{Program, ProgramError};
use super::{BootChange, BootEnv, BootError, BootState, ChangeKind, Standing};
use crate::slot::Layout;
use crate::storage::Disks;

/// The backend for `bootloader=custom`.
#[derive(Debug)]
pub struct Custom {
    names: Names,
    program: Program,
}

impl Custom {
    /// For the slots of `layout` that have a boot name.
    #[must_use]
    pub fn new(layout: &Layout, program: Program) -> Self {
        Custom {
            names: Names::of(layout),
            program,
        }
    }

    fn primary(&self) -> Result<String, BootError> {
        self.program
            .ask(&["get-primary"])
            .map_err(BootError::Program)
    }

    fn standing(&self, name: &str, primary: &str) -> Result<Standing, BootError> {
        let call = ["get-state", name];
        match self
            .program
            .ask(&call)
            .map_err(BootError::Program)?
            .as_str()
        {
            "good" => Ok(Standing::Good),
            "trial" => Ok(Standing::Trial { left: 1 }),
            // It is started next although nobody has called it good: an update that was armed.
            "bad" if name == primary => Ok(Standing::Trial { left: 1 }),
            "bad" => Ok(Standing::Bad),
            other => Err(self.wrong(&call, other, "`good` or `bad`")),
        }
    }

    /// The program knows one slot at a time. The running one is confirmed by now, so that a failure
    /// here costs nothing but the wish.
    fn give_up_others(&self, name: &str) {
        for (_, other) in self.names.iter().filter(|(_, other)| *other != name) {
            if let Err(error) = self.program.ask(&["set-state", other, "bad"]) {
                tracing::warn!(%error, "{other} may still be fallen back to");
            }
        }
    }

    fn wrong(&self, call: &[&str], answer: &str, expected: &'static str) -> BootError {
        let error: ProgramError = self.program.bad_answer(call, answer, expected);
        BootError::Program(error)
    }
}

impl BootEnv for Custom {
    fn name(&self) -> &'static str {
        "custom"
    }

    fn read(&self, _: &mut dyn Disks) -> Result<BootState, BootError> {
        let primary = self.primary()?;
        let Some(first) = self.names.slot(&primary) else {
            return Err(self.wrong(
                &["get-primary"],
                &primary,
                "one of the configured boot names",
            ));
        };
        let others = self.names.iter().map(|(id, _)| id);
        let standings = self.names.iter().map(|(id, name)| {
            let standing = self.standing(name, &primary)?;
            Ok((id, standing))
        });
        Ok(BootState {
            order: [first]
                .into_iter()
                .chain(others.filter(|id| *id != first))
                .collect(),
            standings: standings.collect::<Result<_, BootError>>()?,
        })
    }

    fn apply(&self, _: &mut dyn Disks, change: BootChange) -> Result<(), BootError> {
        let Some(name) = self.names.name(change.slot()) else {
            return Ok(()); // A slot that the bootloader does not know cannot be started anyway.
        };
        let call: &[&str] = match change.kind() {
            ChangeKind::Bad => &["set-state", name, "bad"],
            ChangeKind::Good | ChangeKind::GoodAlone => &["set-state", name, "good"],
            ChangeKind::Next(_) | ChangeKind::Prefer(_) => &["set-primary", name],
        };
        self.program.ask(call).map_err(BootError::Program)?;
        if change.kind() == ChangeKind::GoodAlone {
            self.give_up_others(name);
        }
        let done = match change.kind() {
            ChangeKind::Bad => self.standing(name, "")? == Standing::Bad,
            ChangeKind::Good | ChangeKind::GoodAlone => self.standing(name, "")? == Standing::Good,
            ChangeKind::Next(_) | ChangeKind::Prefer(_) => self.primary()? == name,
        };
        match done {
            true => Ok(()),
            false => Err(BootError::ReadBack),
        }
    }

    fn current(&self, _: &str) -> Result<Option<String>, BootError> {
        let call = ["get-current"];
        match self.program.ask(&call).map_err(BootError::Program)? {
            name if name.is_empty() => Err(self.wrong(&call, &name, "a boot name")),
            name => Ok(Some(name)),
        }
    }
}
