//! `slotmgr mark`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::args::{Mark, MarkState, Options};
use super::lock::Patience;
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::boot;
use crate::events::{Events, What};
use crate::slot::SlotId;
use crate::storage::device::Mode;

pub(super) fn run(
    options: &Options,
    verb: &Mark,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let mut session = Session::open(options, around, Mode::ReadWrite)?;
    let mark = match verb.state {
        MarkState::Good => boot::Mark::Good,
        MarkState::Bad => boot::Mark::Bad,
        MarkState::Active => boot::Mark::Active,
    };
    let mut events = session.events(options, around);
    let slot = apply(&mut session, mark, &verb.slot, around.now, &mut events)?;
    let state = session.known_state()?;
    output.marked(&session.conf.layout, slot, mark, state.as_ref());
    Ok(ExitCode::SUCCESS)
}

/// Marks the slot that `name` means; gives it. `now` is in seconds since 1970.
pub(crate) fn apply(
    session: &mut Session,
    mark: boot::Mark,
    name: &str,
    now: i64,
    events: &mut Events,
) -> Result<SlotId> {
    // What is being written must not be made bootable meanwhile.
    let _alone = session.lock(Patience::ToWrite)?;
    let slot = find(session, name)?;
    if mark == boot::Mark::Bad && Some(slot) == session.booted.id() {
        refuse_without_fallback(session)?;
    }
    let tries = session.own.tries;
    let machine = session.machine();
    boot::mark(
        machine.env,
        machine.disks,
        machine.layout,
        slot,
        (mark, tries),
    )?;
    let what = match mark {
        boot::Mark::Good => What::MarkedGood,
        boot::Mark::Bad => What::MarkedBad,
        boot::Mark::Active => What::MarkedActive,
    };
    events.tell(what, session.slot_facts(slot));
    if mark == boot::Mark::Active
        && let Err(error) = session.status_files().activated(slot, now)
    {
        // The bootloader knows, which is what counts.
        let error = anyhow::Error::from(error);
        tracing::warn!("the slot is activated, but its status was not written: {error:#}");
    }
    Ok(slot)
}

/// `booted`, `other`, a boot name or a slot name.
pub(super) fn find(session: &Session, text: &str) -> Result<SlotId> {
    let layout = &session.conf.layout;
    match text {
        "booted" => Ok(session.running_slot()?.id()),
        "other" => {
            let booted = session.running_slot()?.id();
            let bootable = layout.bootable().map(|(id, _)| id);
            let mut others = bootable.filter(|id| *id != booted);
            match (others.next(), others.next()) {
                (Some(only), None) => Ok(only),
                (None, _) => bail!("there is no other slot that can be booted"),
                _ => bail!("there are several other slots; name the one that you mean"),
            }
        }
        name => layout.find_called(name).with_context(|| {
            let known: Vec<String> = layout
                .bootable()
                .map(|(_, name)| name.to_string())
                .collect();
            format!("no slot is called `{name}`; there are {}", known.join(", "))
        }),
    }
}

/// The machine must be able to start something afterwards.
fn refuse_without_fallback(session: &mut Session) -> Result<()> {
    let booted = session.running_slot()?.id();
    // Without a memory the mark changes nothing, so it cannot leave the machine without a system.
    let Some(state) = session.known_state()? else {
        return Ok(());
    };
    let other = state
        .order
        .iter()
        .any(|id| *id != booted && state.standing(*id).can_start());
    if other {
        return Ok(());
    }
    bail!(
        "no other slot could be started: marking the running one bad would leave the machine \
         without a system. Nothing was changed; install a bundle first"
    );
}
