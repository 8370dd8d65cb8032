//! `rauc status`, `mark-*`, `install` and `service` beside Debian's `rauc` 1.8.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::Path;
use std::process::{Output, Stdio};

use support::machine::{Machine, Running, err, out};
use support::{OURS, THEIRS};

#[test]
fn status_of_one_service_is_shown_byte_for_byte_as_rauc_shows_it() {
    let machine = Machine::new();
    let _service = machine.serve(THEIRS);
    for line in [
        "status",
        "status --detailed",
        "status --output-format=shell",
        "status --output-format=shell --detailed",
        "status --output-format=json",
        "status --output-format=json --detailed",
        "status --detailed --output-format json-pretty",
    ] {
        let (theirs, ours) = (machine.run(THEIRS, line), machine.run(OURS, line));
        assert_eq!(out(&ours), out(&theirs), "{line}: {}", err(&ours));
        assert_eq!(ours.status.code(), theirs.status.code(), "{line}");
    }
    for line in [
        "status --output-format=xml",
        "status mark-fine",
        "status mark-good nothing",
    ] {
        let (theirs, ours) = (machine.run(THEIRS, line), machine.run(OURS, line));
        assert_eq!(ours.status.code(), theirs.status.code(), "{line}");
        assert_eq!(out(&ours), out(&theirs), "{line}");
        assert!(!err(&ours).is_empty(), "{line}");
    }
}

#[test]
fn both_services_answer_our_client_alike() {
    let lines = |program: &str| {
        let machine = Machine::new();
        let _service = machine.serve(program);
        let mut lines = Vec::new();
        for line in ["status --output-format=json --detailed", "status mark-good"] {
            let output = machine.run(OURS, line);
            let text = out(&output).replace(&machine.path("").display().to_string(), "");
            lines.push((text, output.status.code()));
        }
        lines
    };
    let (theirs, ours) = (lines(THEIRS), lines(OURS));
    let slots = |text: &str| {
        let status: serde_json::Value = serde_json::from_str(text).unwrap();
        let mut slots = status["slots"].as_array().unwrap().clone();
        slots.sort_by_key(ToString::to_string);
        (
            status["booted"].clone(),
            status["boot_primary"].clone(),
            slots,
        )
    };
    assert_eq!(slots(&ours[0].0), slots(&theirs[0].0));
    assert_eq!(ours[1], theirs[1]);
}

#[test]
fn without_a_service_the_work_is_done_here() {
    let machine = Machine::new();
    let mine = "-c system.conf --override-boot-slot A";
    let status = machine.run(OURS, &format!("status {mine} --output-format=json"));
    assert!(status.status.success(), "{}", err(&status));
    assert!(
        out(&status).contains("\"boot_primary\":\"rootfs.0\""),
        "{}",
        out(&status)
    );

    let bundle = machine.bundle("3");
    let installed = machine.run(OURS, &format!("install {mine} {bundle}"));
    let text = out(&installed);
    assert!(installed.status.success(), "{text}{}", err(&installed));
    assert!(text.starts_with("installing\n  0% Installing\n"), "{text}");
    assert!(
        text.ends_with("100% Installing done.\nInstalling `3.raucb` succeeded\n"),
        "{text}"
    );
    assert!(
        fs_err::read(machine.path("b.img"))
            .unwrap()
            .starts_with(&[7; 100_000])
    );
    let detailed = machine.run(
        OURS,
        &format!("status {mine} --output-format=shell --detailed"),
    );
    for line in [
        "RAUC_BOOT_PRIMARY='rootfs.1'\n",
        "RAUC_SLOT_STATUS_BUNDLE_VERSION_2='3'\n",
        "RAUC_SLOT_STATUS_STATUS_2='ok'\n",
        // Newer than 1.8.
        "RAUC_SLOT_STATUS_BUNDLE_HASH_2='",
    ] {
        assert!(
            out(&detailed).contains(line),
            "{line} is not in {}",
            out(&detailed)
        );
    }

    let marked = machine.run(OURS, &format!("status mark-active booted {mine}"));
    assert_eq!(
        out(&marked),
        "rauc status: activated slot rootfs.0\n",
        "{}",
        err(&marked)
    );
    assert!(
        machine.grubenv().contains("ORDER=A B"),
        "{}",
        machine.grubenv()
    );
}

#[test]
fn what_fails_has_raucs_exit_code() {
    let machine = Machine::new();
    fs_err::write(machine.path("bad.raucb"), vec![9; 50_000]).unwrap();
    let before = fs_err::read(machine.path("b.img")).unwrap();
    let line = "install -c system.conf --override-boot-slot A bad.raucb";
    let here = machine.run(OURS, line);
    let _service = machine.serve(OURS);
    let through = machine.run(OURS, "install bad.raucb");
    let theirs = machine.run(THEIRS, "install bad.raucb");
    for output in [&here, &through, &theirs] {
        assert_eq!(
            output.status.code(),
            Some(1),
            "{}{}",
            out(output),
            err(output)
        );
        assert!(out(output).contains("100% Installing failed.\nLastError: the bundle "));
        assert!(
            err(output).ends_with("bad.raucb` failed\n"),
            "{}",
            err(output)
        );
    }
    assert!(fs_err::read(machine.path("b.img")).unwrap() == before);
}

