//! Why an installation stopped.

use bundle_format::PayloadError;

use super::{AssembleError, PlanError, ProgramError, ReadBackError, UnpackedError, Version};
use crate::artifact::ArtifactError;
use crate::boot::BootError;
use crate::data::snapshot::SnapshotError;
use crate::program::End;
use crate::slot::SelectError;

/// Why an installation stopped. The running system is as it was.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// For other machines.
    #[error("the bundle is for `{bundle}`, and this machine is `{machine}`")]
    Compatible {
        /// `compatible=` of the manifest.
        bundle: String,
        /// `compatible=` of `system.conf`.
        machine: String,
    },
    /// No slot to write to.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The bundle does not fit this machine.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The payload is damaged; found before anything was written.
    #[error("the bundle is damaged; nothing was written")]
    Payload(#[source] PayloadError),
    /// The boot environment.
    #[error("while {doing}")]
    Boot {
        /// Stage, for people.
        doing: &'static str,
        /// Why.
        #[source]
        source: BootError,
    },
    /// Writing the target.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// Reading the target back.
    #[error(transparent)]
    ReadBack(#[from] ReadBackError),
    /// The repositories that artifacts go to.
    #[error(transparent)]
    Repositories(ArtifactError),
    /// An artifact. The running slot, and the artifacts that are used, are as they were.
    #[error("artifact {artifact}")]
    Artifact {
        /// `REPOSITORY/NAME`.
        artifact: String,
        /// What happened to it.
        #[source]
        source: ArtifactError,
    },
    /// Too old for this machine.
    #[error(
        "the bundle's version is {found}, and this machine takes {wanted} or newer (min-bundle-version, \
         or version-floor and what was confirmed here). Nothing was written; \
         --ignore-version-limit overrides it"
    )]
    TooOld {
        /// What the bundle says.
        found: String,
        /// `min-bundle-version=`, or the newest version that was confirmed here.
        wanted: Version,
    },
    /// The bundle's own check says no.
    #[error("the bundle does not want to be installed here: {0}. Nothing was written")]
    Rejected(String),
    /// A hook or handler.
    #[error("a program that takes part in the installation failed")]
    Program(#[from] ProgramError),
    /// The applications' data is to be kept before the update, and cannot be.
    #[error("nothing was written")]
    Data(#[from] SnapshotError),
    /// Somebody asked for it before the first write, or after the last one.
    #[error("the installation was stopped; {0}")]
    Stopped(&'static str),
    /// What programs need cannot be unpacked.
    #[error(transparent)]
    Unpacked(#[from] UnpackedError),
}

impl InstallError {
    /// Whether it ended because somebody asked for it.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        let ended = |error: &ProgramError| error.end == End::Stopped;
        match self {
            InstallError::Stopped(_)
            | InstallError::Assemble(AssembleError::Stopped { .. })
            | InstallError::Artifact {
                source: ArtifactError::Stopped,
                ..
            } => true,
            InstallError::Assemble(AssembleError::Hook { source, .. })
            | InstallError::Data(SnapshotError::Hook { source, .. })
            | InstallError::Program(source) => ended(source),
            _ => false,
        }
    }

    /// Whether the bundle is not for this machine, rather than something went wrong.
    #[must_use]
    pub fn was_rejected(&self) -> bool {
        matches!(
            self,
            InstallError::Compatible { .. }
                | InstallError::Rejected(_)
                | InstallError::TooOld { .. }
        )
    }
}
