//! From the options to a loaded transaction.

use super::Console;
use super::args::Place;
use crate::codec::Endian;
use crate::config::{self, DEVICE_TREE_NAMESPACE, EnvConfig};
use crate::env::Env;
use crate::limits::MAX_CONFIG_BYTES;
use crate::select::{CopyId, Standing};
use crate::snapshot::Snapshot;
use crate::storage::lock::{LockError, LockPaths, Locks};
use crate::storage::{Devices, KernelDevices, SysPaths};
use crate::txn::Txn;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

/// How long another program may hold a lock before we give up.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// What the caller is going to do, which decides what may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Reading works without a lock, if one may not be taken: a copy that is just being written is
    /// invalid, and the other one counts.
    Read,
    /// Writing needs all locks.
    Write,
}

/// An environment as configured and opened.
pub(super) struct Session {
    pub(super) config: EnvConfig,
    pub(super) devices: Devices,
    locks: Locks,
}

impl Session {
    pub(super) fn open(
        place: &Place,
        endian: Endian,
        purpose: Purpose,
        console: &mut Console<'_>,
    ) -> Result<Self> {
        let config = read_config(place)?;
        let devices = Devices::open(&config, endian, &SysPaths::default(), &KernelDevices)?;
        let files = LockPaths::files(place.lock.as_deref(), config.lockfile.as_deref());
        let locks = match Locks::acquire(
            &LockPaths {
                files,
                nodes: devices.nodes(),
            },
            LOCK_WAIT,
        ) {
            Err(e @ (LockError::Io { .. } | LockError::NoPlace)) if purpose == Purpose::Read => {
                console.warn(&format!("{e}; reading without a lock"));
                Locks::not_needed()
            }
            other => other?,
        };
        Ok(Self {
            config,
            devices,
            locks,
        })
    }

    /// Loads the environment. The locks are held as long as the transaction lives.
    pub(super) fn load(&mut self) -> Txn<'_> {
        let locks = std::mem::replace(&mut self.locks, Locks::not_needed());
        let shape = self.devices.shape();
        Txn::load(&mut self.devices, shape, locks).with_writelist(self.config.writelist.clone())
    }
}

/// Reads and chooses the configuration.
fn read_config(place: &Place) -> Result<EnvConfig> {
    let name = place.config.display().to_string();
    let bytes = read_capped(&place.config, MAX_CONFIG_BYTES).with_context(|| {
        format!("cannot read the configuration {name} (-c names another; it says on which device, at which offset, and how large the environment is)")
    })?;
    let envs = config::parse(&name, &bytes)?;
    let tree = || config::namespace_of_device_tree(&envs, Path::new(DEVICE_TREE_NAMESPACE));
    let namespace = place.namespace.clone().or_else(tree);
    Ok(config::select(&name, envs, namespace.as_deref())?)
}

pub(super) fn read_capped(path: &Path, cap: u64) -> io::Result<Vec<u8>> {
    take_capped(&mut File::open(path)?, cap)
}

pub(super) fn take_capped(from: &mut dyn Read, cap: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(cap + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > cap {
        let text = format!("is larger than the {cap} bytes that are accepted");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Says what is not in order, without stopping.
pub(super) fn warn_about(snapshot: &Snapshot, console: &mut Console<'_>) {
    for &id in snapshot.shape().copies() {
        if let Some(Err(problem)) = snapshot.copy(id)
            && snapshot.env().is_some()
        {
            let text = chain(problem);
            console.warn(&format!(
                "{id} {text}; the other one is used (see `uboot-env doctor`)"
            ));
        }
    }
    if snapshot.env().is_some_and(Env::is_rejected) {
        console.warn(
            "an entry has no name: U-Boot rejects the whole environment because of it, until it is \
             changed (see `uboot-env doctor`)",
        );
    }
    if let Standing::Ambiguous { ours } = snapshot.standing() {
        console.warn(&format!(
            "readers disagree about which copy counts; {ours} is used here (see `uboot-env doctor`)"
        ));
    }
}

/// Fails, with the reasons, if no copy is valid.
pub(super) fn require_valid(snapshot: &Snapshot) -> Result<()> {
    if snapshot.env().is_some() {
        return Ok(());
    }
    let reasons: Vec<String> = snapshot
        .shape()
        .copies()
        .iter()
        .map(|&id| reason(snapshot, id))
        .collect();
    bail!(
        "there is no valid environment: {}. Check device, offset and size in the configuration; \
         `uboot-env doctor` helps to find them",
        reasons.join("; ")
    )
}

fn reason(snapshot: &Snapshot, id: CopyId) -> String {
    match snapshot.copy(id) {
        Some(Err(problem)) => format!("{id} {}", chain(problem)),
        _ => format!("{id} is valid"),
    }
}

/// An error and its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