#[test]
fn the_command_line_of_a_test_rig_is_believed() {
    let machine = Machine::new();
    let status = |cmdline: &str| {
        let output = machine
            .command(OURS)
            .args(["status", "-c", "system.conf", "--output-format=json"])
            .env("RAUC_TEST_CMDLINE", cmdline)
            .env("RAUC_TEST_RUNTIME_DIRECTORY", machine.path("run"))
            .output()
            .unwrap();
        out(&output) + &err(&output)
    };
    assert!(status("quiet rauc.slot=B").contains("\"booted\":\"B\""));
    assert!(status("root=/dev/x rauc.slot=A").contains("\"booted\":\"A\""));
    let unknown = status("quiet");
    assert!(unknown.contains("slot"), "{unknown}");
}

#[test]
fn where_nothing_is_remembered_the_slots_are_shown_all_the_same() {
    let machine = Machine::new();
    let conf = fs_err::read_to_string(machine.path("system.conf")).unwrap();
    let lines = conf.lines().filter(|line| !line.starts_with("grubenv"));
    let conf: Vec<&str> = lines.collect();
    let conf = conf
        .join("\n")
        .replace("bootloader=grub", "bootloader=noop");
    fs_err::write(machine.path("system.conf"), conf).unwrap();
    let line = "status -c system.conf --override-boot-slot A --output-format=json";
    let status = machine.run(OURS, line);
    assert!(status.status.success(), "{}", err(&status));
    let text = out(&status);
    assert!(text.contains("\"boot_primary\":null"), "{text}");
    assert!(text.contains("\"boot_status\":null"), "{text}");
    assert!(text.contains("\"booted\":\"A\""), "{text}");
}

#[test]
fn the_real_program_is_where_debian_has_it() {
    assert!(
        Path::new(THEIRS).exists(),
        "Debian's package `rauc` is needed"
    );
}

/// What is not RAUC's to decide differently: arguments, exit codes, standard output, the slot's bytes.
#[test]
fn write_slot_beside_raucs() {
    let machine = Machine::new();
    fs_err::write(machine.path("new.img"), vec![3; 5000]).unwrap();
    fs_err::write(machine.path("large.img"), vec![3; 200_001]).unwrap();
    fs_err::write(machine.path("new.tar"), vec![0; 1024]).unwrap();
    let conf = fs_err::read_to_string(machine.path("system.conf")).unwrap();
    fs_err::write(machine.path("ro.img"), vec![0xee; 9000]).unwrap();
    let here = machine.path("");
    let here = here.display();
    let more = format!("[slot.spare.0]\ndevice={here}/ro.img\nreadonly=true\n");
    fs_err::write(machine.path("system.conf"), conf + &more).unwrap();
    let run = |program: &str, line: &str| {
        let mut command = machine.command(program);
        command.env("RAUC_TEST_CMDLINE", "rauc.slot=A");
        command
            .args(["-c", "system.conf"])
            .args(line.split_whitespace());
        command.output().unwrap()
    };
    for line in [
        "write-slot",
        "write-slot rootfs.1",
        "write-slot rootfs.1 new.img more",
        "write-slot rootfs.9 new.img",
        "write-slot rootfs.1 nothing.img",
        "write-slot rootfs.1 new.tar",
        "write-slot spare.0 new.img",
        "write-slot appfs.1 new.img",
        "write-slot rootfs.1 new.img",
    ] {
        let content = |program: &str| {
            for name in ["b.img", "d.img"] {
                fs_err::write(machine.path(name), vec![0xee; 200_000]).unwrap();
            }
            let output = run(program, line);
            let slots = ["b.img", "d.img"].map(|name| fs_err::read(machine.path(name)).unwrap());
            (output, slots)
        };
        let ((theirs, their_slots), (ours, our_slots)) = (content(THEIRS), content(OURS));
        assert_eq!(
            ours.status.code(),
            theirs.status.code(),
            "{line}: {}",
            err(&ours)
        );
        assert_eq!(out(&ours), out(&theirs), "{line}");
        assert!(our_slots == their_slots, "{line}");
        // The last line says what is wrong.
        let said = err(&theirs);
        let known = ["must be provided", "Excess", "No matching", "Reject"];
        if let Some(reason) = said
            .lines()
            .rfind(|l| known.iter().any(|word| l.contains(word)))
        {
            assert!(err(&ours).contains(reason), "{line}: {}", err(&ours));
        }
    }
    // Where RAUC writes, and should not.
    for line in [
        "write-slot rootfs.0 new.img",
        "write-slot rootfs.1 large.img",
    ] {
        let refused = run(OURS, line);
        assert_eq!(refused.status.code(), Some(1), "{line}");
    }
    assert!(fs_err::read(machine.path("a.img")).unwrap() == vec![0xee; 200_000]);
}

