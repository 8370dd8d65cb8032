//! `slotmgr write-slot`

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bundle_format::manifest::ImageType;

use super::args::{Options, WriteSlot};
use super::install::{Place, Wishes, policy};
use super::lock::Patience;
use super::render::Output;
use super::session::{Session, Surroundings};
use super::signals;
use crate::events::{Events, Facts, What};
use crate::install::{self, LocalImage, Progress};
use crate::program::Stop;
use crate::slot::SlotId;
use crate::storage::device::Mode;

pub(super) fn run(
    options: &Options,
    verb: &WriteSlot,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let stop = Stop::default();
    signals::ask_to_stop(&stop)?;
    let mut session = Session::open(options, around, Mode::ReadWrite)?;
    let mut events = session.events(options, around);
    let slot = session.conf.layout.called(&verb.slot)?;
    let mut progress = output.progress();
    let image = open(&verb.image, verb.image_type.as_deref(), &mut progress)?;
    let workplace = Workplace {
        session: &mut session,
        around,
        events: &mut events,
    };
    let written = workplace.write((slot, &image), &stop, &mut progress);
    progress.finish();
    written?;
    output.slot_written(&session.conf.layout, slot, &image);
    Ok(ExitCode::SUCCESS)
}

/// The image in a file; `kind` is a type as in a manifest.
pub(crate) fn open(
    path: &Path,
    kind: Option<&str>,
    progress: &mut dyn Progress,
) -> Result<LocalImage> {
    let known = |name| {
        ImageType::from_name(name).with_context(|| format!("no type of image is called `{name}`"))
    };
    let kind = kind.map(known).transpose()?;
    Ok(LocalImage::open(path, kind, progress)?)
}

/// What it takes to write a slot.
pub(crate) struct Workplace<'w> {
    pub session: &'w mut Session,
    pub around: &'w Surroundings,
    pub events: &'w mut Events,
}

impl Workplace<'_> {
    /// Writes the image into the slot.
    pub fn write(
        self,
        (slot, image): (SlotId, &LocalImage),
        stop: &Stop,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let _alone = self.session.lock(Patience::ToWrite)?;
        let wishes = Wishes {
            stop: stop.clone(),
            ..Wishes::default()
        };
        let policy = policy(self.session, self.around, Place::Local, &wishes)?;
        let facts = Facts {
            // The record still knows what was there before.
            release: None,
            ..self.session.slot_facts(slot)
        };
        self.events.tell(What::SlotWriting, facts);
        install::write_slot(&mut self.session.machine(), slot, image, &policy, progress)?;
        Ok(())
    }
}
