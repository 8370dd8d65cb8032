//! The power fails at every operation on the applications' data: a name that somebody trusts leads
//! to whole data, the old system's is never touched, and the next run finishes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use slotmgr::config::{Action, SlotmgrToml};
use slotmgr::data::migrate::{Boot, Migration, Systems};
use slotmgr::data::snapshot::Snapshots;
use slotmgr::program::Stop;
use slotmgr::slot::SlotName;
use support::folder_cuts::{Content, FILE, Op, Recorded, found, lay_out};
use support::{layout, slot_id};

const OLD: &str = "version 1\n";
const STALE: &str = "from an earlier trial\n";
const MIGRATED: &str = "version 1\nmigrated\n";

fn settings(root: &Path) -> SlotmgrToml {
    let text = format!(
        "[trial]\ndirectories = [\"{0}/scripts\"]\n[data]\ndirectory = \"{0}\"\nsnapshots = 2\n",
        root.display()
    );
    SlotmgrToml::parse(&text, Path::new("slotmgr.toml")).unwrap()
}

fn hook(root: &Path, name: &str, script: &str) {
    let path = root.join("scripts").join(name);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, script).unwrap();
}

fn slots() -> [SlotName; 2] {
    let layout = layout();
    ["A", "B"].map(|name| layout.slot(slot_id(&layout, name)).name.clone())
}

fn whole(folders: &[(&str, &str)]) -> BTreeMap<String, Content> {
    let whole = |(name, text): &(&str, &str)| ((*name).into(), Content::Whole((*text).into()));
    folders.iter().map(whole).collect()
}

fn texts(folders: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    folders.iter().map(pair).collect()
}

/// The content of each folder of data below `root`.
fn read(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in fs_err::read_dir(root).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "scripts" && name != "run" && entry.path().is_dir() {
            let text = fs_err::read_to_string(entry.path().join(FILE));
            all.insert(name, text.unwrap_or_else(|_| "torn".into()));
        }
    }
    all
}

/// Runs a whole migration: its programs, then what is done to the folders.
fn migrate(root: &Path, boot_id: &str, cut_at: Option<usize>) -> (std::io::Result<()>, Vec<Op>) {
    hook(root, "migrate.d/db.sh", "echo migrated >> $1/db\n");
    let own = settings(root);
    let [old, new] = slots();
    let systems = Systems {
        new: (&new, None),
        old: Some((&old, None)),
    };
    let run = root.join("run");
    let boot = Boot {
        id: boot_id,
        run: &run,
    };
    let migration = Migration::plan(&own, systems, boot).unwrap().unwrap();
    for step in &migration.steps {
        let Action::Command(words) = &step.action else {
            panic!("{step:?}")
        };
        // Not of the whole machine that runs the tests.
        if words[0] != "sync" {
            assert!(
                Command::new(&words[0])
                    .args(&words[1..])
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }
    let mut folders = Recorded::new(root, cut_at);
    let end = migration.publish(&mut folders);
    (end, folders.ops)
}

/// What the steps leave behind before anything is synced or gets its name.
fn with_copy(start: &[(&str, &str)]) -> (BTreeMap<String, String>, Op) {
    (texts(start), Op::Create(".rootfs.1.new".into()))
}

#[test]
fn a_migration_leaves_the_old_data_and_no_half_of_the_new_one() {
    let starts: [&[(&str, &str)]; 3] = [
        &[("rootfs.0", OLD)],
        &[("rootfs.0", OLD), ("rootfs.1", STALE)],
        &[
            ("rootfs.0", OLD),
            ("rootfs.1", STALE),
            (".rootfs.1.old", STALE),
        ],
    ];
    let mut states = 0;
    for start in starts {
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path(), &whole(start));
        let (end, all) = migrate(dir.path(), "boot-1", None);
        end.unwrap();
        assert_eq!(
            read(dir.path()),
            texts(&[("rootfs.0", OLD), ("rootfs.1", MIGRATED)])
        );
        for cut in 0..all.len() {
            let dir = tempfile::tempdir().unwrap();
            lay_out(dir.path(), &whole(start));
            let (end, ops) = migrate(dir.path(), "boot-1", Some(cut));
            // The last one only makes room: it is done again by the next migration.
            assert!(end.is_err(), "cut {cut}");
            let (before, copied) = with_copy(start);
            let ops = [&[copied], ops.as_slice()].concat();
            for state in found(&before, &ops, MIGRATED) {
                states += 1;
                let content = |name: &str| state.get(name).cloned();
                assert_eq!(content("rootfs.0"), Some(Content::Whole(OLD.into())));
                match content("rootfs.1") {
                    None => {}
                    Some(Content::Whole(text)) if text == MIGRATED || text == STALE => {}
                    other => panic!("cut {cut}, {state:?}: {other:?}"),
                }
                let dir = tempfile::tempdir().unwrap();
                lay_out(dir.path(), &state);
                migrate(dir.path(), "boot-2", None).0.unwrap();
                let expected = texts(&[("rootfs.0", OLD), ("rootfs.1", MIGRATED)]);
                assert_eq!(read(dir.path()), expected, "cut {cut}, {state:?}");
            }
        }
    }
    println!("power-cut machine: migrated data: {states} states after a cut");
    assert!(states > 30);
}

const SNAPSHOT: &str = "case $1 in create) cp $SLOTMGR_DATA/db $2/db;; esac\n";

fn take(root: &Path, cut_at: Option<usize>) -> (bool, Vec<Op>) {
    let app = root.join("scripts/app");
    lay_out(&app, &whole(&[("rootfs.0", OLD)]));
    hook(root, "snapshot.d/db.sh", SNAPSHOT);
    let mut own = settings(root);
    own.data.directory = Some(app);
    let ([running, _], stop) = (slots(), Stop::default());
    let mut folders = Recorded::new(root, cut_at);
    let end = Snapshots::new(&own, Some(root), &running, &stop).take(&mut folders);
    (end.is_ok(), folders.ops)
}

/// The numbers of the snapshots that `slotmgr restore-data` would offer.
fn numbered(state: &BTreeMap<String, Content>) -> Vec<(u64, &Content)> {
    let number = |name: &str| name.strip_prefix("snapshots/")?.parse().ok();
    let numbered = state.iter();
    numbered
        .filter_map(|(name, content)| Some((number(name)?, content)))
        .collect()
}

#[test]
fn a_snapshot_with_a_number_is_whole() {
    let two: &[(&str, &str)] = &[
        ("snapshots", ""),
        ("snapshots/1", "a"),
        ("snapshots/2", "b"),
    ];
    let mut states = 0;
    for start in [&[][..], two] {
        let dir = tempfile::tempdir().unwrap();
        lay_out(dir.path(), &whole(start));
        let (taken, all) = take(dir.path(), None);
        assert!(taken);
        for cut in 0..all.len() {
            let dir = tempfile::tempdir().unwrap();
            lay_out(dir.path(), &whole(start));
            let (_, ops) = take(dir.path(), Some(cut));
            for state in found(&texts(start), &ops, OLD) {
                states += 1;
                for (number, content) in numbered(&state) {
                    let whole = matches!(content, Content::Whole(_));
                    assert!(whole, "cut {cut}: half of {number} in {state:?}");
                }
                let dir = tempfile::tempdir().unwrap();
                lay_out(dir.path(), &state);
                assert!(take(dir.path(), None).0, "the next run takes one");
                let left = read(&dir.path().join("snapshots"));
                assert!(left.len() <= 2, "cut {cut}: {left:?}");
                assert!(left.values().any(|text| text == OLD), "{left:?}");
                let odd = left.keys().find(|name| name.parse::<u64>().is_err());
                assert_eq!(odd, None, "cut {cut}: left behind");
            }
        }
    }
    println!("power-cut machine: snapshots: {states} states after a cut");
    assert!(states > 30);
}

/// Once the installation goes on, the snapshot is there, whatever happens.
#[test]
fn a_snapshot_that_was_taken_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (taken, ops) = take(dir.path(), None);
    assert!(taken);
    // One operation more, so that none of these is the one that is cut off.
    let ops = [ops.as_slice(), &[Op::SyncNames("elsewhere".into())]].concat();
    for state in found(&texts(&[]), &ops, OLD) {
        assert_eq!(
            numbered(&state),
            [(1, &Content::Whole(OLD.into()))],
            "{state:?}"
        );
    }
}

