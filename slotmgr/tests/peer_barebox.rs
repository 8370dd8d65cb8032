//! barebox's bootchooser state, kept by the real `barebox-state` in the device tree's layout: what
//! slotmgr makes of it, and what is left of a change that the power cuts short.
//!
//! The program finds the state's partition by its GUID in `/dev/disk/by-partuuid`, where a link to
//! a file will do; so this needs root, as all tests with real programs do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use slotmgr::boot::barebox::{Barebox, StateName};
use slotmgr::boot::program::Program;
use slotmgr::boot::{self, BootEnv, Mark, Standing, Tries};
use slotmgr::storage::sim::World;
use support::cuts::{ByProgram, Tried, cut_installation_by};
use support::{booted, image, layout, policy, slot_id};

/// Where the three copies lie, and how far apart.
const STRIDE: usize = 1024;
const SIZE: usize = 64 * 1024;

/// A board with a state, and the link by which its partition is found.
struct Board {
    dir: tempfile::TempDir,
    link: PathBuf,
}

impl Board {
    fn new(number: u32) -> Board {
        let dir = tempfile::tempdir().unwrap();
        let guid = format!(
            "5b193300-fc78-40cd-{number:04x}-{:012x}",
            std::process::id()
        );
        let text = include_str!("support/barebox.dts").replace("GUID", &guid);
        let (source, blob) = (dir.path().join("b.dts"), dir.path().join("b.dtb"));
        fs_err::write(&source, text).unwrap();
        let mut dtc = Command::new("dtc");
        support::run(dtc.args(["-q", "-O", "dtb", "-o"]).arg(&blob).arg(&source));
        fs_err::write(dir.path().join("state"), vec![0; SIZE]).unwrap();
        let links = Path::new("/dev/disk/by-partuuid");
        fs_err::create_dir_all(links).unwrap();
        let link = links.join(guid);
        fs_err::os::unix::fs::symlink(dir.path().join("state"), &link).unwrap();
        Board { dir, link }
    }

    fn backend(&self) -> Barebox {
        let program = Program {
            path: "barebox-state".into(),
            limit: Duration::from_secs(30),
        };
        let name = StateName {
            state: Some("state".to_owned()),
            dtb: Some(self.dir.path().join("b.dtb")),
        };
        Barebox::new(&layout(), program, name, Tries::DEFAULT)
    }

    fn bytes(&self) -> Vec<u8> {
        fs_err::read(self.dir.path().join("state")).unwrap()
    }

    fn put(&self, bytes: &[u8]) {
        fs_err::write(self.dir.path().join("state"), bytes).unwrap();
    }

    fn mark(&self, name: &str, what: Mark) {
        let layout = layout();
        let what = (what, Tries::new(2).unwrap());
        let slot = slot_id(&layout, name);
        boot::mark(&self.backend(), &mut World::new(), &layout, slot, what).unwrap();
    }

    fn state(&self) -> (Option<String>, [Standing; 2]) {
        let layout = layout();
        let state = self.backend().read(&mut World::new()).unwrap();
        let name = |id| layout.slot(id).boot_name.as_ref().unwrap().to_string();
        let standings = ["A", "B"].map(|name| state.standing(slot_id(&layout, name)));
        (state.primary().map(name), standings)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.link);
    }
}

#[test]
fn the_life_of_an_update_in_a_real_state() {
    let board = Board::new(1);
    let good = Standing::Good;
    board.mark("B", Mark::Bad);
    assert_eq!(board.state(), (Some("A".into()), [good, Standing::Bad]));

    let bundle = support::bundle(&image(3), "3");
    let mut world = support::world(&image(1), &image(2), "");
    let what = (&bundle, &policy());
    let _armed = support::install_by(&board.backend(), &mut world, "A", what).unwrap();
    let (primary, [a, b]) = board.state();
    assert_eq!((primary.as_deref(), a), (Some("B"), good));
    assert_eq!(b, Standing::Trial { left: 2 });

    boot::confirm(&board.backend(), &mut World::new(), booted(&layout(), "B")).unwrap();
    assert_eq!(board.state(), (Some("B".into()), [good, good]));
    let bytes = board.bytes();
    board.mark("B", Mark::Good);
    assert_eq!(board.bytes(), bytes, "equal content writes nothing");
}

/// An installation is cut at each of its writes; the state is that of the last call.
#[test]
fn an_installation_cut_everywhere() {
    let numbers = std::cell::Cell::new(100);
    let make = || {
        let board = Rc::new(Board::new(numbers.replace(numbers.get() + 1)));
        let env = Box::new(board.backend());
        let next = Box::new(move || board.state().0.unwrap());
        ByProgram { env, next }
    };
    cut_installation_by(&make).report("barebox, installation");
}

/// `barebox-state` writes one copy after the other. Whatever a power cut leaves of that, the state
/// that is read is the old one or the new one, whole.
#[test]
fn a_change_that_is_cut_short_is_old_or_new() {
    let mut tried = Tried::default();
    for (number, (before, name, what)) in [
        (Mark::Bad, "B", Mark::Active),
        (Mark::Good, "B", Mark::Bad),
        (Mark::Bad, "B", Mark::Good),
        (Mark::Active, "A", Mark::Bad),
        (Mark::Active, "A", Mark::Active),
    ]
    .into_iter()
    .enumerate()
    {
        let board = Board::new(200 + u32::try_from(number).unwrap());
        board.mark("B", before);
        // Each copy torn at each byte, for the change that arms; at some, for the others.
        let step = if number == 0 { 1 } else { 5 };
        cut_short(&board, (name, what), step, &mut tried);
    }
    tried.report("barebox-state, a change cut short");
}

fn cut_short(board: &Board, (name, what): (&str, Mark), step: usize, tried: &mut Tried) {
    let (before, old) = (board.bytes(), board.state());
    board.mark(name, what);
    let (after, new) = (board.bytes(), board.state());
    assert_ne!(old, new);
    let changed: Vec<usize> = (0..SIZE).filter(|at| before[*at] != after[*at]).collect();
    let copies = |at: &usize| at / STRIDE;
    assert_eq!(changed.iter().map(copies).max(), Some(2), "three copies");

    let mut seen = [0, 0];
    // From none of the changed bytes to all of them.
    for written in (0..=changed.len()).step_by(step) {
        let mut bytes = before.clone();
        for at in &changed[..written] {
            bytes[*at] = after[*at];
        }
        board.put(&bytes);
        let found = board.state();
        assert!(found == old || found == new, "{written}: {found:?}");
        seen[usize::from(found == new)] += 1;
        board.mark(name, what);
        assert_eq!(board.state(), new, "and the next run finishes");
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    tried.cuts += 1;
    tried.states += seen[0] + seen[1];
}
