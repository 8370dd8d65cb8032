//! Bootloaders that are reached through a program or through files: RAUC's protocol for custom
//! ones, `barebox-state`, efivarfs, and the Raspberry Pi's `autoboot.txt`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slotmgr::boot::barebox::{Barebox, StateName};
use slotmgr::boot::custom::Custom;
use slotmgr::boot::efi::vars::{EfiVarFs, EfiVars};
use slotmgr::boot::efi::{Activate, Efi, Firmware, place};
use slotmgr::boot::noop::Noop;
use slotmgr::boot::program::{Program, ProgramError};
use slotmgr::boot::tryboot::{FirmwareFiles, Tryboot};
use slotmgr::boot::{self, BootEnv, BootError, BootState, Mark, Standing, Tries};
use slotmgr::program::End;
use slotmgr::slot::{BootName, Booted, Layout, Slot};
use slotmgr::storage::record::RecordingDisks;
use slotmgr::storage::sim::{Keep, World};
use slotmgr::storage::{Area, Disks, EnvCopy};
use support::cuts::{ByProgram, Tried, cut_everywhere, cut_installation_by, cut_twice};
use support::rig::{Rig, stderr, stdout};
use support::{booted, bundle, bundle_file, image, layout, policy, slot_id};

const GOOD: Standing = Standing::Good;
const ON_TRIAL: Standing = Standing::Trial { left: 1 };

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs_err::write(self.path(name), text).unwrap();
    }

    fn get(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// What was called since the last look.
    fn calls(&self) -> String {
        let calls = self.get("calls");
        self.put("calls", "");
        calls
    }

    /// A shell script that writes its calls down first. `D` is this directory.
    fn program(&self, body: &str) -> Program {
        let path = self.path("program");
        let dir = self.0.path().display();
        let text = format!("#!/bin/sh\nset -eu\nD={dir}\necho \"$*\" >>$D/calls\n{body}\n");
        fs_err::write(&path, text).unwrap();
        let mut mode = fs_err::metadata(&path).unwrap().permissions();
        mode.set_mode(0o755);
        fs_err::set_permissions(&path, mode).unwrap();
        Program {
            path,
            limit: Duration::from_secs(20),
        }
    }
}

/// A program of an integrator's, as RAUC's documentation asks for it.
const HANDLER: &str = r#"
case "$1" in
get-primary) cat $D/primary ;;
set-primary) echo "$2" >$D/primary; echo "${KNOWS:-good}" >$D/state.$2 ;;
get-state) cat $D/state.$2 ;;
set-state) echo "$3" >$D/state.$2 ;;
get-current) echo A ;;
*) echo "no such verb" >&2; exit 1 ;;
esac"#;

fn custom(handler: &str) -> (Place, Custom) {
    let place = Place::new();
    place.put("primary", "A");
    place.put("state.A", "good");
    place.put("state.B", "good");
    let program = place.program(handler);
    let custom = Custom::new(&layout(), program);
    (place, custom)
}

fn read(env: &dyn BootEnv) -> Result<BootState, BootError> {
    env.read(&mut World::new())
}

fn mark(env: &dyn BootEnv, name: &str, mark: Mark) -> Result<(), BootError> {
    let layout = layout();
    let what = (mark, Tries::new(3).unwrap());
    boot::mark(
        env,
        &mut World::new(),
        &layout,
        slot_id(&layout, name),
        what,
    )
}

fn standings(env: &dyn BootEnv) -> [Standing; 2] {
    let (state, layout) = (read(env).unwrap(), layout());
    ["A", "B"].map(|name| state.standing(slot_id(&layout, name)))
}

fn installed(env: &dyn BootEnv) -> bool {
    let mut world = support::world(&image(1), &image(2), "");
    let bundle = bundle(&image(3), "3");
    let what = (&bundle, &policy());
    support::install_by(env, &mut world, "A", what).is_ok()
}

