use std::path::Path;

use super::files::FatFolder;
use super::*;
use crate::boot::Tries;
use crate::slot::{Access, BootName, Slot, SlotId, SlotKind, SlotName, SlotOptions};
use crate::storage::sim::World;

/// A boot partition with these entries, and with spare copies of both.
struct Esp(tempfile::TempDir);

fn text(slot: &str, version: u32) -> String {
    format!("sort-key slotmgr\nversion {version:010}\nlinux /{slot}\n")
}

impl Esp {
    fn new(entries: &[(&str, String)]) -> Esp {
        let esp = Esp(tempfile::tempdir().unwrap());
        for folder in ["loader/entries", "loader/slotmgr", "variables"] {
            fs_err::create_dir_all(esp.path(folder)).unwrap();
        }
        for (name, text) in entries {
            fs_err::write(esp.path("loader/entries").join(name), text).unwrap();
        }
        for slot in ["A", "B"] {
            let spare = esp.path("loader/slotmgr").join(format!("{slot}.conf"));
            fs_err::write(spare, text(slot, 1)).unwrap();
        }
        esp
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn backend(&self) -> SystemdBoot {
        let slot = |index: usize, boot: &str| Slot {
            name: SlotName::parse(&format!("boot.{index}")).unwrap(),
            device: Path::new("/dev").join(boot),
            kind: SlotKind::Raw,
            boot_name: Some(BootName::parse(boot).unwrap()),
            parent: None,
            access: Access::Writable,
            options: SlotOptions::default(),
        };
        let layout = Layout::new(vec![slot(0, "A"), slot(1, "B")]).unwrap();
        let files = FatFolder {
            entries: self.path("loader/entries"),
            variables: self.path("variables"),
        };
        SystemdBoot::new(&layout, Box::new(files))
    }

    fn apply(&self, slot: usize, kind: ChangeKind) -> Result<(), BootError> {
        let slot = SlotId::for_test(slot);
        let change = BootChange { slot, kind };
        self.backend().apply(&mut World::new(), change)
    }

    fn state(&self) -> BootState {
        self.backend().read(&mut World::new()).unwrap()
    }

    fn names(&self) -> String {
        let mut names: Vec<String> = fs_err::read_dir(self.path("loader/entries"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names.join(" ")
    }
}

const TWO: ChangeKind = ChangeKind::Next(Tries(2));

#[test]
fn the_life_of_an_update_in_names() {
    let esp = Esp::new(&[("A.conf", text("A", 2)), ("B.conf", text("B", 1))]);
    let [a, b] = [SlotId::for_test(0), SlotId::for_test(1)];
    assert_eq!(esp.state().order, [a, b]);
    esp.apply(1, ChangeKind::Bad).unwrap();
    assert_eq!(esp.names(), "A.conf B+0.conf");
    assert_eq!(esp.state().standing(b), Standing::Bad);
    esp.apply(1, TWO).unwrap();
    assert_eq!(esp.names(), "A.conf B+2.conf");
    assert_eq!(esp.state().primary(), Some(b));
    let entries = esp.path("loader/entries");
    for (from, to, left) in [
        ("B+2.conf", "B+1-1.conf", 1),
        ("B+1-1.conf", "B+0-2.conf", 0),
    ] {
        fs_err::rename(entries.join(from), entries.join(to)).unwrap();
        assert_eq!(esp.state().standing(b), Standing::Trial { left });
    }
    assert_eq!(esp.state().primary(), Some(a), "once it is used up");
    esp.apply(1, ChangeKind::Good).unwrap();
    assert_eq!(esp.names(), "A.conf B.conf");
    assert_eq!(esp.state().primary(), Some(b));
    esp.apply(1, ChangeKind::GoodAlone).unwrap();
    assert_eq!(esp.names(), "A+0.conf B.conf");
}

/// What a power cut in a rename may leave: both names, or neither.
#[test]
fn two_names_are_settled_and_a_lost_one_is_made_anew() {
    let esp = |twins: [&str; 2]| {
        let twins = twins.map(|name| (name, text("B", 3)));
        Esp::new(&[&[("A.conf", text("A", 2))][..], &twins].concat())
    };
    for (twins, kind, names) in [
        (
            ["B+0.conf", "B+2.conf"],
            ChangeKind::Good,
            "A.conf B+0.conf B.conf",
        ),
        (
            ["B.conf", "B+1-1.conf"],
            ChangeKind::Good,
            "A.conf B+0.conf B.conf",
        ),
        (
            ["B.conf", "B+0.conf"],
            ChangeKind::Bad,
            "A.conf B+0-0.conf B+0.conf",
        ),
        (
            ["B.conf", "B+1-1.conf"],
            ChangeKind::Bad,
            "A.conf B+0-0.conf B+0.conf",
        ),
        (["B+0.conf", "B+2.conf"], TWO, "A.conf B+0.conf B+2.conf"),
        (
            ["B+0.conf", "B+0-2.conf"],
            TWO,
            "A.conf B+0-2.conf B+2.conf",
        ),
    ] {
        let esp = esp(twins);
        esp.apply(1, kind).unwrap();
        assert_eq!(esp.names(), names, "{twins:?}, {kind:?}");
        esp.apply(1, kind).unwrap();
        assert_eq!(esp.names(), names, "once");
    }

    let esp = Esp::new(&[("A.conf", text("A", 2)), ("B+0.conf", String::new())]);
    assert_eq!(esp.state().standing(SlotId::for_test(1)), Standing::Bad);
    esp.apply(1, TWO).unwrap();
    assert_eq!(
        esp.names(),
        "A.conf B+0.conf B+2.conf",
        "what was not whole is left"
    );
    assert_eq!(esp.state().primary(), Some(SlotId::for_test(1)));
}

/// A copy that was cut short, or a name whose content a power cut has taken: it must not stand in the
/// way of the entry that is to be called so.
#[test]
fn an_empty_file_in_the_place_of_the_new_name_is_put_aside() {
    let b = ("B+0.conf", text("B", 1));
    for (taken, kind) in [("B.conf", ChangeKind::Good), ("B+2.conf", TWO)] {
        let esp = Esp::new(&[
            ("A.conf", text("A", 2)),
            b.clone(),
            (taken, String::new()),
            ("B.conf.empty0", String::new()),
        ]);
        esp.apply(1, kind).unwrap();
        let state = esp.state();
        assert!(state.standing(SlotId::for_test(1)).can_start());
        let entries = esp.path("loader/entries");
        assert!(!fs_err::read(entries.join(taken)).unwrap().is_empty());
        let names = esp.names();
        assert!(
            names.contains(".conf.empty") && !names.contains("B+0.conf"),
            "{names}"
        );
    }
}

#[test]
fn without_a_spare_copy_or_with_a_strange_entry_nothing_is_changed() {
    let esp = Esp::new(&[("A.conf", text("A", 2))]);
    fs_err::remove_file(esp.path("loader/slotmgr/B.conf")).unwrap();
    let refused = esp.apply(1, ChangeKind::Bad);
    assert!(matches!(refused, Err(BootError::NoSpareEntry { .. })));

    let other = ("arch+3.conf", "title Arch\n".to_owned());
    let esp = Esp::new(&[("A.conf", "linux /A\n".to_owned()), other]);
    let refused = esp.apply(1, ChangeKind::Bad).unwrap_err();
    assert!(matches!(refused, BootError::Entry { .. }));
    assert!(
        std::error::Error::source(&refused).is_none(),
        "it is said once"
    );
    assert_eq!(esp.names(), "A.conf arch+3.conf");
}
