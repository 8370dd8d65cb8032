//! `slotmgr write-slot`: one image into one slot, with the care of an installation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::PathBuf;

use serde_json::Value;
use slotmgr::boot::{Mark, Standing};
use slotmgr::install::LocalImage;
use slotmgr::storage::Area;
use slotmgr::storage::sim::{Keep, World};
use support::cuts::{Tried, cut_everywhere};
use support::labs::{self, Lab};
use support::loops::{Loop, run};
use support::rig::{Rig, stderr, stdout};
use support::{
    BOTH_GOOD, bundle_file, environment, image, layout, local_image, slot_id, write_slot_on,
};

/// A machine with two good systems, of which B was installed; and an image for it.
fn rig() -> (Rig, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, keyring) = bundle_file(dir.path(), &image(2), "2");
    let rig = Rig::new(&image(1), &keyring);
    let output = rig.run(&["install", bundle.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    fs_err::write(rig.path("grubenv"), environment(BOTH_GOOD)).unwrap();
    let path = rig.path("new.img");
    fs_err::write(&path, image(3)).unwrap();
    (rig, path)
}

fn status(rig: &Rig) -> Value {
    serde_json::from_slice(&rig.run(&["status", "--json"]).stdout).unwrap()
}

#[test]
fn the_slot_is_written_and_not_started_by_itself() {
    let (rig, image_path) = rig();
    let output = rig.run(&["write-slot", "rootfs.1", image_path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("slotmgr mark active rootfs.1"), "{text}");
    assert!(rig.snapshot().b.starts_with(&image(3)));
    let told = status(&rig);
    let slot = &told["slots"][1];
    assert_eq!(told["primary"], "rootfs.0");
    assert_eq!(slot["boot-status"], "bad");
    // What was known of the last update is known no more.
    assert_eq!(slot["content"], Value::Null);
    assert_eq!(told["outcome"]["state"], "none");
    let known = &slot["slot-status"];
    assert_eq!(known["status"], "ok");
    assert_eq!(known["installed.count"], "2");
    assert_eq!(known["bundle.version"], Value::Null);
    let history = stdout(&rig.run(&["history"]));
    let last = history.lines().last().unwrap();
    assert!(last.ends_with("slot rootfs.1 (B) is written"), "{history}");
    let json = rig.run(&["write-slot", "B", image_path.to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(answer["sha256"], known["sha256"]);

    let marked = rig.run(&["mark", "active", "rootfs.1"]);
    assert!(marked.status.success(), "{}", stderr(&marked));
    assert_eq!(rig.start(), "B");
}

#[test]
fn what_must_not_be_written_is_not() {
    let (rig, image_path) = rig();
    let new = image_path.to_str().unwrap();
    let large = rig.path("large.img");
    fs_err::write(&large, vec![1; support::SLOT + 1]).unwrap();
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    let more = "[slot.app.0]\ndevice=app-a\nparent=rootfs.0\n\
                [slot.spare.0]\ndevice=spare\nreadonly=true\n";
    fs_err::write(rig.path("system.conf"), conf + more).unwrap();
    for name in ["app-a", "spare"] {
        fs_err::write(rig.path(name), vec![0; support::SLOT]).unwrap();
    }
    let before = rig.snapshot();
    for (slot, file, text) in [
        ("rootfs.0", new, "is running"),
        ("A", new, "is running"),
        ("app.0", new, "belongs to the slot that runs"),
        ("spare.0", new, "readonly=true"),
        ("rootfs.7", new, "no slot is called `rootfs.7`"),
        ("rootfs.1", "/nonexistent", "cannot read the image"),
        ("rootfs.1", "/dev", "cannot read the image"),
        ("rootfs.1", large.to_str().unwrap(), "too small by 1 bytes"),
        ("rootfs.1", "new.tar", "cannot read the image"),
    ] {
        let output = rig.run(&["write-slot", slot, file]);
        assert_eq!(output.status.code(), Some(1), "{slot} {file}");
        assert!(
            stderr(&output).contains(text),
            "{slot}: {}",
            stderr(&output)
        );
    }
    let tar = rig.run(&["write-slot", "B", new, "--image-type", "tar"]);
    assert!(
        stderr(&tar).contains("images of type tar"),
        "{}",
        stderr(&tar)
    );
    let wrong = rig.run(&["write-slot", "B", new, "-t", "qcow"]);
    assert!(stderr(&wrong).contains("`qcow`"), "{}", stderr(&wrong));
    assert!(rig.snapshot() == before, "something was written");
}

#[test]
fn without_a_system_to_fall_back_to_nothing_is_written() {
    let (rig, image_path) = rig();
    let variables = "ORDER=B A,A_OK=0,A_TRY=0,B_OK=1,B_TRY=0";
    fs_err::write(rig.path("grubenv"), environment(variables)).unwrap();
    let before = rig.snapshot();
    let output = rig.run(&["write-slot", "B", image_path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(rig.snapshot() == before, "{}", stderr(&output));
}

#[test]
fn a_part_of_a_system_takes_the_system_out_of_the_boot_order() {
    let (rig, image_path) = rig();
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    let more = "[slot.app.1]\ndevice=app-b\nparent=rootfs.1\n[slot.logo.0]\ndevice=logo\n";
    fs_err::write(rig.path("system.conf"), conf + more).unwrap();
    for name in ["app-b", "logo"] {
        fs_err::write(rig.path(name), vec![0; support::SLOT]).unwrap();
    }
    let write = |slot: &str| {
        let output = rig.run(&["write-slot", slot, image_path.to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        status(&rig)["slots"][1]["boot-status"].clone()
    };
    assert_eq!(write("logo.0"), "good", "it is nobody's");
    assert_eq!(write("app.1"), "bad");
    assert!(
        fs_err::read(rig.path("app-b"))
            .unwrap()
            .starts_with(&image(3))
    );
}

#[test]
fn a_mounted_slot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_, keyring) = bundle_file(dir.path(), &image(2), "2");
    let rig = Rig::new(&image(1), &keyring);
    let device = Loop::new(dir.path(), "disk", 8 << 20);
    run("mkfs.ext4", &["-q", device.text()]);
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    fs_err::write(
        rig.path("system.conf"),
        conf.replace("slot-b", device.text()),
    )
    .unwrap();
    fs_err::write(rig.path("new.img"), image(3)).unwrap();
    let new = rig.path("new.img");
    let output = device.mounted(|_| rig.run(&["write-slot", "B", new.to_str().unwrap()]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("use"), "{}", stderr(&output));
    let output = rig.run(&["write-slot", "B", new.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(fs_err::read(&device.node).unwrap().starts_with(&image(3)));
}

/// The running system's bytes have more than one name: links, and loop devices over and under each other.
#[test]
fn the_running_slot_is_refused_by_whatever_name() {
    let dir = tempfile::tempdir().unwrap();
    let (_, keyring) = bundle_file(dir.path(), &image(2), "2");
    let rig = Rig::new(&image(1), &keyring);
    fs_err::write(rig.path("new.img"), image(3)).unwrap();
    let new = rig.path("new.img");
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    let over = Loop::over(&rig.path("slot-a"));
    let again = Loop::over(&over.node);
    std::os::unix::fs::symlink("slot-a", rig.path("link")).unwrap();
    std::os::unix::fs::symlink(&over.node, rig.path("link-to-loop")).unwrap();
    let before = rig.snapshot();
    for name in [over.text(), again.text(), "link", "link-to-loop"] {
        fs_err::write(rig.path("system.conf"), conf.replace("slot-b", name)).unwrap();
        let output = rig.run(&["write-slot", "B", new.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let said = stderr(&output);
        assert!(said.contains("are the same device"), "{name}: {said}");
        assert!(rig.snapshot() == before, "{name}");
    }
}

/// As test rigs have it: parts of one image, each by a loop device of its own.
#[test]
fn slots_that_are_parts_of_one_file_are_two() {
    let dir = tempfile::tempdir().unwrap();
    let (_, keyring) = bundle_file(dir.path(), &image(2), "2");
    let rig = Rig::new(&image(1), &keyring);
    fs_err::write(rig.path("new.img"), image(3)).unwrap();
    let disk = dir.path().join("disk");
    fs_err::File::create(&disk)
        .unwrap()
        .set_len(8 << 20)
        .unwrap();
    let part = |offset: u64| {
        let disk = disk.to_str().unwrap();
        let (offset, size) = (offset.to_string(), (4 << 20).to_string());
        let options = [
            "--find",
            "--show",
            "--offset",
            &offset,
            "--sizelimit",
            &size,
            disk,
        ];
        Loop {
            node: run("losetup", &options).into(),
        }
    };
    let (first, second) = (part(0), part(4 << 20));
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    let conf = conf
        .replace("slot-a", first.text())
        .replace("slot-b", second.text());
    fs_err::write(rig.path("system.conf"), conf).unwrap();
    let new = rig.path("new.img");
    let output = rig.run(&["write-slot", "B", new.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let disk = fs_err::read(&disk).unwrap();
    assert!(disk[4 << 20..].starts_with(&image(3)) && disk[..4 << 20].iter().all(|b| *b == 0));
}

/// Mounted by a loop device over the slot, which keeps nobody from opening it.
#[test]
fn a_slot_that_is_mounted_through_a_loop_device_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_, keyring) = bundle_file(dir.path(), &image(2), "2");
    let rig = Rig::new(&image(1), &keyring);
    fs_err::write(rig.path("new.img"), image(3)).unwrap();
    let device = Loop::new(dir.path(), "disk", 8 << 20);
    run("mkfs.ext4", &["-q", device.text()]);
    let over = Loop::over(&device.node);
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    let disk = dir.path().join("disk");
    let new = rig.path("new.img");
    for name in [device.text(), disk.to_str().unwrap()] {
        fs_err::write(rig.path("system.conf"), conf.replace("slot-b", name)).unwrap();
        let output = over.mounted(|_| rig.run(&["write-slot", "B", new.to_str().unwrap()]));
        let said = stderr(&output);
        assert!(
            output.status.code() == Some(1) && said.contains("is in use"),
            "{name}: {said}"
        );
    }
}

const OLD: u8 = 1;
const OLDER: u8 = 2;
const NEW: u8 = 3;

/// Writes the image into B while A runs; whether that ended well.
fn write_b(lab: &Lab, world: &World, new: &LocalImage) -> bool {
    let env = (lab.env)(world);
    let slots = ("A", "B");
    write_slot_on(&layout(), env.as_ref(), &mut world.clone(), slots, new).is_ok()
}

/// The running slot is as it was, and what is started is whole: A, or B as long as nobody touched it.
fn check_after_cut(lab: &Lab, found: &World) -> String {
    let holds = |name, seed| found.holds(Area::Slot(slot_id(&layout(), name)), &image(seed));
    let name = (lab.boot)(&found.power_on(Keep::None));
    let name = name.unwrap_or_else(|| panic!("{}: nothing is started by the rules", lab.name));
    assert!(holds("A", OLD), "{}: A was touched", lab.name);
    let whole = name == "A" || holds("B", OLDER);
    assert!(whole, "{}: B is started, and is not whole", lab.name);
    name
}

/// With every bootloader: before a cut in it B was the one to start, and was good. Afterwards B is
/// started only if nothing of it was written; the next run finishes, and leaves B out.
#[test]
fn the_power_fails_at_every_operation_and_again_in_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let new = local_image(dir.path(), &image(NEW));
    for lab in labs::all().into_iter().chain([labs::uboot()]) {
        let before = lab.machine(&image(OLD), &image(OLDER));
        assert!(lab.mark(&before, "B", Mark::Active) && lab.mark(&before, "B", Mark::Good));
        assert_eq!(check_after_cut(&lab, &before), "B", "{}", lab.name);
        let begin = || before.power_on(Keep::None);
        let work = |world: &World| {
            write_b(&lab, world, &new);
        };
        let (mut tried, mut second, mut untouched) = (Tried::default(), Tried::default(), 0);
        cut_everywhere(&begin, &work, &mut tried, &mut |found, (cut, keep)| {
            untouched += u32::from(check_after_cut(&lab, found) == "B");
            if !matches!(keep, Keep::None) {
                return;
            }
            let again = || found.power_on(Keep::None);
            if cut % 4 == 0 {
                second.recoveries += 1;
                cut_everywhere(&again, &work, &mut second, &mut |found, _| {
                    check_after_cut(&lab, found);
                });
            }
            let next = again();
            assert!(write_b(&lab, &next, &new), "{}: it finishes", lab.name);
            assert_eq!(check_after_cut(&lab, &next), "A", "{}", lab.name);
            assert_eq!(lab.standing(&next, "B"), Standing::Bad, "{}", lab.name);
            assert!(next.holds(Area::Slot(slot_id(&layout(), "B")), &image(NEW)));
        });
        assert!(untouched > 0, "{}: B is never started", lab.name);
        tried.add(&second);
        tried.report(&format!("{}, write-slot over an older release", lab.name));
    }
}