#[test]
fn an_installation_in_raucs_protocol() {
    let (place, custom) = custom(&HANDLER.replace("${KNOWS:-good}", "${SLOTMGR_PROTOCOL:+trial}"));
    assert_eq!(custom.current("").unwrap().as_deref(), Some("A"));
    assert_eq!(standings(&custom), [GOOD, GOOD]);
    place.calls();
    assert!(installed(&custom));
    insta::assert_snapshot!(place.calls(), @r"
    get-primary
    get-state A
    get-state B
    set-state B bad
    get-state B
    set-primary B
    get-primary
    ");
    assert_eq!(standings(&custom), [GOOD, ON_TRIAL]);
    place.calls();
    let layout = layout();
    boot::confirm(&custom, &mut World::new(), support::booted(&layout, "B")).unwrap();
    insta::assert_snapshot!(place.calls(), @r"
    set-state B good
    get-state B
    ");
    assert_eq!(standings(&custom), [GOOD, GOOD]);
    assert_eq!(
        read(&custom).unwrap().primary(),
        Some(slot_id(&layout, "B"))
    );
    place.calls();
    boot::confirm_alone(&custom, &mut World::new(), support::booted(&layout, "B")).unwrap();
    insta::assert_snapshot!(place.calls(), @r"
    set-state B good
    set-state A bad
    get-state B
    ");
    assert_eq!(standings(&custom), [Standing::Bad, GOOD]);
}

/// The writes of an installation are cut, one by one.
#[test]
fn an_installation_with_a_custom_program_cut_everywhere() {
    let make = || {
        let (place, custom) = custom(HANDLER);
        let next = Box::new(move || place.get("primary").trim().to_owned());
        let env = Box::new(custom);
        ByProgram { env, next }
    };
    cut_installation_by(&make).report("custom, installation");
}

/// So are the calls: the power goes before one does its work, or after it. `D/cut` says at which.
const CUT_HANDLER: &str = r#"
n=$(( $(cat $D/count) + 1 )); echo $n >$D/count
read -r when at <$D/cut
if [ $n -gt $at ] || { [ $n = $at ] && [ $when = before ]; }; then exit 1; fi
HANDLER
if [ $n = $at ]; then exit 1; fi"#;

#[test]
fn every_call_of_a_custom_program_cut_before_and_after() {
    let (place, env) = custom(&CUT_HANDLER.replace("HANDLER", HANDLER));
    let bundle = bundle(&image(3), "3");
    let install = |world: &World, cut: &str| {
        place.put("count", "0");
        place.put("cut", &format!("{cut}\n"));
        let what = (&bundle, &policy());
        support::install_by(&env, &mut world.clone(), "A", what).is_ok()
    };
    let start = || {
        place.put("primary", "A");
        place.put("state.A", "good");
        place.put("state.B", "good");
        support::world(&image(1), &image(2), "")
    };
    assert!(install(&start(), "after 1000"));
    let calls: u32 = place.get("count").trim().parse().unwrap();
    let slot = |name| Area::Slot(slot_id(&layout(), name));
    let mut armed = 0;
    for (call, when) in (1..=calls).flat_map(|call| [(call, "before"), (call, "after")]) {
        let world = start();
        install(&world, &format!("{when} {call}"));
        let found = world.power_on(Keep::None);
        let state = |name: &str| place.get(&format!("state.{name}")).trim().to_owned();
        assert_eq!(state("A"), "good", "{when} {call}");
        if place.get("primary").trim() == "B" {
            armed += 1;
            assert!(found.holds(slot("B"), &image(3)), "{when} {call}");
        } else {
            assert!(found.holds(slot("A"), &image(1)), "{when} {call}");
            let other = found.holds(slot("B"), &image(2)) || state("B") == "bad";
            assert!(other, "{when} {call}: B is half written and not condemned");
            assert!(install(&found, "after 1000"), "the next run finishes");
            assert_eq!(place.get("primary").trim(), "B");
        }
    }
    assert!(armed > 0 && armed < 2 * calls, "{armed} of {calls} calls");
}

/// The same for each verb: primary and the states of A and B from before it to after it, and nothing
/// else may be found.
#[test]
fn every_verb_of_a_custom_program_cut_before_and_after_each_call() {
    type Verb = fn(&dyn BootEnv) -> Result<(), BootError>;
    let confirm: Verb = |env| boot::confirm(env, &mut World::new(), booted(&layout(), "B"));
    let alone: Verb = |env| boot::confirm_alone(env, &mut World::new(), booted(&layout(), "B"));
    // Never both bad: the others are given up when the running one is good.
    let given_up = ["B good bad", "B good good", "B bad good"];
    let verbs: [(&[&str], Verb); 5] = [
        (&["A good good", "A good bad"], |env| {
            mark(env, "B", Mark::Bad)
        }),
        (&["A good bad", "B good bad"], |env| {
            mark(env, "B", Mark::Active)
        }),
        (&["A good bad", "A good good"], |env| {
            mark(env, "B", Mark::Good)
        }),
        (&["B good bad", "B good good"], confirm),
        (&given_up, alone),
    ];
    let (place, env) =
        custom(&CUT_HANDLER.replace("HANDLER", &HANDLER.replace("${KNOWS:-good}", "bad")));
    let names = ["primary", "state.A", "state.B"];
    let memory = || {
        names
            .map(|name| place.get(name).trim().to_owned())
            .join(" ")
    };
    let mut tried = Tried::default();
    for (states, verb) in verbs {
        let (old, new) = (states[0], states[states.len() - 1]);
        let run = |cut: &str| {
            place.put("count", "0");
            place.put("cut", &format!("{cut}\n"));
            verb(&env)
        };
        let restore = || {
            for (name, value) in names.into_iter().zip(old.split(' ')) {
                place.put(name, value);
            }
        };
        restore();
        run("after 1000").unwrap();
        assert_eq!(memory(), new, "from {old}");
        let calls: u32 = place.get("count").trim().parse().unwrap();
        let mut seen = BTreeSet::new();
        for (call, when) in (1..=calls).flat_map(|call| [(call, "before"), (call, "after")]) {
            restore();
            let _ = run(&format!("{when} {call}"));
            seen.insert(memory());
            tried.states += 1;
            run("after 1000").unwrap();
            assert_eq!(memory(), new, "{old}, {when} {call}: the next run finishes");
        }
        tried.cuts += u64::from(calls);
        let states: BTreeSet<String> = states.iter().map(|state| (*state).to_owned()).collect();
        assert_eq!(seen, states);
    }
    tried.report("custom, each call of each verb");
}

#[test]
fn a_primary_that_is_still_bad_is_on_trial() {
    let (_place, custom) = custom(&HANDLER.replace("${KNOWS:-good}", "bad"));
    mark(&custom, "B", Mark::Active).unwrap();
    assert_eq!(standings(&custom), [GOOD, ON_TRIAL]);
}

#[test]
fn programs_that_break_the_protocol() {
    let message = |handler: &str| {
        let (_place, custom) = custom(handler);
        match read(&custom).unwrap_err() {
            BootError::Program(error) => error.to_string(),
            other => panic!("{other}"),
        }
    };
    let text = message("exit 3");
    assert!(
        text.contains("get-primary` failed with exit code 3"),
        "{text}"
    );
    let text = message("echo no >&1; echo the device is gone >&2; exit 1");
    assert!(text.ends_with(": the device is gone"), "{text}");
    assert!(message("echo C").contains("answered `C`"));
    assert!(message("case $1 in get-primary) echo A;; *) echo maybe;; esac").contains("`maybe`"));
    assert!(message("yes A | head -c 1000000").contains("answered"));
    let (place, _) = custom(HANDLER);
    let slow = Program {
        limit: Duration::from_millis(200),
        ..place.program("sleep 1000 & sleep 1000")
    };
    let slow = Custom::new(&layout(), slow);
    assert!(matches!(
        read(&slow),
        Err(BootError::Program(ProgramError::Failed {
            end: End::TimedOut(_),
            ..
        }))
    ));
    let gone = Program {
        path: "/no/such/program".into(),
        limit: Duration::from_secs(1),
    };
    let gone = Custom::new(&layout(), gone);
    assert!(matches!(
        read(&gone),
        Err(BootError::Program(ProgramError::Failed {
            end: End::NotRun(_),
            ..
        }))
    ));
}

#[test]
fn a_program_that_says_yes_and_does_nothing_is_found_out() {
    let (_place, custom) =
        custom(&HANDLER.replace("set-state) echo \"$3\" >$D/state.$2", "set-state) :"));
    assert!(matches!(
        mark(&custom, "B", Mark::Bad),
        Err(BootError::ReadBack)
    ));
    assert!(
        !installed(&custom),
        "nothing is written into a slot that may still be started"
    );
}

#[test]
fn noop_changes_nothing_and_knows_nothing() {
    assert!(matches!(read(&Noop), Err(BootError::NoMemory)));
    mark(&Noop, "B", Mark::Active).unwrap();
    assert!(installed(&Noop), "as with RAUC");
}

/// `barebox-state`, with its variables in a file.
const BAREBOX: &str = r#"
new=$D/state.new
cp $D/state $new
while [ $# -gt 0 ]; do
  case "$1" in
  -n | -i) shift ;;
  -g) shift; grep "^$1=" $new | cut -d= -f2 ;;
  -s) shift; grep -v "^${1%%=*}=" $new >$new.2 || :; echo "$1" >>$new.2; mv $new.2 $new ;;
  *) echo "unknown option $1" >&2; exit 1 ;;
  esac
  shift
