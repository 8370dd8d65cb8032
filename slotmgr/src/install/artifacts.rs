//! The artifacts of a bundle: stored before the slots are touched, used when the slots are proven.

use bundle_format::{ReadAt, VerifiedBundle};

use super::{InstallError, Plan, Policy, Progress, Stage};
use crate::artifact::{self, Artifact, ArtifactError};

fn failed(artifact: &Artifact) -> impl FnOnce(ArtifactError) -> InstallError + use<> {
    let artifact = artifact.label();
    move |source| InstallError::Artifact { artifact, source }
}

/// Brings all of them into their repositories. Nothing leads to them yet.
pub(super) fn store<R: ReadAt>(
    plan: &Plan,
    bundle: &VerifiedBundle<R>,
    policy: &Policy,
    progress: &mut dyn Progress,
) -> Result<(), InstallError> {
    artifact::check_room(plan.artifacts()).map_err(InstallError::Repositories)?;
    for artifact in plan.artifacts() {
        let mut tell = |done| progress.at(Stage::Write, done, artifact.size);
        let stored = artifact.store(bundle, &policy.stop, &mut tell);
        stored.map_err(failed(artifact))?;
    }
    Ok(())
}

/// From now on they are used.
pub(super) fn activate(plan: &Plan) -> Result<(), InstallError> {
    for artifact in plan.artifacts() {
        artifact.activate().map_err(failed(artifact))?;
    }
    Ok(())
}

/// Takes away what nothing leads to any more. Nobody's installation fails because this does.
pub(super) fn prune(policy: &Policy) {
    for repository in &policy.repositories {
        if let Err(error) = artifact::prune(repository) {
            let error = crate::state::error_chain(&error);
            tracing::warn!("repository {} is not tidied up: {error}", repository.name);
        }
    }
}
