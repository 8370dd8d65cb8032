//! Programs of this machine around an installation, and a bundle's own full handler.

use std::path::Path;

use bundle_format::manifest::{Handler, Manifest};

use super::hooks::meta;
use super::{Environment, Plan, Program, ProgramError, Progress, Site};
use crate::program::{End, Stop};
use crate::slot::{OUTSIDE, SlotId, TargetGroup};

/// The program that a bundle brings to install itself, for people.
const FULL: &str = "the bundle's installation handler";

/// An installation, as handlers are told about it.
pub(super) struct Telling<'t> {
    pub site: &'t Site<'t>,
    pub manifest: &'t Manifest,
    pub group: &'t TargetGroup,
    /// Where the bundle's files are, as far as they were unpacked.
    pub bundle: &'t Path,
}

impl Telling<'_> {
    /// Runs `program`, if there is one. `reason` is why the installation failed.
    pub fn handler(
        &self,
        name: &str,
        program: Option<&Path>,
        reason: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<(), ProgramError> {
        let Some(program) = program else {
            return Ok(());
        };
        // Who tells that something was stopped is not itself what is to be stopped.
        let stop = match reason {
            Some(_) => Stop::default(),
            None => self.site.policy.stop.clone(),
        };
        let mut environment = self.environment();
        environment.extend(reason.map(|reason| ("SLOTMGR_ERROR".to_owned(), reason.to_owned())));
        self.run(
            format!("the {name} handler"),
            (vec![program.display().to_string()], environment),
            &stop,
            progress,
        )
    }

    /// Runs the program that a bundle brings to install itself.
    pub fn full(&self, handler: &Handler, progress: &mut dyn Progress) -> Result<(), ProgramError> {
        let program = self.bundle.join(&handler.filename).display().to_string();
        let mut command = vec![program];
        command.extend(self.arguments(handler)?);
        self.run(
            FULL.to_owned(),
            (command, self.environment()),
            &self.site.policy.stop,
            progress,
        )
    }

    /// The words that the bundle gives its handler, and behind them those of whoever started us: split
    /// and quoted as in a shell.
    fn arguments(&self, handler: &Handler) -> Result<Vec<String>, ProgramError> {
        let mut words = Vec::new();
        let own = self.site.policy.handler_arguments.as_deref();
        for text in [handler.args.as_deref(), own].into_iter().flatten() {
            words.extend(shlex::split(text).ok_or_else(|| ProgramError {
                name: FULL.to_owned(),
                end: End::NotRun(format!(
                    "a quotation mark of its arguments is never closed: {text}"
                )),
                last: String::new(),
                output: String::new(),
            })?);
        }
        Ok(words)
    }

    fn run(
        &self,
        name: String,
        (command, environment): (Vec<String>, Environment),
        stop: &Stop,
        progress: &mut dyn Progress,
    ) -> Result<(), ProgramError> {
        let limit = self.site.policy.program_limit;
        Program {
            name,
            command,
            environment,
            limit,
        }
        .run_and_tell(stop, &mut |message| progress.said(message))?;
        Ok(())
    }

    fn environment(&self) -> Environment {
        let site = self.site;
        let mut environment = site.facts();
        let mut add = |name: String, value: String| environment.push((name, value));
        let bundle = self.bundle.display().to_string();
        add("RAUC_BUNDLE_MOUNT_POINT".to_owned(), bundle.clone());
        add("RAUC_UPDATE_SOURCE".to_owned(), bundle);
        add(
            "RAUC_TRANSACTION_ID".to_owned(),
            site.policy.transaction.clone(),
        );
        let current = match site.booted.id() {
            Some(id) => site
                .layout
                .slot(id)
                .boot_name
                .as_ref()
                .map(ToString::to_string),
            None => Some(OUTSIDE.to_owned()),
        };
        add(
            "RAUC_CURRENT_BOOTNAME".to_owned(),
            current.unwrap_or_default(),
        );
        // RAUC counts from 1.
        let number = |id: SlotId| (id.index() + 1).to_string();
        let all: Vec<String> = site.layout.iter().map(|(id, _)| number(id)).collect();
        add("RAUC_SLOTS".to_owned(), all.join(" "));
        let mut targets: Vec<SlotId> = self.group.targets().map(|target| target.id()).collect();
        targets.sort_by_key(|id| id.index());
        let targets: Vec<String> = targets.into_iter().map(number).collect();
        add("RAUC_TARGET_SLOTS".to_owned(), targets.join(" "));
        for (id, slot) in site.layout.iter() {
            let facts = [
                ("NAME", slot.name.to_string()),
                ("CLASS", slot.name.class().to_owned()),
                ("TYPE", slot.kind.to_string()),
                ("DEVICE", slot.device.display().to_string()),
                (
                    "BOOTNAME",
                    slot.boot_name
                        .as_ref()
                        .map_or(String::new(), ToString::to_string),
                ),
                (
                    "PARENT",
                    slot.parent
                        .as_ref()
                        .map_or(String::new(), ToString::to_string),
                ),
            ];
            for (fact, value) in facts {
                add(format!("RAUC_SLOT_{fact}_{}", number(id)), value);
            }
        }
        for (image, target) in Plan::images(self.manifest, site.policy, self.group) {
            let number = number(target.id());
            // The name alone: scripts put the bundle's folder in front of it.
            let name = image.filename.clone().unwrap_or_default();
            add(format!("RAUC_IMAGE_NAME_{number}"), name);
            add(
                format!("RAUC_IMAGE_DIGEST_{number}"),
                image
                    .sha256
                    .map_or(String::new(), |digest| digest.to_string()),
            );
            add(format!("RAUC_IMAGE_CLASS_{number}"), image.class.clone());
        }
        environment.extend(meta(self.manifest));
        environment
    }
}
