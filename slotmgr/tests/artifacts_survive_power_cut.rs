//! The power fails at every operation on an artifact repository: each link leads to the old content
//! or to the new one, whole, and the next installation finishes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use slotmgr::artifact::shelf::{self, Entry, Instance, Shelf};

/// What a name stands for. A torn content is one of which not everything is on the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    Content { bytes: &'static str, inode: u32 },
    Link(String),
}

/// One change of the directory that is not confirmed yet. A rename is one change.
#[derive(Debug, Clone)]
enum Change {
    Put(String, Thing),
    Rename(String, String),
    Remove(String),
}

/// A directory on a disk that keeps an unsynced change or does not, one after the other (as a
/// journal does), and contents that are torn unless they were synced.
#[derive(Debug, Clone, Default)]
struct Model {
    durable: BTreeMap<String, Thing>,
    pending: Vec<Change>,
    synced: BTreeSet<u32>,
    inodes: u32,
    operations: usize,
    cut: Option<usize>,
}

impl Model {
    fn now(&self, kept: usize) -> BTreeMap<String, Thing> {
        let mut names = self.durable.clone();
        for change in &self.pending[..kept] {
            match change.clone() {
                Change::Put(name, thing) => drop(names.insert(name, thing)),
                Change::Rename(from, to) => {
                    let thing = names.remove(&from).unwrap();
                    names.insert(to, thing);
                }
                Change::Remove(name) => drop(names.remove(&name)),
            }
        }
        names
    }

    fn visible(&self) -> BTreeMap<String, Thing> {
        self.now(self.pending.len())
    }

    fn operation(&mut self) -> io::Result<()> {
        if self.cut == Some(self.operations) {
            return Err(io::Error::other("the power is off"));
        }
        self.operations += 1;
        Ok(())
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        self.operation()?;
        self.pending.push(change);
        Ok(())
    }

    /// The machine after a cut that kept the first `kept` unsynced changes.
    fn power_on(&self, kept: usize) -> Model {
        let mut durable = self.now(kept);
        for thing in durable.values_mut() {
            match thing {
                Thing::Content { bytes, inode } if !self.synced.contains(inode) => *bytes = "torn",
                _ => {}
            }
        }
        Model {
            durable,
            synced: self.synced.clone(),
            inodes: self.inodes,
            ..Model::default()
        }
    }

    /// What the artifact's users find.
    fn used(&self, name: &str) -> Option<&'static str> {
        let names = self.visible();
        let Thing::Link(target) = names.get(name)? else {
            panic!("{name} is no link");
        };
        match names.get(target) {
            Some(Thing::Content { bytes, .. }) => Some(bytes),
            other => panic!("{name} leads to {target}, which is {other:?}"),
        }
    }
}

impl Shelf for Model {
    fn entries(&self) -> io::Result<Vec<Entry>> {
        let entry = |(name, thing): (String, Thing)| Entry {
            name,
            target: match thing {
                Thing::Link(target) => Some(target),
                Thing::Content { .. } => None,
            },
        };
        Ok(self.visible().into_iter().map(entry).collect())
    }

    fn sync_content(&mut self, name: &str) -> io::Result<()> {
        self.operation()?;
        if let Some(Thing::Content { inode, .. }) = self.visible().get(name) {
            self.synced.insert(*inode);
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.change(Change::Rename(from.into(), to.into()))
    }

    fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.change(Change::Put(name.into(), Thing::Link(target.into())))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match self.visible().contains_key(name) {
            true => self.change(Change::Remove(name.into())),
            false => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.operation()?;
        self.durable = self.visible();
        self.pending.clear();
        Ok(())
    }

    fn is_open(&self, _: &str) -> bool {
        false
    }
}

fn instance(name: &str, sha256: &str) -> Instance {
    Instance {
        name: name.into(),
        sha256: sha256.into(),
    }
}

/// As an installation does it: everything is stored, then used, then tidied up.
fn install(model: &mut Model, release: &[(&str, &str, &'static str)]) -> io::Result<()> {
    for (name, sha256, bytes) in release {
        shelf::store(
            model,
            &instance(name, sha256),
            |model, at| {
                model.inodes += 1;
                let inode = model.inodes;
                model.change(Change::Put(at.into(), Thing::Content { bytes, inode }))
            },
            |_, _, ()| io::Result::Ok(()),
        )?;
    }
    for (name, sha256, _) in release {
        shelf::activate(model, &instance(name, sha256))?;
    }
    shelf::prune(model)
}

const OLD: [(&str, &str, &str); 2] = [("app", "aa", "old app"), ("map", "bb", "old map")];
const NEW: [(&str, &str, &str); 2] = [("app", "cc", "new app"), ("map", "dd", "new map")];

/// What is cut off once, and cut off again while it is made good.
#[test]
fn old_or_new_at_every_cut_and_the_next_installation_finishes() {
    let mut start = Model::default();
    install(&mut start, &OLD).unwrap();
    let whole = {
        let mut model = start.clone();
        install(&mut model, &NEW).unwrap();
        model
    };
    assert_eq!(whole.visible().len(), 4, "the old contents are gone");
    let check = |found: &Model, what: &str| {
        for (number, name) in ["app", "map"].into_iter().enumerate() {
            let used = found.used(name);
            let known = [Some(OLD[number].2), Some(NEW[number].2)];
            assert!(known.contains(&used), "{what}: {name} holds {used:?}");
        }
    };
    let mut states = 0;
    for cut in start.operations..whole.operations {
        let mut model = start.clone();
        model.cut = Some(cut);
        install(&mut model, &NEW).unwrap_err();
        for kept in 0..=model.pending.len() {
            let found = model.power_on(kept);
            check(&found, &format!("cut {cut}, {kept} kept"));
            let mut next = found.clone();
            install(&mut next, &NEW).unwrap();
            assert_eq!(next.visible(), next.durable);
            assert_eq!(
                (next.used("app"), next.used("map")),
                (Some("new app"), Some("new map"))
            );
            assert_eq!(
                next.durable.len(),
                4,
                "something is left: {:?}",
                next.durable
            );
            for again in 0..next.operations {
                let mut model = found.clone();
                model.cut = Some(again);
                install(&mut model, &NEW).unwrap_err();
                for kept in 0..=model.pending.len() {
                    states += 1;
                    check(&model.power_on(kept), &format!("cuts {cut} and {again}"));
                }
            }
        }
    }
    println!("power-cut machine: artifacts: {states} states after two cuts");
    assert!(states > 500);
}
