//! Artifact repositories as clients are told of them.

use crate::artifact::Stock;
use crate::config::Repository;

/// An artifact repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryStatus {
    /// Its name in `system.conf`.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Where it is.
    pub path: String,
    /// What its artifacts are, by RAUC's name: `files`, `trees`, `composefs`.
    pub kind: String,
    /// The class of slots that it belongs to. We have none; RAUC's own service may.
    pub parent_class: Option<String>,
    /// What it holds.
    pub artifacts: Vec<ArtifactStatus>,
}

/// An artifact, in one or more versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactStatus {
    /// Its name.
    pub name: String,
    /// Its versions that are there.
    pub instances: Vec<InstanceStatus>,
}

/// One version of an artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceStatus {
    /// SHA-256 of the file in its bundle.
    pub checksum: String,
    /// Who uses it; the repository's own link is a reference without a name.
    pub references: Vec<String>,
}

impl RepositoryStatus {
    pub(super) fn new(repository: Repository, stock: Stock) -> Self {
        let instance = |(checksum, used): (String, bool)| InstanceStatus {
            checksum,
            references: used.then(String::new).into_iter().collect(),
        };
        let artifacts = stock.artifacts.into_iter();
        Self {
            name: repository.name,
            description: repository.description,
            path: repository.path.display().to_string(),
            kind: repository.kind.name().to_owned(),
            parent_class: None,
            artifacts: artifacts
                .map(|(name, instances)| ArtifactStatus {
                    name,
                    instances: instances.into_iter().map(instance).collect(),
                })
                .collect(),
        }
    }
}
