//! RAUC's status file (`central.raucs`, or `slot.raucs` in a slot), so that RAUC and what reads its file find what they know.
//!
//! The file is RAUC's, and stays readable for it: the checksum over the rest stands in a comment on
//! the first line. A second copy lies beside it. Each is written anew, synced and renamed, one
//! after the other, so that one torn write leaves the other; a file without our comment was written
//! by RAUC and is taken as it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use bundle_format::VerifiedManifest;
use bundle_format::encode_hex;
use bundle_format::keyfile::{KeyFile, escape};
use sha2::{Digest as _, Sha256};

use super::date::{seconds_of, utc_timestamp};
use crate::install::{InstallError, Installed, Policy, Step};
use crate::slot::History;
use crate::storage::durable::replace_file;

/// Before the checksum, on the first line.
const MARK: &str = "# slotmgr sha256=";

/// Largest status file that is read, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Everything in the file: groups, and keys with values in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RaucStatus {
    groups: BTreeMap<String, Keys>,
}

/// Keys of one slot, with their values.
pub(super) type Keys = BTreeMap<String, String>;

/// The group of the file that lies in a slot.
const IN_SLOT: &str = "slot";

/// What an installation means for the slots that it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotChange {
    /// They are about to be written.
    Pending,
    /// They were written and proven.
    Written,
    /// The same, and the boot target is started next.
    Activated,
    /// It did not end well.
    Failed,
}

impl SlotChange {
    pub(crate) fn of(installed: &Result<Installed, InstallError>) -> SlotChange {
        match installed {
            Ok(Installed::Armed(_)) => SlotChange::Activated,
            Ok(_) => SlotChange::Written,
            Err(_) => SlotChange::Failed,
        }
    }
}

impl RaucStatus {
    /// Reads the file, or its second copy; empty if neither is there and whole.
    #[must_use]
    pub fn load(path: &Path) -> RaucStatus {
        let first = read(path);
        let status = match &first {
            Ok(status) => Some(status.clone()),
            Err(_) => read(&second(path)).ok(),
        };
        match (first, &status) {
            (Err(error), _) if error.kind() != io::ErrorKind::NotFound => {
                let instead = if status.is_some() {
                    "its second copy is used"
                } else {
                    "starting anew"
                };
                tracing::warn!("{}: {error}; {instead}", path.display());
            }
            _ => {}
        }
        status.unwrap_or_default()
    }

    /// A value, such as `status` of a slot.
    #[must_use]
    pub fn get(&self, slot: &str, key: &str) -> Option<&str> {
        self.groups.get(&group(slot))?.get(key).map(String::as_str)
    }

    /// All keys and values of a slot.
    pub fn slot(&self, slot: &str) -> impl Iterator<Item = (&str, &str)> {
        let keys = self.groups.get(&group(slot));
        keys.into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub(super) fn keys(&self, slot: &str) -> Keys {
        self.groups.get(&group(slot)).cloned().unwrap_or_default()
    }

    pub(super) fn put(&mut self, slot: &str, keys: Keys) {
        self.groups.insert(group(slot), keys);
    }

    /// The file of one slot alone.
    pub(super) fn in_slot(keys: Keys) -> RaucStatus {
        RaucStatus {
            groups: BTreeMap::from([(IN_SLOT.to_owned(), keys)]),
        }
    }

    /// The keys in the file of one slot alone.
    pub(super) fn into_slot(mut self) -> Keys {
        self.groups.remove(IN_SLOT).unwrap_or_default()
    }

    /// What is known of a slot, for the choice among several.
    pub(super) fn history(&self, slot: &str) -> History {
        let installed = self.get(slot, "installed.timestamp").and_then(seconds_of);
        match (self.get(slot, "status"), installed) {
            (Some("ok"), Some(time)) => History::Installed(time),
            (Some("failed" | "pending"), _) => History::Failed,
            _ => History::Never,
        }
    }

    fn set(&mut self, slot: &str, key: &str, value: Option<&str>) {
        let keys = self.groups.entry(group(slot)).or_default();
        match value {
            Some(value) => drop(keys.insert(key.to_owned(), value.to_owned())),
            None => drop(keys.remove(key)),
        }
    }

    fn count(&mut self, slot: &str, what: &str, now: i64) {
        let key = format!("{what}.count");
        let count = self
            .get(slot, &key)
            .and_then(|count| count.parse().ok())
            .unwrap_or(0_u64);
        self.set(slot, &key, Some(&count.saturating_add(1).to_string()));
        self.set(
            slot,
            &format!("{what}.timestamp"),
            Some(&utc_timestamp(now)),
        );
    }

    /// What `change` means for the slot of `step`; without a manifest its image came in no bundle.
    pub fn change(
        &mut self,
        step: &Step,
        manifest: Option<&VerifiedManifest>,
        policy: &Policy,
        change: SlotChange,
    ) {
        let slot = step.slot.to_string();
        let update = manifest.map(|manifest| &manifest.manifest().update);
        let status = match change {
            SlotChange::Pending => "pending",
            SlotChange::Failed => "failed",
            SlotChange::Written | SlotChange::Activated => "ok",
        };
        self.set(
            &slot,
            "bundle.compatible",
            update.map(|update| update.compatible.as_str()),
        );
        for (key, value) in [
            (
                "bundle.version",
                update.and_then(|update| update.version.as_deref()),
            ),
            (
                "bundle.description",
                update.and_then(|update| update.description.as_deref()),
            ),
            (
                "bundle.build",
                update.and_then(|update| update.build.as_deref()),
            ),
        ] {
            self.set(&slot, key, value);
        }
        let hash = manifest.map(|manifest| manifest.hash().to_string());
        self.set(&slot, "bundle.hash", hash.as_deref());
        self.set(&slot, "status", Some(status));
        self.set(&slot, "installed.transaction", Some(&policy.transaction));
        let done = status == "ok";
        self.set(
            &slot,
            "sha256",
            done.then(|| step.sha256.to_string()).as_deref(),
        );
        self.set(
            &slot,
            "size",
            done.then(|| step.size.to_string()).as_deref(),
        );
        if change != SlotChange::Pending {
            self.count(&slot, "installed", policy.now);
        }
    }

    /// The slot was made the next to be started.
    pub fn activated(&mut self, slot: &str, now: i64) {
        self.count(slot, "activated", now);
    }

    /// Writes both copies.
    ///
    /// # Errors
    /// What the file system says; one of the two copies is whole then.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let text = self.render();
        replace_file(&second(path), text.as_bytes())?;
        replace_file(path, text.as_bytes())
    }

