//! What `snapshot.d` hooks keep of the data before an update, and bring back when somebody asks.
//!
//! Each snapshot is a numbered folder below the data-directory, which the hooks fill as they like.
//! Nothing is ever restored by itself.

use std::io;
use std::path::{Path, PathBuf};

use super::folders::Folders;
use super::of_slot;
use crate::config::{DataConfig, SlotmgrToml, TrialConfig};
use crate::health::directory;
use crate::install::{Program, ProgramError};
use crate::program::Stop;
use crate::slot::SlotName;

/// Hooks lie here, below each of the `[trial] directories`.
const FOLDER: &str = "snapshot.d";

/// Below the data-directory.
const HOME: &str = "snapshots";

/// The end of the name of a snapshot that is not whole.
const UNFINISHED: &str = ".new";

/// The end of the name of a snapshot that is being removed.
const GOING: &str = ".gone";

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Nowhere to keep one.
    #[error(
        "there are snapshot hooks, and system.conf says no data-directory to keep snapshots in"
    )]
    NoHome,
    /// A hook says no.
    #[error("the data cannot be {doing}")]
    Hook {
        /// kept, restored, let go.
        doing: &'static str,
        /// Why.
        #[source]
        source: ProgramError,
    },
    /// A folder.
    #[error("the snapshots cannot be kept in order")]
    Folder(#[from] io::Error),
    /// No such snapshot.
    #[error("there is no snapshot {wanted}; there are: {known}")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// All, for people.
        known: String,
    },
}

/// What a hook is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Restore,
    Remove,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Restore => "restore",
            Verb::Remove => "remove",
        }
    }

    fn participle(self) -> &'static str {
        match self {
            Verb::Create => "kept",
            Verb::Restore => "restored",
            Verb::Remove => "let go",
        }
    }
}

/// The snapshots of a machine.
#[derive(Debug, Clone)]
pub struct Snapshots {
    trial: TrialConfig,
    settings: DataConfig,
    home: Option<PathBuf>,
    /// The running system's.
    data: Option<PathBuf>,
    stop: Stop,
}

impl Snapshots {
    /// Below the machine's `data-directory`.
    #[must_use]
    pub fn new(
        own: &SlotmgrToml,
        data_directory: Option<&Path>,
        running: &SlotName,
        stop: &Stop,
    ) -> Self {
        let data = own.data.directory.as_deref();
        Snapshots {
            trial: own.trial.clone(),
            settings: own.data.clone(),
            home: data_directory.map(|directory| directory.join(HOME)),
            data: data.map(|directory| of_slot(directory, running)),
            stop: stop.clone(),
        }
    }

    /// The numbers of all whole snapshots, the oldest first.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        self.numbered("")
    }

    /// The numbers in the names that have this end, the lowest first.
    fn numbered(&self, end: &str) -> Vec<u64> {
        let home = self.home.iter().map(std::fs::read_dir);
        let entries = home.flatten().flatten().flatten();
        let mut numbers: Vec<u64> = entries
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(end)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// Lets the hooks keep the data, then lets the oldest snapshots go that are too many. Nothing
    /// if there are no hooks.
    ///
    /// # Errors
    /// When a hook fails: what it left is removed, and older snapshots stay.
    pub fn take(&self, folders: &mut dyn Folders) -> Result<Option<u64>, SnapshotError> {
        if directory::scripts(&self.trial, FOLDER).is_empty() {
            return Ok(None);
        }
        let home = self.home.as_ref().ok_or(SnapshotError::NoHome)?;
        make_home(home, folders)?;
        let number = self
            .numbers()
            .last()
            .map_or(1, |last| last.saturating_add(1));
        let unfinished = home.join(format!("{number}{UNFINISHED}"));
        if folders.exists(&unfinished) {
            // Somebody was cut off.
            folders.remove(&unfinished)?;
        }
        folders.create(&unfinished)?;
        if let Err(error) = self.ask(Verb::Create, &unfinished) {
            folders.remove(&unfinished)?;
            return Err(error);
        }
        // A number is a promise: what it names is whole, also after a power cut.
        folders.sync_content(&unfinished)?;
        folders.rename(&unfinished, &home.join(number.to_string()))?;
        folders.sync_names(home)?;
        self.let_go(home, folders);
        Ok(Some(number))
    }

    /// A snapshot that cannot go costs room, and must not cost the update.
    fn let_go(&self, home: &Path, folders: &mut dyn Folders) {
        let numbers = self.numbers();
        let surplus = numbers.len().saturating_sub(self.settings.snapshots.into());
        for number in &numbers[..surplus] {
            if let Err(error) =
                folders.rename(&home.join(number.to_string()), &going(home, *number))
            {
                tracing::warn!(%error, "snapshot {number} stays");
            }
        }
        // Also those that somebody was cut off at.
        for number in self.numbered(GOING) {
            if let Err(error) = self.remove(home, number, folders) {
                tracing::warn!(%error, "what is left of snapshot {number} stays");
            }
        }
    }

    /// It has lost its number already: half of it is never restored.
    fn remove(
        &self,
        home: &Path,
        number: u64,
        folders: &mut dyn Folders,
    ) -> Result<(), SnapshotError> {
        let folder = going(home, number);
        folders.sync_names(home)?;
        self.ask(Verb::Remove, &folder)?;
        Ok(folders.remove(&folder)?)
    }

    /// Lets the hooks bring back what a snapshot holds; gives its number.
    ///
    /// # Errors
    /// There is no such snapshot, or a hook fails: then it may be half restored.
    pub fn restore(&self, wanted: Option<u64>) -> Result<u64, SnapshotError> {
        let home = self.home.as_ref().ok_or(SnapshotError::NoHome)?;
        let numbers = self.numbers();
        let number = match wanted {
            Some(number) => numbers.contains(&number).then_some(number),
            None => numbers.last().copied(),
        };
        let Some(number) = number else {
            let known: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            return Err(SnapshotError::Unknown {
                wanted: wanted.map_or("at all".to_owned(), |number| number.to_string()),
                known: match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                },
            });
        };
        self.ask(Verb::Restore, &home.join(number.to_string()))?;
        Ok(number)
    }

    fn ask(&self, verb: Verb, folder: &Path) -> Result<(), SnapshotError> {
        for hook in directory::scripts(&self.trial, FOLDER) {
            let mut command = directory::command(&hook);
            command.extend([verb.word().to_owned(), folder.display().to_string()]);
            let data = self.data.iter();
            let data = data.map(|data| ("SLOTMGR_DATA".to_owned(), data.display().to_string()));
            let program = Program {
                name: format!("the snapshot hook {}", hook.display()),
                command,
                environment: data.collect(),
                limit: self.settings.hook_limit,
            };
            let doing = verb.participle();
            let asked = program.run(&self.stop);
            asked.map_err(|source| SnapshotError::Hook { doing, source })?;
        }
        Ok(())
    }
}

fn going(home: &Path, number: u64) -> PathBuf {
    home.join(format!("{number}{GOING}"))
}

/// The first time: a folder whose own name is lost takes everything in it along.
fn make_home(home: &Path, folders: &mut dyn Folders) -> io::Result<()> {
    if folders.exists(home) {
        return Ok(());
    }
    folders.create(home)?;
    if let Some(above) = home.parent() {
        folders.sync_names(above)?;
    }
    Ok(())
}
