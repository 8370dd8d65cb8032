//! Artifact repositories: things beside the slots that an update brings, single files or trees of them.
//!
//! The layout is RAUC's (1.13 and later): `.artifact-NAME-SHA256` holds what was installed, and the link
//! `NAME` leads to it. What has its name is whole: it was written under another one, synced, and read
//! back. A link changes by one rename. So a power cut leaves each artifact the old or the new one
//! ([`shelf`]).

mod content;
mod directory;
pub mod shelf;

pub use directory::Directory;
pub use shelf::{Entry, Instance, Shelf};

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bundle_format::{Digest, PayloadError, ReadAt, VerifiedBundle};

use crate::config::Repository;
use crate::health::probe::free_bytes;
use crate::program::Stop;
use crate::writer::UnpackError;

/// One artifact on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where it goes.
    pub repository: Repository,
    /// Its name there.
    pub name: String,
    /// The file in the bundle, or the directory.
    pub filename: String,
    /// What that is.
    pub form: ArtifactForm,
    /// Bytes that the signed manifest promises.
    pub size: u64,
    /// Digest of the file that the signed manifest promises.
    pub sha256: Digest,
}

/// How a bundle holds an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactForm {
    /// A file that is installed as it is.
    File,
    /// A tar archive of the tree that is installed.
    Archive,
    /// The tree that is installed (`convert=tar-extract`). Size and digest are those of the archive that
    /// it was once; what the bundle has instead is proven by the bundle's own hash tree.
    Directory,
}

/// Why an artifact was not installed. What was there before is still used.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The repository is not there, or cannot be written.
    #[error("cannot use the repository {}", path.display())]
    Repository {
        /// Its directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Too little room.
    #[error(
        "artifacts of {needed} bytes go to {}, and there are {free}. Nothing was written; make room",
        path.display()
    )]
    NoRoom {
        /// The repository.
        path: PathBuf,
        /// Bytes, as far as that is known: an archive becomes more.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// The bundle is damaged.
    #[error("cannot be read from the bundle")]
    Payload(#[from] PayloadError),
    /// An archive that cannot be unpacked.
    #[error("cannot be unpacked")]
    Unpack(#[from] UnpackError),
    /// Reading or writing.
    #[error("cannot be written")]
    Write(#[from] io::Error),
    /// Not the file that the manifest promises.
    #[error("is not what the manifest promises (SHA-256 {found})")]
    Differs {
        /// What was found.
        found: Digest,
    },
    /// It came back differently.
    #[error("reads back differently from what was written: {} is not reliable", path.display())]
    ReadBack {
        /// A file.
        path: PathBuf,
    },
    /// Somebody asked for it.
    #[error("was not finished: the installation was stopped")]
    Stopped,
}

impl Artifact {
    fn instance(&self) -> Instance {
        Instance {
            name: self.name.clone(),
            sha256: self.sha256.to_string(),
        }
    }

    /// `REPOSITORY/NAME`, as in the manifest.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.repository.name, self.name)
    }

    /// Brings it into its repository, where nothing leads to it yet.
    ///
    /// # Errors
    /// Then something unfinished may lie in the repository; the next installation takes it away.
    pub fn store<R: ReadAt>(
        &self,
        bundle: &VerifiedBundle<R>,
        stop: &Stop,
        tell: &mut dyn FnMut(u64),
    ) -> Result<(), ArtifactError> {
        let mut directory = open(&self.repository.path)?;
        shelf::store(
            &mut directory,
            &self.instance(),
            |directory, name| content::write(self, bundle, &directory.path(name), (stop, tell)),
            |directory, name, written| content::check(&directory.path(name), &written, stop),
        )
    }

    /// From now on the link leads to it.
    ///
    /// # Errors
    /// Then it leads to the old one, or to this.
    pub fn activate(&self) -> Result<(), ArtifactError> {
        let mut directory = open(&self.repository.path)?;
        Ok(shelf::activate(&mut directory, &self.instance())?)
    }
}

/// Whether there is room for all of them, as far as that can be known.
///
/// # Errors
/// A repository is not there, or is full.
pub fn check_room(artifacts: &[Artifact]) -> Result<(), ArtifactError> {
    let mut needed: BTreeMap<&Path, u64> = BTreeMap::new();
    for artifact in artifacts {
        let path = artifact.repository.path.as_path();
        let there = open(path)?.entries()?;
        let sum = needed.entry(path).or_default();
        if !there
            .iter()
            .any(|entry| entry.name == artifact.instance().stored())
        {
            *sum = sum.saturating_add(artifact.size);
        }
    }
    for (path, needed) in needed {
        let free = free_bytes(path).map_err(|source| ArtifactError::Repository {
            path: path.to_owned(),
            source,
        })?;
        if free < needed {
            let path = path.to_owned();
            return Err(ArtifactError::NoRoom { path, needed, free });
        }
    }
    Ok(())
}

/// Takes away what no link leads to and nobody has open, and what a power cut left.
///
/// # Errors
/// The repository cannot be read, or something in it not be removed.
pub fn prune(repository: &Repository) -> Result<(), ArtifactError> {
    let mut directory = open(&repository.path)?;
    Ok(shelf::prune(&mut directory)?)
}

/// What is in a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stock {
    /// By name, each instance by its digest, and whether the link leads to it.
    pub artifacts: BTreeMap<String, BTreeMap<String, bool>>,
}

/// Looks into a repository.
///
/// # Errors
/// It cannot be read.
pub fn stock(repository: &Repository) -> Result<Stock, ArtifactError> {
    let entries = open(&repository.path)?.entries()?;
    let mut stock = Stock::default();
    for instance in entries
        .iter()
        .filter_map(|entry| Instance::parse(&entry.name))
    {
        let used = entries.iter().any(|entry| {
            entry.name == instance.name && entry.target.as_deref() == Some(&instance.stored())
        });
        let instances = stock.artifacts.entry(instance.name).or_default();
        instances.insert(instance.sha256, used);
    }
    Ok(stock)
}

fn open(path: &Path) -> Result<Directory, ArtifactError> {
    Directory::open(path).map_err(|source| ArtifactError::Repository {
        path: path.to_owned(),
        source,
    })
}
