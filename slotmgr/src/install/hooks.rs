//! The program that a bundle brings along, asked for the whole bundle and for single images.

use std::path::{Path, PathBuf};

use bundle_format::VerifiedManifest;
use bundle_format::manifest::{ImageHook, Manifest};

use super::{AssembleError, Environment, Program, ProgramError, Progress, Site, Step};
use crate::program::End;
use crate::slot::{Slot, role};
use crate::writer::Mounted;

/// From this exit code on an install-check says that the bundle must not be installed; below it,
/// that the check itself went wrong.
const REJECTED: i32 = 10;

/// When a hook is asked for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before the slot is written.
    PreInstall,
    /// Instead of writing it.
    Install,
    /// After it was written and read back.
    PostInstall,
}

impl Point {
    /// As the manifest calls it.
    #[must_use]
    pub fn hook(self) -> ImageHook {
        match self {
            Point::PreInstall => ImageHook::PreInstall,
            Point::Install => ImageHook::Install,
            Point::PostInstall => ImageHook::PostInstall,
        }
    }
}

/// What an install-check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The bundle may be installed.
    Accepted,
    /// It may not, for this reason.
    Rejected(String),
}

/// The bundle's program, unpacked.
pub struct Hooks<'h> {
    program: PathBuf,
    directory: &'h Path,
    site: &'h Site<'h>,
    manifest: &'h VerifiedManifest,
}

impl<'h> Hooks<'h> {
    /// `None` if the bundle brings none.
    #[must_use]
    pub fn new(
        manifest: &'h VerifiedManifest,
        directory: &'h Path,
        site: &'h Site<'h>,
    ) -> Option<Hooks<'h>> {
        let hooks = manifest.manifest().hooks.as_ref()?;
        Some(Hooks {
            program: directory.join(&hooks.filename),
            directory,
            site,
            manifest,
        })
    }

    /// Asks whether the bundle may be installed; this stands in the place of comparing `compatible`.
    ///
    /// # Errors
    /// When the check itself goes wrong.
    pub fn install_check(&self, progress: &mut dyn Progress) -> Result<Verdict, ProgramError> {
        let manifest = self.manifest.manifest();
        let update = &manifest.update;
        let mut environment = self.site.facts();
        let mut add = |name: &str, value: Option<&str>| {
            environment.push((name.to_owned(), value.unwrap_or_default().to_owned()));
        };
        add("RAUC_MF_COMPATIBLE", Some(&update.compatible));
        add("RAUC_MF_VERSION", update.version.as_deref());
        add("RAUC_MF_BUILD", update.build.as_deref());
        environment.extend(meta(manifest));
        match self.program("install-check", environment).run_and_tell(
            &self.site.policy.stop,
            &mut |message| {
                progress.said(message);
            },
        ) {
            Ok(_) => Ok(Verdict::Accepted),
            Err(error) => match error.end {
                End::ExitCode(REJECTED..) => Ok(Verdict::Rejected(error.last)),
                _ => Err(error),
            },
        }
    }

    /// Runs the hook for one image; `told` is what its writer adds. For the points around the writing
    /// the slot is mounted, if it is of a type that can be.
    pub(super) fn run(
        &self,
        step: &Step,
        point: Point,
        told: Environment,
        progress: &mut dyn Progress,
    ) -> Result<(), AssembleError> {
        let slot = self.site.layout.slot(step.target.id());
        let mounted = match point {
            Point::Install => None,
            _ => self.mount(slot, point)?,
        };
        let mut environment = self.site.facts();
        self.describe(slot, step, &mut environment);
        environment.extend(told);
        if let Some(mounted) = &mounted {
            environment.push((
                "RAUC_SLOT_MOUNT_POINT".to_owned(),
                mounted.path().display().to_string(),
            ));
        }
        let argument = format!("slot-{}", point.hook().name());
        let ended = self.program(&argument, environment).run_and_tell(
            &self.site.policy.stop,
            &mut |message| {
                progress.said(message);
            },
        );
        ended.map_err(|source| AssembleError::Hook {
            slot: slot.name.clone(),
            source,
        })?;
        let failed = |source| AssembleError::Filesystem {
            slot: slot.name.clone(),
            source,
        };
        mounted.map_or(Ok(()), Mounted::unmount).map_err(failed)
    }

    /// Before the first installation there may be nothing to mount.
    fn mount(&self, slot: &Slot, point: Point) -> Result<Option<Mounted>, AssembleError> {
        if !slot.kind.is_mountable() {
            return Ok(None);
        }
        match Mounted::writable(slot, &self.site.policy.work_directory) {
            Ok(mounted) => Ok(Some(mounted)),
            Err(error) if point == Point::PreInstall => {
                tracing::warn!("slot {}: {error}; its hook runs without it", slot.name);
                Ok(None)
            }
            Err(source) => Err(AssembleError::Filesystem {
                slot: slot.name.clone(),
                source,
            }),
        }
    }

    fn program(&self, argument: &str, environment: Environment) -> Program {
        Program {
            name: format!("the bundle's hook `{argument}`"),
            command: vec![self.program.display().to_string(), argument.to_owned()],
            environment,
            limit: self.site.policy.program_limit,
        }
    }

    /// The digests of the keys that vouch for the bundle, that of its signer first.
    fn keys(&self) -> String {
        let signers = self.manifest.signers().iter();
        let keys: Vec<String> = signers.map(|signer| signer.key.in_pairs()).collect();
        keys.join(" ")
    }

    fn describe(&self, slot: &Slot, step: &Step, environment: &mut Environment) {
        let layout = self.site.layout;
        let text = |value: Option<String>| value.unwrap_or_default();
        let image = match step.filename.as_str() {
            "" => String::new(),
            name => self.directory.join(name).display().to_string(),
        };
        let facts = [
            ("RAUC_SLOT_NAME", slot.name.to_string()),
            (
                "RAUC_SLOT_STATE",
                role(layout, self.site.booted, step.target.id()).to_string(),
            ),
            ("RAUC_SLOT_CLASS", slot.name.class().to_owned()),
            ("RAUC_SLOT_TYPE", slot.kind.to_string()),
            ("RAUC_SLOT_DEVICE", slot.device.display().to_string()),
            (
                "RAUC_SLOT_BOOTNAME",
                text(slot.boot_name.as_ref().map(ToString::to_string)),
            ),
            (
                "RAUC_SLOT_PARENT",
                text(slot.parent.as_ref().map(ToString::to_string)),
            ),
            ("RAUC_IMAGE_NAME", image),
            ("RAUC_IMAGE_SIZE", step.size.to_string()),
            ("RAUC_IMAGE_DIGEST", step.sha256.to_string()),
            ("RAUC_IMAGE_CLASS", slot.name.class().to_owned()),
            ("RAUC_BUNDLE_SPKI_HASHES", self.keys()),
            (
                "RAUC_BUNDLE_MOUNT_POINT",
                self.directory.display().to_string(),
            ),
        ];
        environment.extend(facts.map(|(name, value)| (name.to_owned(), value)));
    }
}

/// `[meta.LABEL]` as variables: `RAUC_META_LABEL_KEY`.
pub(super) fn meta(manifest: &Manifest) -> Environment {
    let name = |text: &str| text.to_uppercase().replace('-', "_");
    let pairs = manifest.meta.iter().flat_map(|section| {
        let label = name(&section.label);
        section
            .entries
            .iter()
            .map(move |(key, value)| (format!("RAUC_META_{label}_{}", name(key)), value.clone()))
    });
    pairs.collect()
}
