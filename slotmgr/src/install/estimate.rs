//! What an installation would fetch and write, found out without doing either.

use std::time::Duration;

use bundle_format::{ReadAt, VerifiedBundle};

use super::assemble::Opened;
use super::chunked::{Assembly, Cost};
use super::notes::Notes;
use super::{
    AssembleError, Distance, Form, InstallError, Machine, Plan, PlanError, Policy, Silent, Site,
    Step, check_compatible, check_version,
};
use crate::state::status_files;
use crate::writer::{Method, Writer};

/// What an installation would fetch and write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// One image after the other.
    pub images: Vec<(Step, Cost)>,
}

impl Estimate {
    /// Of all images together.
    #[must_use]
    pub fn total(&self) -> Cost {
        let add = |sum: Cost, (_, cost): &(Step, Cost)| Cost {
            fetch: sum.fetch + cost.fetch,
            write: sum.write + cost.write,
            processor: sum.processor + cost.processor,
        };
        self.images.iter().fold(Cost::default(), add)
    }
}

/// Reads the slots and what describes the images, and no image.
///
/// # Errors
/// What an installation would say before it writes.
pub fn estimate<R: ReadAt>(
    m: &mut Machine<'_>,
    bundle: &VerifiedBundle<R>,
    policy: &Policy,
) -> Result<Estimate, InstallError> {
    let manifest = bundle.manifest().manifest();
    check_version(manifest, policy)?;
    if !manifest
        .hooks
        .as_ref()
        .is_some_and(|hooks| hooks.install_check)
    {
        check_compatible(manifest, None, policy, &mut Silent)?;
    }
    if manifest.handler.is_some() {
        let what = "its own handler to be run to know what it writes".to_owned();
        return Err(PlanError::Unsupported { what }.into());
    }
    let status = status_files::before(policy, m.layout);
    let group = m.layout.targets(m.booted, &|id| {
        status_files::history(m.record, &status, m.layout, id)
    })?;
    let plan = Plan::new(manifest, m.layout, &group, policy)?;
    let site = Site {
        layout: m.layout,
        booted: m.booted,
        policy,
        status: &status,
    };
    let mut images = Vec::new();
    for slot in Opened::open(&plan, &site, m.disks)?.into_slots() {
        let (step, mut writer) = (slot.step, slot.writer);
        let cost = cost(bundle, &site, &step, &mut *writer)?;
        images.push((step, cost));
    }
    Ok(Estimate { images })
}

fn cost<R: ReadAt>(
    bundle: &VerifiedBundle<R>,
    site: &Site<'_>,
    step: &Step,
    writer: &mut dyn Writer,
) -> Result<Cost, InstallError> {
    if matches!(step.method, Method::EmptyFs | Method::Hook) {
        return Ok(Cost::default());
    }
    let far = site.policy.distance == Distance::Far;
    let storage = match step.method {
        Method::Copy => writer.anywhere(),
        _ => None,
    };
    match (step.form, storage) {
        (Form::Chunks, Some(storage)) => by_index(bundle, site, step, storage),
        (Form::Blocks, Some(storage)) if far => by_index(bundle, site, step, storage),
        (_, Some(storage)) if far => {
            let name = format!("{}-{}", step.slot, step.sha256);
            let home = site.policy.home.as_deref();
            let notes = home.and_then(|home| Notes::open(home, &name, step.size));
            let whole = 0..step.size;
            let mut read = |buf: &mut [u8], at| storage.read_at(buf, at);
            let missing = notes.map_or(vec![whole], |notes| {
                notes.missing(&mut read, &site.policy.stop)
            });
            let content = bundle
                .image(&step.filename)
                .map_err(InstallError::Payload)?;
            Ok(Cost {
                fetch: content.packed_len(&missing),
                write: missing.iter().map(|part| part.end - part.start).sum(),
                processor: Duration::ZERO,
            })
        }
        _ => Ok(Cost {
            fetch: if far || step.form == Form::Chunks {
                step.size
            } else {
                0
            },
            write: step.size,
            processor: Duration::ZERO,
        }),
    }
}

fn by_index<R: ReadAt>(
    bundle: &VerifiedBundle<R>,
    site: &Site<'_>,
    step: &Step,
    storage: &mut dyn crate::storage::Storage,
) -> Result<Cost, InstallError> {
    let assembly = Assembly { bundle, site, step };
    assembly.cost(storage).map_err(|source| {
        InstallError::Assemble(AssembleError::Chunked {
            image: step.filename.clone(),
            slot: step.slot.clone(),
            source: Box::new(source),
        })
    })
}
