//! A new system's data: a copy of the old system's, changed by the new one's `migrate.d` hooks.
//!
//! The old system's data is never touched, so that falling back needs no way back for it. The copy is
//! made anew in each boot of a trial, from the system that would be fallen back to; it gets its
//! name when all hooks have passed and everything is on the medium. Until then there is no data
//! for the new system, and nothing that starts by it.

use std::io;
use std::path::{Path, PathBuf};

use super::folders::Folders;
use super::of_slot;
use crate::config::{CheckConfig, SlotmgrToml};
use crate::health::directory;
use crate::slot::SlotName;

/// Hooks lie here, below each of the `[trial] directories`.
const FOLDER: &str = "migrate.d";

/// In the folder in memory: leads to the data of the running system.
const LINK: &str = "data";

/// In the folder in memory: the migration of this boot is done.
const DONE: &str = "migrated";

/// The data of the running system, and how it comes about.
#[derive(Debug)]
pub struct Migration {
    /// The program of each step, in order; each is required.
    pub steps: Vec<CheckConfig>,
    copy: PathBuf,
    old: PathBuf,
    /// Where the running system's data belongs.
    own: PathBuf,
    run: PathBuf,
    boot_id: String,
}

/// The systems between which data is handed on.
#[derive(Debug, Clone, Copy)]
pub struct Systems<'s> {
    /// The one on trial, and its version.
    pub new: (&'s SlotName, Option<&'s str>),
    /// The one that would be fallen back to, and its version; there may be none.
    pub old: Option<(&'s SlotName, Option<&'s str>)>,
}

/// In which boot, and where its memory is.
#[derive(Debug, Clone, Copy)]
pub struct Boot<'b> {
    /// The kernel's id of it.
    pub id: &'b str,
    /// slotmgr's folder in memory.
    pub run: &'b Path,
}

impl Migration {
    /// What there is to do for the system on trial; nothing if no data is configured, or if it is
    /// done for this boot.
    ///
    /// # Errors
    /// There are hooks, and no data for them: a sentence for people.
    pub fn plan(
        own: &SlotmgrToml,
        systems: Systems<'_>,
        boot: Boot<'_>,
    ) -> Result<Option<Migration>, String> {
        let hooks = directory::scripts(&own.trial, FOLDER);
        let Some(home) = &own.data.directory else {
            return match hooks.first() {
                None => Ok(None),
                Some(hook) => Err(format!(
                    "{} has nothing to migrate: slotmgr.toml says no [data] directory",
                    hook.display()
                )),
            };
        };
        let (slot, version) = systems.new;
        let copy = home.join(format!(".{slot}.new"));
        let step = |name: &str, command: Vec<String>| {
            CheckConfig::new(name.to_owned(), command, own.data.hook_limit)
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let text = |path: &Path| path.display().to_string();
        let mut steps = vec![
            step("old copy of the data", words(&["rm", "-rf", &text(&copy)])),
            step("place for the data", words(&["mkdir", "-p", &text(&copy)])),
        ];
        let from = systems.old.map(|(old, _)| of_slot(home, old));
        if let Some(from) = from.filter(|from| from.is_dir()) {
            let all = text(&from.join("."));
            let command = words(&["cp", "-a", &all, &text(&copy)]);
            steps.push(step("copy of the data", command));
        }
        let before = systems.old.and_then(|(_, version)| version);
        for hook in hooks {
            let mut command = directory::command(&hook);
            let versions = [before, version].map(Option::unwrap_or_default);
            command.extend([text(&copy)].into_iter().chain(versions.map(str::to_owned)));
            steps.push(step(&text(&hook), command));
        }
        steps.push(step("the data on its way to the medium", words(&["sync"])));
        let migration = Migration {
            steps,
            old: home.join(format!(".{slot}.old")),
            own: of_slot(home, slot),
            copy,
            run: boot.run.to_owned(),
            boot_id: boot.id.to_owned(),
        };
        Ok((!migration.is_done()).then_some(migration))
    }

    /// slotmgr was killed and started again in this boot: the applications use the data by now.
    fn is_done(&self) -> bool {
        let done = std::fs::read_to_string(self.run.join(DONE));
        done.is_ok_and(|boot_id| boot_id == self.boot_id)
    }

    /// All steps have passed: the copy becomes the data of the running system.
    ///
    /// Safe to stop anywhere: no name leads to half a copy, and the next boot makes it anew.
    ///
    /// # Errors
    /// It is not on the medium, cannot be renamed, or it cannot be written down that it was.
    pub fn publish(&self, folders: &mut dyn Folders) -> io::Result<()> {
        // The last step has written everything out, but sync(1) does not tell what went wrong.
        folders.sync_content(&self.copy)?;
        if folders.exists(&self.old) {
            folders.remove(&self.old)?;
        }
        if folders.exists(&self.own) {
            folders.rename(&self.own, &self.old)?;
        }
        folders.rename(&self.copy, &self.own)?;
        if let Some(home) = self.own.parent() {
            folders.sync_names(home)?;
        }
        fs_err::create_dir_all(&self.run)?;
        fs_err::write(self.run.join(DONE), &self.boot_id)?;
        if folders.exists(&self.old) {
            folders.remove(&self.old)?;
        }
        Ok(())
    }
}

/// Leads the applications to the data of the running system: `/run/slotmgr/data`.
///
/// # Errors
/// The link cannot be made.
pub fn lead(home: &Path, slot: &SlotName, run: &Path) -> io::Result<()> {
    let link = run.join(LINK);
    let own = of_slot(home, slot);
    if std::fs::read_link(&link).is_ok_and(|found| found == own) {
        return Ok(());
    }
    fs_err::create_dir_all(run)?;
    match fs_err::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs_err::os::unix::fs::symlink(own, link)
}