    fn render(&self) -> String {
        let mut body = String::new();
        for (group, keys) in &self.groups {
            // Writing to a String cannot fail.
            let _ = writeln!(body, "[{group}]");
            for (key, value) in keys {
                let _ = writeln!(body, "{key}={}", escape(value));
            }
            body.push('\n');
        }
        format!(
            "{MARK}{}\n{body}",
            encode_hex(&Sha256::digest(body.as_bytes()))
        )
    }

    fn parse(text: &str) -> io::Result<RaucStatus> {
        let damaged = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        match text
            .strip_prefix(MARK)
            .map(|rest| rest.split_once('\n').unwrap_or((rest, "")))
        {
            Some((expected, body))
                if encode_hex(&Sha256::digest(body.as_bytes())) != expected.trim() =>
            {
                return Err(damaged("its checksum is wrong".to_owned()));
            }
            // RAUC writes no comments: this is the beginning of ours.
            None if text.is_empty() || text.starts_with('#') => {
                return Err(damaged("it is cut off".to_owned()));
            }
            _ => {}
        }
        let file = KeyFile::parse(text.as_bytes(), "status file")
            .map_err(|error| damaged(error.to_string()))?;
        let mut status = RaucStatus::default();
        for section in file.sections() {
            let mut reader = file.read(section);
            let keys = status.groups.entry(section.name.clone()).or_default();
            for entry in &section.entries {
                let value = reader
                    .string(&entry.key)
                    .map_err(|error| damaged(error.to_string()))?;
                keys.insert(entry.key.clone(), value.unwrap_or_default());
            }
        }
        Ok(status)
    }
}

fn group(slot: &str) -> String {
    format!("slot.{slot}")
}

fn second(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".copy");
    name.into()
}

fn read(path: &Path) -> io::Result<RaucStatus> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_SIZE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has {size} bytes, more than {MAX_SIZE}"),
        ));
    }
    RaucStatus::parse(&std::fs::read_to_string(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: &str) -> RaucStatus {
        let mut status = RaucStatus::default();
        status.set("rootfs.1", "bundle.version", Some(version));
        status.set("rootfs.1", "status", Some("ok"));
        status
    }

    #[test]
    fn one_torn_copy_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("central.raucs");
        status(" 1\n2").save(&path).unwrap();
        let whole = fs_err::read(&path).unwrap();
        assert_eq!(RaucStatus::load(&path), status(" 1\n2"));
        for kept in 0..whole.len() {
            for torn in [path.clone(), second(&path)] {
                fs_err::write(&torn, &whole[..kept]).unwrap();
                let found = RaucStatus::load(&path);
                assert_eq!(found, status(" 1\n2"), "{kept} {}", torn.display());
                fs_err::write(&torn, &whole).unwrap();
            }
        }
    }

    #[test]
    fn what_rauc_wrote_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("central.raucs");
        fs_err::write(
            &path,
            "[system]\nboot-id=x\n\n[slot.rootfs.0]\nstatus=ok\ninstalled.count=3\n",
        )
        .unwrap();
        let mut found = RaucStatus::load(&path);
        assert_eq!(found.get("rootfs.0", "installed.count"), Some("3"));
        found.activated("rootfs.0", 0);
        found.save(&path).unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains("[system]\nboot-id=x\n"), "{text}");
        assert!(
            text.contains("activated.timestamp=1970-01-01T00:00:00Z\n"),
            "{text}"
        );
        assert_eq!(RaucStatus::load(&path), found);
    }
}
