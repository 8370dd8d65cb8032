//! Writes the images into their slots.

use bundle_format::ReadAt;

use super::chunked::Assembly;
use super::hooks::{Hooks, Point};
use super::notes::Notes;
use super::plan::Form;
use super::policy::Distance;
use super::stream::{Images, Origin, Wanted};
use super::{AssembleError, Plan, Progress, Site, Stage, Step, Synced};
use crate::boot::Condemned;
use crate::slot::InstallSame;
use crate::storage::Disks;
use crate::writer::{self, Method, Proof, Writer};

/// Bytes per write. Large, aligned writes are what flash and its translation layers like best.
pub const CHUNK: usize = 1 << 20;

/// A slot that is open for writing, exclusively, and the image that goes into it.
pub(super) struct OpenSlot {
    pub(super) step: Step,
    pub(super) writer: Box<dyn Writer>,
    pub(super) fate: Fate,
}

/// Whether a slot is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is.
    Written,
    /// It holds the image already (`install-same=false`).
    Same,
}

/// All targets of a plan, open, each large enough.
pub struct Opened {
    slots: Vec<OpenSlot>,
}

/// All images are in their slots, but perhaps not on the medium yet.
#[must_use = "what is written must be synced and read back"]
pub struct Written {
    condemned: Condemned,
    slots: Vec<OpenSlot>,
}

impl Opened {
    /// Opens every target and checks that its image fits. Writes nothing.
    ///
    /// # Errors
    /// When a target is not there, is in use, or is too small.
    pub fn open(
        plan: &Plan,
        site: &Site<'_>,
        disks: &mut dyn Disks,
    ) -> Result<Opened, AssembleError> {
        let mut slots = Vec::new();
        for step in plan.steps() {
            let slot = site.layout.slot(step.target.id());
            let writer = writer::open(step, slot, disks, &site.policy.work_directory)?;
            slots.push(OpenSlot {
                step: step.clone(),
                writer,
                fate: Fate::Written,
            });
        }
        Ok(Opened { slots })
    }

    /// Finds the slots that hold their image already and need not be written again: those whose
    /// status says so and, where bytes can be compared, whose content is the same.
    pub(super) fn find_same(&mut self, site: &Site<'_>, holds: &dyn Fn(&Step) -> bool) {
        for slot in &mut self.slots {
            let options = &site.layout.slot(slot.step.target.id()).options;
            if options.same == InstallSame::Write || !holds(&slot.step) {
                continue;
            }
            let mut proof = Proof {
                step: &slot.step,
                chunk: CHUNK,
                stop: &site.policy.stop,
                tell: &mut |_| {},
            };
            let same = match slot.step.method {
                Method::Archive | Method::Tree => true,
                _ => slot.writer.holds(&mut proof),
            };
            if same {
                tracing::info!(
                    "slot {} holds {} already",
                    slot.step.slot,
                    slot.step.label()
                );
                slot.fate = Fate::Same;
            }
        }
    }

    pub(super) fn into_slots(self) -> Vec<OpenSlot> {
        self.slots
    }

    fn total(&self) -> u64 {
        self.slots.iter().map(|slot| slot.step.size).sum()
    }
}