done
mv $new $D/state"#;

#[test]
fn barebox_in_raucs_numbers() {
    let place = Place::new();
    place.put(
        "state",
        "bootstate.A.priority=20\nbootstate.A.remaining_attempts=3\n\
         bootstate.B.priority=10\nbootstate.B.remaining_attempts=3\n",
    );
    let name = StateName {
        state: Some("state".to_owned()),
        dtb: Some("/boot/board.dtb".into()),
    };
    let program = place.program(BAREBOX);
    let barebox = Barebox::new(&layout(), program, name, Tries::new(3).unwrap());
    for (cmdline, expected) in [
        ("bootchooser.active=B bootstate.active=A", Some("A")),
        ("quiet bootchooser.active=B", Some("B")),
        ("bootstate.active= quiet", None),
    ] {
        assert_eq!(barebox.current(cmdline).unwrap().as_deref(), expected);
    }
    let changes = || -> String {
        let calls = place.calls();
        calls
            .lines()
            .filter(|call| call.contains(" -s "))
            .map(|call| format!("{call}\n"))
            .collect()
    };
    assert_eq!(standings(&barebox), [GOOD, GOOD]);
    assert!(installed(&barebox));
    insta::assert_snapshot!(changes(), @r"
    -n state -i /boot/board.dtb -s bootstate.B.priority=0 -s bootstate.B.remaining_attempts=0
    -n state -i /boot/board.dtb -s bootstate.A.priority=10 -s bootstate.B.priority=20 -s bootstate.B.remaining_attempts=2
    ");
    let layout = layout();
    assert_eq!(standings(&barebox), [GOOD, Standing::Trial { left: 2 }]);
    assert_eq!(
        read(&barebox).unwrap().primary(),
        Some(slot_id(&layout, "B"))
    );
    boot::confirm(&barebox, &mut World::new(), support::booted(&layout, "B")).unwrap();
    insta::assert_snapshot!(changes(), @"-n state -i /boot/board.dtb -s bootstate.B.remaining_attempts=3");
    boot::confirm(&barebox, &mut World::new(), support::booted(&layout, "B")).unwrap();
    assert_eq!(changes(), "", "equal content writes nothing");
    mark(&barebox, "B", Mark::Bad).unwrap();
    mark(&barebox, "A", Mark::Active).unwrap();
    insta::assert_snapshot!(changes(), @r"
    -n state -i /boot/board.dtb -s bootstate.B.priority=0 -s bootstate.B.remaining_attempts=0
    -n state -i /boot/board.dtb -s bootstate.A.priority=20
    ");
    place.put("state", "bootstate.A.priority=x\n");
    assert!(matches!(
        read(&barebox),
        Err(BootError::Program(ProgramError::Answer { .. }))
    ));
}

/// Debian's program takes the options that we give it, as far as it can be asked without a device
/// tree of a board.
/// `prevent-late-fallback`: one call of the program, which writes its state once.
#[test]
fn barebox_confirms_and_gives_up_in_one_call() {
    let place = Place::new();
    place.put(
        "state",
        "bootstate.A.priority=10\nbootstate.A.remaining_attempts=3\n\
         bootstate.B.priority=20\nbootstate.B.remaining_attempts=1\n",
    );
    let name = StateName {
        state: None,
        dtb: None,
    };
    let program = place.program(BAREBOX);
    let barebox = Barebox::new(&layout(), program, name, Tries::new(3).unwrap());
    let layout = layout();
    let confirm_alone = || {
        boot::confirm_alone(&barebox, &mut World::new(), booted(&layout, "B")).unwrap();
        let calls = place.calls();
        let changes = calls.lines().filter(|call| call.contains("-s "));
        changes.map(|call| format!("{call}\n")).collect::<String>()
    };
    assert_eq!(standings(&barebox), [GOOD, ON_TRIAL]);
    insta::assert_snapshot!(confirm_alone(), @"-s bootstate.A.priority=0 -s bootstate.A.remaining_attempts=0 -s bootstate.B.remaining_attempts=3");
    assert_eq!(standings(&barebox), [Standing::Bad, GOOD]);
    assert_eq!(confirm_alone(), "", "equal content writes nothing");
}

#[test]
fn the_real_barebox_state_knows_these_options() {
    let output = std::process::Command::new("barebox-state")
        .arg("--help")
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    for option in ["-g, --get", "-s, --set", "-n, --name", "-i, --input"] {
        assert!(text.contains(option), "{option}: {text}");
    }
}

const GUID: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// efivarfs takes each write as the whole new content; a plain file keeps what is behind it.
struct LikeEfivarfs(EfiVarFs);

impl EfiVars for LikeEfivarfs {
    fn names(&self) -> Result<Vec<String>, BootError> {
        self.0.names()
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, BootError> {
        self.0.read(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), BootError> {
        self.0.remove(name)?;
        self.0.write(name, content)
    }

    fn remove(&self, name: &str) -> Result<(), BootError> {
        self.0.remove(name)
    }
}

fn like_efivarfs(place: &Place) -> LikeEfivarfs {
    LikeEfivarfs(EfiVarFs {
        root: place.0.path().to_owned(),
    })
}

/// Whose partitions are not to be found.
fn firmware(vars: LikeEfivarfs) -> Firmware {
    let locate = place::of_device;
    let vars = Box::new(vars);
    Firmware { vars, locate }
}

fn efivars(place: &Place) -> LikeEfivarfs {
    let variable = |name: &str, content: &[u8]| {
        let bytes = [&7_u32.to_le_bytes()[..], content].concat();
        fs_err::write(place.path(&format!("{name}-{GUID}")), bytes).unwrap();
    };
    variable("Boot0001", &support::nvram::option("A"));
    variable("Boot0002", &support::nvram::option("B"));
    variable("BootOrder", &[1, 0, 2, 0]);
    variable("BootCurrent", &[1, 0]);
    variable("Boot00zz", b"no number");
    fs_err::write(
        place.path("Lang-00000000-0000-0000-0000-000000000000"),
        b"x",
    )
    .unwrap();
    like_efivarfs(place)
}

#[test]
fn variables_in_efivarfs() {
    let place = Place::new();
    let vars = efivars(&place);
    let env = Efi::new(&layout(), firmware(efivars(&place)), Activate::Once);
    assert_eq!(standings(&env), [GOOD, GOOD]);
    assert_eq!(env.current("").unwrap().as_deref(), Some("A"));
    assert!(installed(&env));
    let raw = |name: &str| fs_err::read(place.path(&format!("{name}-{GUID}"))).ok();
    assert_eq!(raw("BootOrder"), Some(vec![7, 0, 0, 0, 1, 0]));
    assert_eq!(raw("BootNext"), Some(vec![7, 0, 0, 0, 2, 0]));
    vars.remove("BootNext").unwrap();
    vars.remove("BootNext").unwrap();
    assert_eq!(raw("BootNext"), None);
    assert!(vars.read("BootNext").unwrap().is_none());
    // What efivarfs keeps of a variable that the firmware has refused.
    fs_err::write(place.path(&format!("Boot0009-{GUID}")), "").unwrap();
    assert!(vars.read("Boot0009").unwrap().is_none());
    assert!(
        EfiVarFs {
            root: "/no/such/directory".into()
        }
        .names()
        .is_err()
    );
}

#[test]
fn entries_that_the_firmware_would_pass_over_are_none() {
    let place = Place::new();
    let vars = efivars(&place);
    for broken in [
        &[][..],
        &[0; 6],
        b"\0\0\0\0\x04\0B\0\0\0\x7f\xff\x04\0",
        b"\x01\0\0\0\xff\xffB\0\0\0",
    ] {
        vars.write("Boot0002", broken).unwrap();
        let env = Efi::new(&layout(), firmware(like_efivarfs(&place)), Activate::Once);
        assert_eq!(standings(&env), [GOOD, Standing::Bad]);
        // Already before the slot is written: nobody could start it afterwards.
        for what in [Mark::Bad, Mark::Active, Mark::Good] {
            let refused = mark(&env, "B", what);
            assert!(matches!(refused, Err(BootError::NoEntry { .. })));
        }
        assert!(!installed(&env));
        assert!(!place.path(&format!("BootNext-{GUID}")).exists());
    }
}

/// The firmware of a disk whose second partition holds the slots' programs.
fn known_partition(place: &Place) -> Firmware {
    let world = slotmgr::storage::sim::World::new();
    Firmware {
        vars: Box::new(like_efivarfs(place)),
        ..support::nvram::firmware(&world)
    }
}

/// What efibootmgr shows of the variables in a folder.
fn efibootmgr(place: &Place) -> String {
    // With a slash at the end, it takes the folder for an efivarfs.
    let folder = format!("{}/", place.0.path().display());
    let mut command = std::process::Command::new("efibootmgr");
    let output = command.arg("-v").env("EFIVARFS_PATH", folder).output();
    let output = output.expect("efibootmgr is needed: cargo xtask packages");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_entry_that_the_firmware_has_lost_is_made_anew_under_a_number_that_nothing_names() {
    let place = Place::new();
    let vars = efivars(&place);
    vars.remove("Boot0002").unwrap();
    let layout = support::nvram::layout_with_entries();
    let env = || Efi::new(&layout, known_partition(&place), Activate::Once);
    assert_eq!(standings(&env()), [GOOD, Standing::Bad]);
    mark(&env(), "B", Mark::Bad).unwrap();
    assert!(vars.read("Boot0002").unwrap().is_none(), "BootOrder has it");
    let made = vars.read("Boot0000").unwrap().unwrap();
    assert_eq!(
        standings(&env()),
        [GOOD, Standing::Bad],
        "it starts nothing"
    );

    mark(&env(), "B", Mark::Active).unwrap();
    assert_eq!(vars.read("BootNext").unwrap(), Some(vec![0, 0]));
    mark(&env(), "B", Mark::Good).unwrap();
    assert_eq!(standings(&env()), [GOOD, GOOD]);
    assert_eq!(
        vars.read("Boot0000").unwrap(),
        Some(made),
        "it is made once"
    );
    let said = efibootmgr(&place);
    let path = "HD(2,GPT,5b193300-fc78-40cd-8002-e86c45580b47,0x800,0x14000)/File(\\linux.efi)";
    let line = said.lines().find(|line| line.starts_with("Boot0000* B"));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains(path), "{said}");
    assert!(said.contains("BootOrder: 0000,0001"), "{said}");
}

#[test]
fn a_lost_entry_of_a_partition_that_is_not_found_stops_an_installation_before_it_writes() {
    let place = Place::new();
    let vars = efivars(&place);
    vars.remove("Boot0002").unwrap();
    let layout = support::nvram::layout_with_entries();
    let env = Efi::new(&layout, firmware(like_efivarfs(&place)), Activate::Once);
    let before = efibootmgr(&place);
    assert!(matches!(
        mark(&env, "B", Mark::Bad),
        Err(BootError::EntryPlace { .. })
    ));
    assert_eq!(efibootmgr(&place), before);
}

/// A Raspberry Pi with partitions 2 and 3.
fn pi() -> Layout {
    let slots = layout();
    let slots = slots.iter().zip(["2", "3"]).map(|((_, slot), name)| Slot {
        boot_name: Some(BootName::parse(name).unwrap()),
        ..slot.clone()
    });
    Layout::new(slots.collect()).unwrap()
}

fn autoboot(all: u8, tryboot: u8) -> Vec<u8> {
    format!("[all]\ntryboot_a_b=1\nboot_partition={all}\n[tryboot]\nboot_partition={tryboot}\n")
        .into_bytes()
}

const AUTOBOOT: Area = Area::BootEnv(EnvCopy::First);

fn firmware_files(place: &Path) -> FirmwareFiles {
    FirmwareFiles {
        tryboot: place.join("tryboot"),
        partition: place.join("partition"),
        reboot_parameter: place.join("run/reboot-param"),
    }
}

/// `prevent-late-fallback`: the two digits change places in one sector.
#[test]
fn tryboot_confirms_and_gives_up_in_one_write() {
    let (place, layout) = (Place::new(), pi());
    let world = World::new();
    world.add(AUTOBOOT, autoboot(2, 3));
    fs_err::write(place.path("tryboot"), [0, 0, 0, 1]).unwrap();
    fs_err::write(place.path("partition"), [0, 0, 0, 3]).unwrap();
    let env = Tryboot::new(&layout, firmware_files(place.0.path()));
    let recorded = || {
        let mut world = world.clone();
        let mut disks = RecordingDisks::new(&mut world);
        let log = disks.log();
        boot::confirm_alone(&env, &mut disks, booted(&layout, "3")).unwrap();
        log.render()
    };
    insta::assert_snapshot!(recorded(), @r"
    write     boot-env @0 +64
    sync      boot-env
    read-back boot-env
    ");
    assert_eq!(world.current(AUTOBOOT), autoboot(3, 2));
    assert_eq!(recorded(), "", "equal content writes nothing");
}

#[test]
fn tryboot_from_arm_to_confirmation() {
    let (place, layout) = (Place::new(), pi());
    let world = World::new();
    world.add(AUTOBOOT, autoboot(2, 3));
    let env = Tryboot::new(&layout, firmware_files(place.0.path()));
    let standings = || {
        let state = env.read(&mut world.clone()).unwrap();
        (
            ["2", "3"].map(|name| state.standing(slot_id(&layout, name))),
            state.primary(),
        )
    };
    let (old, new) = (slot_id(&layout, "2"), slot_id(&layout, "3"));
    let mark = |slot, mark| {
        let what = (mark, Tries::new(3).unwrap());
        boot::mark(&env, &mut world.clone(), &layout, slot, what).unwrap();
    };
    assert_eq!(standings(), ([GOOD, Standing::Bad], Some(old)));
    mark(new, Mark::Bad);
    assert_eq!(
        world.operations(),
        0,
        "what is in [tryboot] is not started by itself"
    );
    mark(new, Mark::Active);
    assert_eq!(place.get("run/reboot-param"), "0 tryboot");
    assert_eq!(standings(), ([GOOD, ON_TRIAL], Some(new)));
    // The restart: /run is empty, the firmware says what it did.
    fs_err::remove_file(place.path("run/reboot-param")).unwrap();
    fs_err::write(place.path("tryboot"), [0, 0, 0, 1]).unwrap();
    fs_err::write(place.path("partition"), [0, 0, 0, 3]).unwrap();
    assert_eq!(
        standings(),
        ([GOOD, Standing::Trial { left: 0 }], Some(old))
    );

    let confirm = |world: &World| {
        boot::confirm(&env, &mut world.clone(), support::booted(&layout, "3")).unwrap();
    };
    confirm(&world);
    assert_eq!(world.current(AUTOBOOT), autoboot(3, 2));
    assert_eq!(standings(), ([Standing::Bad, GOOD], Some(new)));
    let operations = world.operations();
    confirm(&world);
    assert_eq!(
        world.operations(),
        operations,
        "equal content writes nothing"
    );
    mark(new, Mark::Bad);
    assert_eq!(world.current(AUTOBOOT), autoboot(2, 3));
}

/// A cut in the confirmation ends the trial, if the digits are the old ones. Then there is another
/// trial, with a confirmation that is cut as well.
#[test]
fn tryboot_confirmations_cut_everywhere() {
    type Verb = fn(&dyn BootEnv, &mut dyn Disks, Booted) -> Result<(), BootError>;
    let (place, layout) = (Place::new(), pi());
    let env = Tryboot::new(&layout, firmware_files(place.0.path()));
    let start = || {
        let world = World::new();
        world.add(AUTOBOOT, autoboot(2, 3));
        world
    };
    // What the firmware tells of the system that it has started.
    let started = |partition: u8, flag: bool| {
        fs_err::write(place.path("partition"), [0, 0, 0, partition]).unwrap();
        fs_err::write(place.path("tryboot"), [0, 0, 0, u8::from(flag)]).unwrap();
    };
    let confirmed = |world: &World| {
        let now = world.current(AUTOBOOT);
        assert!(now == autoboot(2, 3) || now == autoboot(3, 2), "{now:?}");
        now == autoboot(3, 2)
    };
    for (name, verb) in [
        ("confirmation", boot::confirm as Verb),
        ("confirmation alone", boot::confirm_alone),
    ] {
        let mut tried = Tried::default();
        let confirm_in_trial = |world: &World| {
            started(3, !confirmed(world));
            verb(&env, &mut world.clone(), booted(&layout, "3")).is_ok()
        };
        let work = |world: &World| {
            confirm_in_trial(world);
        };
        let mut ends = [0, 0];
        cut_twice(&start, &work, &work, &mut tried, &mut |found| {
            let new = confirmed(found);
            ends[usize::from(new)] += 1;
            // The power has come back: the flag is gone, and [all] is started, which is good.
            let running = if new { "3" } else { "2" };
            started(if new { 3 } else { 2 }, false);
            let state = env.read(&mut found.clone()).unwrap();
            assert_eq!(state.primary(), Some(slot_id(&layout, running)));
            assert_eq!(state.standing(slot_id(&layout, running)), GOOD);
            let operations = found.operations();
            verb(&env, &mut found.clone(), booted(&layout, running)).unwrap();
            assert_eq!(found.operations(), operations, "nothing is to be changed");
            assert!(confirm_in_trial(found) && confirmed(found), "it finishes");
        });
        assert!(ends.iter().all(|count| *count > 0), "{ends:?}");
        tried.report(&format!("tryboot, {name}"));
    }
}

/// Nothing that does not run is called good: it would be started from then on, untried.
#[test]
fn tryboot_calls_only_what_runs_good() {
    let (place, layout) = (Place::new(), pi());
    let world = World::new();
    world.add(AUTOBOOT, autoboot(2, 3));
    let env = Tryboot::new(&layout, firmware_files(place.0.path()));
    let good = |name| {
        let what = (Mark::Good, Tries::DEFAULT);
        let slot = slot_id(&layout, name);
        boot::mark(&env, &mut world.clone(), &layout, slot, what)
    };
    let refused = |name| {
        let error = good(name).unwrap_err();
        assert!(matches!(error, BootError::Tryboot(_)), "{error}");
        assert_eq!(world.operations(), 0);
    };
    // The firmware says nothing, or that the other one runs.
    refused("3");
    fs_err::write(place.path("partition"), [0, 0, 0, 2]).unwrap();
    refused("3");
    good("2").unwrap();
    assert_eq!(world.operations(), 0, "it is started already");
    // Started by hand, without the flag: it runs.
    fs_err::write(place.path("partition"), [0, 0, 0, 3]).unwrap();
    good("3").unwrap();
    assert_eq!(world.current(AUTOBOOT), autoboot(3, 2));
}

/// Each verb from each state, its writes cut, and those of the next run. What was asked of the restart
/// is gone with the power: the firmware starts what stands under [all].
#[test]
fn tryboot_cut_everywhere() {
    let layout = pi();
    let (bundle, slot) = (bundle(&image(3), "3"), |name| slot_id(&layout, name));
    let mut tried = Tried::default();
    let all = |world: &World| {
        let text = String::from_utf8(world.current(AUTOBOOT)).unwrap();
        let after = text.split_once("boot_partition=").unwrap().1;
        after[..1].to_owned()
    };
    for (runs, name, what) in [
        (2, "3", Mark::Bad),
        (2, "3", Mark::Active),
        (2, "2", Mark::Bad),
        (3, "3", Mark::Good),
        (3, "3", Mark::Bad),
        (3, "2", Mark::Active),
    ] {
        let place = Place::new();
        fs_err::write(place.path("partition"), [0, 0, 0, runs]).unwrap();
        fs_err::write(place.path("tryboot"), [0, 0, 0, u8::from(runs == 3)]).unwrap();
        let env = Tryboot::new(&layout, firmware_files(place.0.path()));
        let start = || {
            let world = World::new();
            world.add(AUTOBOOT, autoboot(2, 3));
            world
        };
        let work = |world: &World| {
            let what = (what, Tries::DEFAULT);
            let _ = boot::mark(&env, &mut world.clone(), &layout, slot(name), what);
        };
        let whole = start();
        work(&whole);
        let (old, new) = (all(&start()), all(&whole));
        // Giving up what stands under [all] again would give up the other one.
        let again = |world: &World| {
            if all(world) == old {
                work(world);
            }
        };
        cut_twice(&start, &work, &again, &mut tried, &mut |found| {
            let now = all(found);
            assert!(now == old || now == new, "{now}");
            again(found);
            assert_eq!(all(found), new);
        });
    }

    let place = Place::new();
    let env = Tryboot::new(&layout, firmware_files(place.0.path()));
    let start = || {
        let world = support::world(&image(1), &image(2), "");
        world.add(AUTOBOOT, autoboot(2, 3));
        world
    };
    let install = |world: &World| {
        support::install_on(&layout, &env, &mut world.clone(), "2", (&bundle, &policy())).is_ok()
    };
    let work = |world: &World| {
        install(world);
    };
    // What was armed is gone with the power.
    let check = |found: &World| {
        let _ = std::fs::remove_file(place.path("run/reboot-param"));
        assert_eq!(all(found), "2");
        assert!(found.holds(Area::Slot(slot("2")), &image(1)));
    };
    let mut second = Tried::default();
    cut_everywhere(&start, &work, &mut tried, &mut |found, (cut, keep)| {
        check(found);
        if matches!(keep, Keep::None) && cut % 3 == 0 {
            second.recoveries += 1;
            let again = || found.power_on(Keep::None);
            cut_everywhere(&again, &work, &mut second, &mut |found, _| check(found));
            assert!(install(found), "the next run finishes");
            assert!(found.holds(Area::Slot(slot("3")), &image(3)));
            assert_eq!(place.get("run/reboot-param"), "0 tryboot");
        }
    });
    tried.add(&second);
    tried.report("tryboot, marks and installation");
}

/// `slotmgr write-slot`, when the slot was armed before: the restart is not asked for it any more.
#[test]
fn a_slot_written_with_tryboot_cut_everywhere() {
    let (place, layout) = (Place::new(), pi());
    let new = support::local_image(place.0.path(), &image(3));
    let env = Tryboot::new(&layout, firmware_files(place.0.path()));
    let holds =
        |world: &World, name, seed| world.holds(Area::Slot(slot_id(&layout, name)), &image(seed));
    let start = || {
        let world = support::world(&image(1), &image(2), "");
        world.add(AUTOBOOT, autoboot(2, 3));
        world
    };
    let write = |world: &World| {
        let what = (Mark::Active, Tries::DEFAULT);
        let armed = slot_id(&layout, "3");
        boot::mark(&env, &mut world.clone(), &layout, armed, what).unwrap();
        assert_eq!(place.get("run/reboot-param"), "0 tryboot");
        support::write_slot_on(&layout, &env, &mut world.clone(), ("2", "3"), &new).is_ok()
    };
    let work = |world: &World| {
        write(world);
        let asked = place.path("run/reboot-param").exists();
        let untouched = holds(world, "3", 2);
        assert!(
            !asked || untouched,
            "a restart would try what is half written"
        );
    };
    let check = |found: &World| {
        assert_eq!(found.current(AUTOBOOT), autoboot(2, 3));
        assert!(holds(found, "2", 1), "the running slot was touched");
    };
    let (mut tried, mut second) = (Tried::default(), Tried::default());
    cut_everywhere(&start, &work, &mut tried, &mut |found, (cut, keep)| {
        check(found);
        if matches!(keep, Keep::None) && cut % 4 == 0 {
            second.recoveries += 1;
            let again = || found.power_on(Keep::None);
            cut_everywhere(&again, &work, &mut second, &mut |found, _| check(found));
            assert!(
                write(found) && holds(found, "3", 3),
                "the next run finishes"
            );
        }
    });
    tried.add(&second);
    tried.report("tryboot, write-slot");
}

/// The machine of files, with another bootloader.
fn rig(bootloader: &str, more: &str) -> (tempfile::TempDir, PathBuf, Rig) {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, keyring) = bundle_file(dir.path(), &image(3), "3");
    let rig = Rig::new(&image(1), &keyring);
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    let conf = conf.replace("bootloader=grub\ngrubenv=grubenv", bootloader) + more;
    fs_err::write(rig.path("system.conf"), conf).unwrap();
    (dir, bundle, rig)
}

fn run(rig: &Rig, slot: &str, arguments: &[&str]) -> String {
    let output = rig.run_on(slot, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    stdout(&output)
}

#[test]
fn the_program_with_a_custom_bootloader() {
    let (place, _) = custom(&HANDLER.replace("${KNOWS:-good}", "${SLOTMGR_PROTOCOL:+trial}"));
    let backend = place.path("program").display().to_string();
    let handlers = format!("[handlers]\nbootloader-custom-backend={backend}\n");
    let (_dir, bundle, rig) = rig("bootloader=custom", &handlers);
    run(&rig, "A", &["install", bundle.to_str().unwrap()]);
    assert_eq!(place.get("primary"), "B\n");
    assert!(run(&rig, "B", &["trial"]).contains("rootfs.1 is confirmed"));
    assert_eq!(place.get("state.B"), "good\n");
    run(&rig, "B", &["status"]);
    run(&rig, "B", &["mark", "bad", "other"]);
    assert_eq!(place.get("state.A"), "bad\n");
}

#[test]
fn the_program_with_priorities_that_sgdisk_reads() {
    let (_dir, bundle, rig) = rig("bootloader=gpt-priority\ngpt-disk=disk.img", "");
    let disk = rig.path("disk.img");
    std::fs::File::create(&disk)
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    let sgdisk = |arguments: &[&str]| {
        let output = std::process::Command::new("sgdisk")
            .args(arguments)
            .arg(&disk)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stdout(&output));
        stdout(&output)
    };
    sgdisk(&[
        "-a",
        "1",
        "-n",
        "2:100:+64K",
        "-c",
        "2:A",
        "-n",
        "7:300:+64K",
        "-c",
        "7:B",
    ]);
    sgdisk(&[
        "-A", "2:set:56", "-A", "2:set:48", "-A", "7:set:52", "-A", "7:set:60",
    ]);
    let flags = |number: &str| {
        let info = sgdisk(&["-i", number]);
        let line = info
            .lines()
            .find(|line| line.starts_with("Attribute flags"))
            .unwrap();
        line.to_owned()
    };
    assert_eq!(flags("2"), "Attribute flags: 0101000000000000");
    run(&rig, "A", &["install", bundle.to_str().unwrap()]);
    assert_eq!(
        flags("7"),
        "Attribute flags: 1032000000000000",
        "priority 2, three tries"
    );
    run(&rig, "B", &["trial"]);
    assert_eq!(
        flags("7"),
        "Attribute flags: 1102000000000000",
        "successful"
    );
    assert_eq!(
        flags("2"),
        "Attribute flags: 0101000000000000",
        "the old system stays"
    );
    assert!(sgdisk(&["-v"]).contains("No problems found"));
    let before = fs_err::read(&disk).unwrap();
    run(&rig, "B", &["trial"]);
    assert!(
        fs_err::read(&disk).unwrap() == before,
        "an ordinary start writes nothing"
    );
    // Whose bits would be changed?
    sgdisk(&["-a", "1", "-n", "9:600:+64K", "-c", "9:B"]);
    let before = fs_err::read(&disk).unwrap();
    let refused = rig.run_on("A", &["mark", "bad", "other"]);
    let text = stderr(&refused);
    assert!(
        text.contains("more than one partition that is called B"),
        "{text}"
    );
    assert!(fs_err::read(&disk).unwrap() == before);
}

/// A pipe where `grubenv` should be: whoever opens it to read waits for a writer, for ever.
#[test]
fn an_environment_that_is_no_file_ends_with_an_error() {
    let (_dir, _bundle, rig) = rig("bootloader=grub\ngrubenv=odd", "");
    let odd = rig.path("odd");
    let made = [
        vec!["mkfifo", "odd"],
        vec!["mkdir", "odd"],
        vec!["ln", "-s", "/dev/null", "odd"],
        vec!["ln", "-s", "nowhere", "odd"],
    ];
    for command in made {
        support::run(
            std::process::Command::new(command[0])
                .args(&command[1..])
                .current_dir(rig.dir.path()),
        );
        for arguments in [&["status"][..], &["mark", "bad", "other"], &["trial"]] {
            let slotmgr = rig.command("A", arguments);
            let mut limited = std::process::Command::new("timeout");
            limited
                .arg("20")
                .arg(slotmgr.get_program())
                .args(slotmgr.get_args());
            let output = limited.output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{command:?} {arguments:?}");
        }
        match odd.is_dir() {
            true => fs_err::remove_dir(&odd).unwrap(),
            false => fs_err::remove_file(&odd).unwrap(),
        }
    }
}

#[test]
fn the_program_with_noop() {
    let (_dir, bundle, rig) = rig("bootloader=noop", "");
    run(&rig, "A", &["install", bundle.to_str().unwrap()]);
    let told = stderr(&rig.run(&["status"]));
    assert!(told.contains("bootloader=noop remembers nothing"), "{told}");
    // As with RAUC the mark itself succeeds; that nothing came of it is told.
    for state in ["good", "bad", "active"] {
        let told = run(&rig, "A", &["mark", state, "booted"]);
        assert!(told.contains("decided elsewhere"), "{told}");
    }
}

/// The program that we ship to begin with.
#[test]
fn the_shipped_program_speaks_the_protocol() {
    let place = Place::new();
    for (name, text) in [
        ("primary", "A\n"),
        ("state.A", "good\n"),
        ("state.B", "good\n"),
    ] {
        place.put(name, text);
    }
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("bootloader/custom-backend.sh");
    let program = place.program(&format!("STATE=$D exec {} \"$@\"", shipped.display()));
    let custom = Custom::new(&layout(), program);
    assert_eq!(standings(&custom), [GOOD, GOOD]);
    assert!(installed(&custom));
    assert_eq!(standings(&custom), [GOOD, ON_TRIAL]);
    mark(&custom, "B", Mark::Good).unwrap();
    mark(&custom, "A", Mark::Bad).unwrap();
    assert_eq!(standings(&custom), [Standing::Bad, GOOD]);
}
