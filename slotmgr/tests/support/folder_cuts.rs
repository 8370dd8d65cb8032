//! A file system that loses power at a chosen operation on whole folders.
//!
//! What it promises is what a journalling file system promises, and no more: names change in the
//! order in which they were changed, the last ones perhaps not at all; what is *in* a folder is on
//! the medium only once somebody has synced it, whatever its name is by then; removing a folder
//! may end half-way. The operations are carried out on a real folder too, so that hooks and
//! programs take part.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use slotmgr::data::folders::{Folders, OnDisk};

/// In every folder of data: what it holds, whole.
pub const FILE: &str = "db";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Create(String),
    Remove(String),
    Rename(String, String),
    SyncContent(String),
    SyncNames(String),
}

/// Folders below `root` that write down what is done to them, until the power goes.
pub struct Recorded {
    root: PathBuf,
    cut_at: Option<usize>,
    pub ops: Vec<Op>,
}

impl Recorded {
    pub fn new(root: &Path, cut_at: Option<usize>) -> Recorded {
        let root = root.to_owned();
        let ops = Vec::new();
        Recorded { root, cut_at, ops }
    }

    /// Whether the power is still there after this operation.
    fn note(&mut self, op: Op) -> io::Result<()> {
        if self.cut_at.is_some_and(|cut| self.ops.len() > cut) {
            return Err(io::Error::other("the power is off"));
        }
        self.ops.push(op);
        match self.cut_at {
            Some(cut) if self.ops.len() > cut => Err(io::Error::other("the power goes")),
            _ => Ok(()),
        }
    }

    fn name(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap();
        below.display().to_string()
    }
}

impl Folders for Recorded {
    fn exists(&self, folder: &Path) -> bool {
        OnDisk.exists(folder)
    }
    fn create(&mut self, folder: &Path) -> io::Result<()> {
        self.note(Op::Create(self.name(folder)))?;
        OnDisk.create(folder)
    }
    fn remove(&mut self, folder: &Path) -> io::Result<()> {
        self.note(Op::Remove(self.name(folder)))?;
        OnDisk.remove(folder)
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(Op::Rename(self.name(from), self.name(to)))?;
        OnDisk.rename(from, to)
    }
    fn sync_content(&mut self, folder: &Path) -> io::Result<()> {
        self.note(Op::SyncContent(self.name(folder)))?;
        OnDisk.sync_content(folder)
    }
    fn sync_names(&mut self, folder: &Path) -> io::Result<()> {
        self.note(Op::SyncNames(self.name(folder)))?;
        OnDisk.sync_names(folder)
    }
}

/// What a folder holds, after a power cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Whole(String),
    /// Some of it, or none.
    Torn,
}

/// A name of a folder, and which content it leads to.
type Names = BTreeMap<String, usize>;

/// The medium: what is durable, and what is on its way.
struct Medium {
    /// As every program under power sees them.
    seen: Names,
    /// All states of the names that a cut may leave; the first is the one that is durable.
    names: Vec<Names>,
    contents: Vec<String>,
    /// Contents that were written and never synced, or are being removed.
    torn: BTreeSet<usize>,
}

/// Every state that may be found after `ops` were done to folders that hold `start`, the last of
/// them cut off. `written` is what hooks and programs put into a new folder.
pub fn found(
    start: &BTreeMap<String, String>,
    ops: &[Op],
    written: &str,
) -> Vec<BTreeMap<String, Content>> {
    let mut medium = Medium::new(start);
    for (number, op) in ops.iter().enumerate() {
        medium.apply(op, written, number + 1 == ops.len());
    }
    medium.states()
}

impl Medium {
    fn new(start: &BTreeMap<String, String>) -> Medium {
        let names: Names = start.keys().cloned().zip(0..).collect();
        Medium {
            seen: names.clone(),
            names: vec![names],
            contents: start.values().cloned().collect(),
            torn: BTreeSet::new(),
        }
    }

    fn apply(&mut self, op: &Op, written: &str, in_flight: bool) {
        match op {
            Op::Create(name) => {
                if !self.seen.contains_key(name) {
                    self.torn.insert(self.contents.len());
                    self.seen.insert(name.clone(), self.contents.len());
                    self.contents.push(written.to_owned());
                }
            }
            Op::Remove(name) => {
                let content = self.seen.remove(name);
                self.torn.extend(content);
            }
            Op::Rename(from, to) => {
                let content = self.seen.remove(from).unwrap();
                assert_eq!(self.seen.insert(to.clone(), content), None, "{to} is taken");
            }
            Op::SyncContent(name) if !in_flight => {
                self.torn.remove(&self.seen[name]);
            }
            Op::SyncNames(folder) if !in_flight => {
                // Of this folder only: the others may still lag behind.
                let below = |name: &String| parent(name) == folder;
                for names in &mut self.names {
                    names.retain(|name, _| !below(name));
                    let synced = self.seen.iter().filter(|(name, _)| below(name));
                    names.extend(synced.map(|(name, id)| (name.clone(), *id)));
                }
            }
            Op::SyncContent(_) | Op::SyncNames(_) => {}
        }
        self.names.push(self.seen.clone());
    }

    fn states(&self) -> Vec<BTreeMap<String, Content>> {
        let content = |id: &usize| match self.torn.contains(id) {
            true => Content::Torn,
            false => Content::Whole(self.contents[*id].clone()),
        };
        let state = |names: &Names| {
            let reachable = names.iter().filter(|(name, _)| {
                let above = parent(name);
                above.is_empty() || names.contains_key(above)
            });
            reachable
                .map(|(name, id)| (name.clone(), content(id)))
                .collect()
        };
        self.names.iter().map(state).collect()
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(above, _)| above)
}

/// Puts a state onto a real file system, below `root`.
pub fn lay_out(root: &Path, state: &BTreeMap<String, Content>) {
    for (name, content) in state {
        let folder = root.join(name);
        fs_err::create_dir_all(&folder).unwrap();
        if let Content::Whole(text) = content {
            fs_err::write(folder.join(FILE), text).unwrap();
        }
    }
}