/// Writes every image into its slot, in the order of the manifest.
///
/// # Errors
/// At the first thing that goes wrong. The target stays condemned.
pub(super) fn assemble<R: ReadAt>(
    condemned: Condemned,
    mut opened: Opened,
    origin: &Origin<'_, R>,
    (hooks, disks): (Option<&Hooks<'_>>, &mut dyn Disks),
    progress: &mut dyn Progress,
) -> Result<Written, AssembleError> {
    let total = opened.total();
    let mut before = 0;
    for slot in &mut opened.slots {
        if slot.fate == Fate::Written {
            progress.slot(&slot.step.slot);
            run_hook(slot, hooks, Point::PreInstall, disks, progress)?;
            write(slot, origin, hooks, (progress, before, total))?;
        }
        before += slot.step.size;
    }
    Ok(Written {
        condemned,
        slots: opened.slots,
    })
}

/// `before` of the `total` bytes of all images are through.
fn write<R: ReadAt>(
    slot: &mut OpenSlot,
    origin: &Origin<'_, R>,
    hooks: Option<&Hooks<'_>>,
    (progress, before, total): (&mut dyn Progress, u64, u64),
) -> Result<(), AssembleError> {
    let OpenSlot { step, writer, .. } = slot;
    match (step.method, hooks) {
        (Method::Hook, Some(hooks)) => hooks.run(step, Point::Install, writer.told(), progress),
        // An image without data.
        (Method::EmptyFs, _) => origin.nothing(step, &mut |image| writer.write(image)),
        (Method::Copy, _) => {
            let mut tell = |done| progress.at(Stage::Write, before + done, total);
            copy(slot, origin, &mut tell)
        }
        _ => {
            let mut tell = |done| progress.at(Stage::Write, before + done, total);
            origin.stream(&Wanted::all(step), &mut tell, &mut |image| {
                writer.write(image)
            })
        }
    }
}

/// Onto a block device, of which parts can be read before, and written in any order.
fn copy<R: ReadAt>(
    slot: &mut OpenSlot,
    origin: &Origin<'_, R>,
    tell: &mut dyn FnMut(u64),
) -> Result<(), AssembleError> {
    let OpenSlot { step, writer, .. } = slot;
    let policy = origin.site.policy;
    let by_index = match step.form {
        Form::Whole => false,
        // A bundle on this machine gives its blocks faster than a slot does.
        Form::Blocks => policy.distance == Distance::Far,
        Form::Chunks => true,
    };
    let bundle = match origin.images {
        Images::Bundle(bundle) if by_index => Some(bundle),
        _ => None,
    };
    let Some((bundle, storage)) = bundle.and_then(|bundle| Some((bundle, writer.anywhere()?)))
    else {
        return match policy.distance {
            Distance::Far => copy_from_afar(slot, origin, tell),
            Distance::Near => {
                origin.stream(&Wanted::all(step), tell, &mut |image| writer.write(image))
            }
        };
    };
    let assembly = Assembly {
        bundle,
        site: origin.site,
        step,
    };
    match assembly.write(storage, tell) {
        Ok(()) => Ok(()),
        Err(_) if policy.stop.is_wanted() => Err(AssembleError::Stopped {
            slot: step.slot.clone(),
        }),
        Err(error) if step.form == Form::Blocks && error.is_about_index() => {
            tracing::warn!("all of {} is fetched: {error}", step.label());
            copy_from_afar(slot, origin, tell)
        }
        Err(source) => Err(AssembleError::Chunked {
            image: step.filename.clone(),
            slot: step.slot.clone(),
            source: Box::new(source),
        }),
    }
}

/// What comes over a network is noted, and what an earlier run has written is not fetched again.
fn copy_from_afar<R: ReadAt>(
    slot: &mut OpenSlot,
    origin: &Origin<'_, R>,
    tell: &mut dyn FnMut(u64),
) -> Result<(), AssembleError> {
    let OpenSlot { step, writer, .. } = slot;
    let policy = origin.site.policy;
    let name = format!("{}-{}", step.slot, step.sha256);
    let home = policy.home.as_deref();
    let notes = home.and_then(|home| Notes::open(home, &name, step.size));
    let (Some(notes), Some(storage)) = (notes, writer.anywhere()) else {
        return origin.stream(&Wanted::all(step), tell, &mut |image| writer.write(image));
    };
    let parts = notes.missing(&mut |buf, at| storage.read_at(buf, at), &policy.stop);
    let missing: u64 = parts.iter().map(|part| part.end - part.start).sum();
    let wanted = if missing == step.size {
        Wanted::all(step)
    } else {
        let there = step.size - missing;
        tracing::info!(
            "{there} bytes of {} are in slot {} already",
            step.label(),
            step.slot
        );
        Wanted {
            step,
            parts,
            notes: None,
        }
    };
    let wanted = Wanted {
        notes: Some(&notes),
        ..wanted
    };
    origin.stream(&wanted, tell, &mut |image| writer.write(image))
}

/// Runs a hook of the bundle for a slot that we do not hold meanwhile.
pub(super) fn run_hook(
    slot: &mut OpenSlot,
    hooks: Option<&Hooks<'_>>,
    point: Point,
    disks: &mut dyn Disks,
    progress: &mut dyn Progress,
) -> Result<(), AssembleError> {
    let Some(hooks) = hooks.filter(|_| slot.step.hooks.contains(&point.hook())) else {
        return Ok(());
    };
    slot.writer.release();
    hooks.run(&slot.step, point, slot.writer.told(), progress)?;
    slot.writer.acquire(disks)
}

impl Written {
    /// The barrier, on the handles that wrote.
    ///
    /// # Errors
    /// What the device says: then nothing may be assumed of what was written.
    pub fn sync(mut self, progress: &mut dyn Progress) -> Result<Synced, AssembleError> {
        let total: u64 = self.slots.iter().map(|slot| slot.step.size).sum();
        progress.at(Stage::Sync, 0, total);
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| slot.fate == Fate::Written)
        {
            slot.writer.sync()?;
        }
        progress.at(Stage::Sync, total, total);
        Ok(Synced::new(self.condemned, self.slots))
    }
}
