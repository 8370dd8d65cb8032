//! The beginning of this trial, kept in memory (`/run`) so that a slotmgr that is killed and
//! started again in the same boot goes on with the time that remains.
//!
//! It is keyed by the kernel's boot id and told in the clock that starts with the machine: a wall
//! clock that jumps moves nothing, and a later boot finds nothing that concerns it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::vote::write_whole;
use super::window::Millis;

/// The file below the run directory.
const FILE: &str = "trial.json";

/// A trial under way in this boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Probation {
    boot_id: String,
    /// When it ends at the latest, in milliseconds since the machine was started.
    pub deadline: Millis,
    /// Why it failed, once it has: nothing is checked again then.
    #[serde(default)]
    pub failed: Option<String>,
    /// What watches over it, for people.
    #[serde(default)]
    pub watchdog: Option<String>,
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct Place {
    file: PathBuf,
    boot_id: String,
}

impl Place {
    /// `run` is slotmgr's folder in memory, `/run/slotmgr`.
    #[must_use]
    pub fn new(run: &Path, boot_id: &str) -> Place {
        Place {
            file: run.join(FILE),
            boot_id: boot_id.to_owned(),
        }
    }

    /// The trial of this boot: the one that has begun, or a new one that ends after `window`.
    ///
    /// Where it cannot be kept, the window is counted from the start of the machine: a rule that
    /// needs no memory, so that being killed again and again extends nothing either.
    #[must_use]
    pub fn begin(&self, now: Millis, window: Millis) -> Probation {
        if let Some(known) = self.known() {
            return known;
        }
        let new = Probation {
            boot_id: self.boot_id.clone(),
            deadline: now.saturating_add(window),
            failed: None,
            watchdog: None,
        };
        match self.keep(&new) {
            Ok(()) => new,
            Err(error) => {
                tracing::warn!(
                    file = %self.file.display(), %error,
                    "the beginning of the trial cannot be kept; its window counts from the start \
                     of the machine"
                );
                Probation {
                    deadline: window,
                    ..new
                }
            }
        }
    }

    /// This trial has failed: whoever comes after us in this boot only has to restart the machine.
    pub fn failed(&self, reason: &str) {
        self.change(|probation| probation.failed = Some(reason.to_owned()));
    }

    /// What watches over this trial, for `slotmgr status`.
    pub fn watched(&self, told: &str) {
        self.change(|probation| probation.watchdog = Some(told.to_owned()));
    }

    /// The trial of this boot, if one has begun.
    #[must_use]
    pub fn known(&self) -> Option<Probation> {
        let bytes = std::fs::read(&self.file).ok()?;
        let known: Probation = serde_json::from_slice(&bytes).ok()?;
        (known.boot_id == self.boot_id).then_some(known)
    }

    fn change(&self, change: impl FnOnce(&mut Probation)) {
        let Some(mut probation) = self.known() else {
            return;
        };
        change(&mut probation);
        if let Err(error) = self.keep(&probation) {
            tracing::warn!(%error, "the state of the trial cannot be kept");
        }
    }

    fn keep(&self, probation: &Probation) -> io::Result<()> {
        let text = serde_json::to_vec(probation).map_err(io::Error::other)?;
        write_whole(&self.file, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_boot_goes_on_and_another_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), "boot-1");
        assert_eq!(place.begin(50, 300).deadline, 350);
        assert_eq!(place.begin(200, 300).deadline, 350, "no more time");
        let other = Place::new(dir.path(), "boot-2");
        assert_eq!(other.begin(60, 300).deadline, 360);
        fs_err::write(dir.path().join(FILE), "{\"boot-id\":").unwrap();
        assert_eq!(
            place.begin(70, 300).deadline,
            370,
            "damage is a new beginning"
        );
    }

    #[test]
    fn a_failure_is_known_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), "boot-1");
        place.watched("nobody is told before it begins");
        assert_eq!(place.known(), None);
        let _ = place.begin(50, 300);
        place.failed("no database");
        place.watched("a dog");
        assert_eq!(place.known().unwrap().watchdog.as_deref(), Some("a dog"));
        assert_eq!(place.begin(60, 300).failed.as_deref(), Some("no database"));
    }

    #[test]
    fn without_a_place_the_window_counts_from_the_start_of_the_machine() {
        let place = Place::new(Path::new("/proc/no-such-place"), "boot-1");
        assert_eq!(place.begin(50, 300).deadline, 300);
        assert_eq!(place.begin(250, 300).deadline, 300);
    }
}
