//! Writes the images into their slots.

use super::hooks::{Hooks, Point};
use super::stream::{Images, Origin};
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
                Method::Archive => true,
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

    fn total(&self) -> u64 {
        self.slots.iter().map(|slot| slot.step.size).sum()
    }
}

/// Writes every image into its slot, in the order of the manifest.
///
/// # Errors
/// At the first thing that goes wrong. The target stays condemned.
pub(super) fn assemble<R: Images>(
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
fn write<R: Images>(
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
        _ => {
            let mut tell = |done| progress.at(Stage::Write, before + done, total);
            origin.stream(step, &mut tell, &mut |image| writer.write(image))
        }
    }
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