/// A name before its content: what a careless updater does, and the machine finds it.
#[test]
fn careless_orders_are_found() {
    let careless = |ops: &[Op]| -> Vec<Op> {
        let synced = |op: &&Op| matches!(op, Op::SyncContent(_));
        ops.iter().filter(|op| !synced(op)).cloned().collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let ops = careless(&take(dir.path(), None).1);
    let torn = |state: &BTreeMap<String, Content>| {
        let mut numbered = numbered(state).into_iter();
        numbered.any(|(_, content)| *content == Content::Torn)
    };
    assert!(found(&texts(&[]), &ops, OLD).iter().any(torn));

    let start = [("rootfs.0", OLD)];
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), &whole(&start));
    let (before, copied) = with_copy(&start);
    let ops = careless(&migrate(dir.path(), "boot-1", None).1);
    let ops = [&[copied], ops.as_slice()].concat();
    let torn = |state: &BTreeMap<_, _>| state.get("rootfs.1") == Some(&Content::Torn);
    assert!(found(&before, &ops, MIGRATED).iter().any(torn));
}

/// The order is a contract.
#[test]
fn the_order_of_operations() {
    let list = |ops: Vec<Op>| -> String { ops.iter().map(|op| format!("{op:?}\n")).collect() };
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(list(take(dir.path(), None).1), @r#"
    Create("snapshots")
    SyncNames("")
    Create("snapshots/1.new")
    SyncContent("snapshots/1.new")
    Rename("snapshots/1.new", "snapshots/1")
    SyncNames("snapshots")
    "#);
    let dir = tempfile::tempdir().unwrap();
    lay_out(
        dir.path(),
        &whole(&[
            ("snapshots", ""),
            ("snapshots/1", "a"),
            ("snapshots/2", "b"),
        ]),
    );
    insta::assert_snapshot!(list(take(dir.path(), None).1), @r#"
    Create("snapshots/3.new")
    SyncContent("snapshots/3.new")
    Rename("snapshots/3.new", "snapshots/3")
    SyncNames("snapshots")
    Rename("snapshots/1", "snapshots/1.gone")
    SyncNames("snapshots")
    Remove("snapshots/1.gone")
    "#);
    let dir = tempfile::tempdir().unwrap();
    lay_out(
        dir.path(),
        &whole(&[("rootfs.0", OLD), ("rootfs.1", STALE)]),
    );
    insta::assert_snapshot!(list(migrate(dir.path(), "boot-1", None).1), @r#"
    SyncContent(".rootfs.1.new")
    Rename("rootfs.1", ".rootfs.1.old")
    Rename(".rootfs.1.new", "rootfs.1")
    SyncNames("")
    Remove(".rootfs.1.old")
    "#);
}