/// Debian's `rauc` takes no command line from the environment: it gets a machine of its own, by name.
#[test]
fn a_system_from_outside_is_shown_as_rauc_shows_it() {
    let machine = Machine::new();
    fs_err::write(machine.path("cmdline"), "quiet rauc.external\n").unwrap();
    let script = "mount --bind cmdline /proc/cmdline; exec /usr/bin/rauc -c system.conf service";
    let service = machine
        .command("unshare")
        .args(["--mount", "sh", "-c", script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _service = Running(service);
    let waited = machine.run("gdbus", "wait --session --timeout=30 de.pengutronix.rauc");
    assert!(waited.status.success(), "rauc service did not start");
    for line in [
        "status",
        "status --output-format=shell",
        "status --output-format=json",
        "status mark-good",
        "status mark-active other",
    ] {
        let (theirs, ours) = (machine.run(THEIRS, line), machine.run(OURS, line));
        assert_eq!(out(&ours), out(&theirs), "{line}: {}", err(&ours));
        assert_eq!(ours.status.code(), theirs.status.code(), "{line}");
    }
    // The same machine without a service, and what both tell of it.
    let lines = |output: &Output| {
        let text = out(output);
        let slots = |line: &&str| !line.contains("_SLOT_") && !line.contains("_SLOTS=");
        text.lines()
            .filter(slots)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let theirs = machine.run(THEIRS, "status --output-format=shell");
    let here = machine
        .command(OURS)
        .args(["status", "-c", "system.conf", "--output-format=shell"])
        .env("RAUC_TEST_CMDLINE", "quiet rauc.external")
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
        .output()
        .unwrap();
    assert_eq!(lines(&here), lines(&theirs), "{}", err(&here));
    assert!(!out(&here).contains("='booted'") && !out(&here).contains("='active'"));
    let line = "status mark-active rootfs.0";
    let (theirs, ours) = (machine.run(THEIRS, line), machine.run(OURS, line));
    assert_eq!(out(&ours), out(&theirs), "{}", err(&ours));
}

/// A folder for a bundle with one image, and a program that it brings along.
fn input(machine: &Machine, name: &str, script: &str, sections: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let input = machine.path(name);
    fs_err::create_dir(&input).unwrap();
    fs_err::write(input.join("rootfs.img"), vec![7; 100_000]).unwrap();
    let program = input.join("program");
    let here = machine.path("");
    let text = format!("#!/bin/sh\ncd {}\n{script}\n", here.display());
    fs_err::write(&program, text).unwrap();
    fs_err::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let manifest = format!(
        "[update]\ncompatible=board\nversion=4\n[bundle]\nformat=verity\n{sections}\
         [image.rootfs]\nfilename=rootfs.img\n"
    );
    fs_err::write(input.join("manifest.raucm"), manifest).unwrap();
    let bundle = format!("{name}.raucb");
    let keys = "--cert pki/signer.cert.pem --key pki/signer.key.pem";
    let made = machine.run(OURS, &format!("bundle {keys} {name} {bundle}"));
    assert!(made.status.success(), "{}", err(&made));
    bundle
}

fn wait_for(what: &str, is_there: &dyn Fn() -> bool) {
    let seen = (0..1200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        is_there()
    });
    assert!(seen, "{what}");
}

/// RAUC 1.13 and later say 3, too; 1.8 dies of the signal.
#[test]
fn ctrl_c_ends_the_client_and_not_the_installation() {
    let machine = Machine::new();
    let script = "touch started; while [ ! -e go ]; do sleep 0.05; done";
    let hooks = "[hooks]\nfilename=program\nhooks=install-check\n";
    let bundle = input(&machine, "waiting", script, hooks);
    let _service = machine.serve(OURS);
    let mut client = machine.command(OURS);
    client.args(["install", &bundle]);
    let client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let client = client.unwrap();
    wait_for("the hook runs", &|| machine.path("started").exists());
    let id = client.id().to_string();
    assert!(machine.run("kill", &format!("-INT {id}")).status.success());
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", err(&output));
    assert!(out(&output).contains("goes on"), "{}", out(&output));
    fs_err::write(machine.path("go"), "").unwrap();
    let ended = || machine.grubenv().contains("B_OK=1");
    wait_for("the installation ends", &ended);
    let slot = fs_err::read(machine.path("b.img")).unwrap();
    assert!(slot.starts_with(&[7; 100_000]));
}

/// Split and quoted as the real 1.13 and later do it: 1.8 hands over one word.
#[test]
fn a_bundles_handler_gets_more_arguments() {
    let machine = Machine::new();
    let script = "printf '%s\\n' \"$@\" > said";
    let handler = "[handler]\nfilename=program\nargs=--one 'two three'\n";
    let bundle = input(&machine, "full", script, handler);
    let mut install = machine.command(OURS);
    install.args(["install", "-c", "system.conf", "--override-boot-slot", "A"]);
    install.args(["--handler-args", "--more \"x y\"", &bundle]);
    let output = install.output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let said = fs_err::read_to_string(machine.path("said")).unwrap();
    assert_eq!(said, "--one\ntwo three\n--more\nx y\n");
}
