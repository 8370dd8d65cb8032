//! What Debian's `rauc` 1.8 does not have, or cannot do here: artifact repositories in the status,
//! settings on the command line, and a bundle that is mounted without a device mapper.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::OURS;
use support::machine::{Machine, err, out};

const HERE: &str = "-c system.conf --override-boot-slot A";

/// A machine with a repository that holds one artifact in two versions, and with an empty one.
fn with_repositories() -> Machine {
    let machine = Machine::with(
        "[artifacts.files]\npath=files\ntype=files\n\
         [artifacts.trees]\npath=trees\ntype=trees\ndescription=Web pages\n",
    );
    for name in ["files", "trees"] {
        fs_err::create_dir(machine.path(name)).unwrap();
    }
    for digit in ["1", "2"] {
        let name = format!("files/.artifact-app-{}", digit.repeat(64));
        fs_err::write(machine.path(&name), digit).unwrap();
    }
    let link = format!(".artifact-app-{}", "2".repeat(64));
    std::os::unix::fs::symlink(link, machine.path("files/app")).unwrap();
    machine
}

fn status(machine: &Machine, line: &str) -> String {
    let output = machine.run(OURS, &format!("status {line}"));
    assert!(output.status.success(), "{}", err(&output));
    out(&output)
}

#[test]
fn repositories_are_shown_with_and_without_a_service() {
    let machine = with_repositories();
    let formats = ["readable", "shell", "json", "json-pretty"];
    let shown = |global: &str| {
        formats.map(|format| status(&machine, &format!("{global} --output-format={format}")))
    };
    let alone = shown(HERE);
    let service = machine.serve(OURS);
    let told = shown("");
    drop(service);
    assert_eq!(told, alone);

    let [readable, shell, line, pretty] = alone;
    let path = |name: &str| machine.path(name).display().to_string();
    let expected = format!(
        "=== Artifact Repo States ===\n\
         [files] ({})\n  type: files\n  artifacts:\n    [app]\n\
         \x20     checksum: {}\n        inactive\n      checksum: {}\n        active\n\n\
         [trees] ({})\n  type: trees\n  artifacts: (none)\n\n",
        path("files"),
        "1".repeat(64),
        "2".repeat(64),
        path("trees"),
    );
    let plain = ["\x1b[1m", "\x1b[0m"]
        .iter()
        .fold(readable, |text, code| text.replace(code, ""));
    assert!(plain.contains(&expected), "{plain}");

    for wanted in [
        "RAUC_REPO_NAME_1='files'",
        "RAUC_REPO_TYPE_2='trees'",
        "RAUC_REPO_ARTIFACT_NAME_1_1='app'",
        "RAUC_REPO_ARTIFACT_INSTANCE_ACTIVE_1_1_1='0'",
        "RAUC_REPO_ARTIFACT_INSTANCE_ACTIVE_1_1_2='1'",
        "RAUC_REPO_ARTIFACT_INSTANCES_1_1='1 2'",
        "RAUC_REPO_ARTIFACTS_1='1'",
        "RAUC_REPO_ARTIFACTS_2=''",
        "RAUC_REPOS='1 2'",
    ] {
        assert!(
            shell.lines().any(|line| line == wanted),
            "{wanted}: {shell}"
        );
    }

    let repositories = json!([
        {
            "name": "files", "path": path("files"), "type": "files",
            "artifacts": [{"name": "app", "instances": [
                {"checksum": "1".repeat(64), "references": []},
                {"checksum": "2".repeat(64), "references": [""]},
            ]}],
        },
        {
            "name": "trees", "description": "Web pages", "path": path("trees"), "type": "trees",
            "artifacts": [],
        },
    ]);
    for text in [line, pretty] {
        let status: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status["artifact-repositories"], repositories);
    }
}

#[test]
fn settings_of_the_command_line_take_the_place_of_the_files() {
    let machine = Machine::new();
    let text = status(&machine, &format!("{HERE} -C system:compatible=another"));
    assert!(text.contains("Compatible:  another\n"), "{text}");
    let wrong = machine.run(OURS, "status -C compatible=another");
    assert!(!wrong.status.success());
    assert!(err(&wrong).contains("SECTION:KEY=VALUE"), "{}", err(&wrong));
    let unknown = machine.run(OURS, &format!("status {HERE} -C system:compatibel=another"));
    assert!(!unknown.status.success());
    assert!(err(&unknown).contains("compatibel"), "{}", err(&unknown));
}

#[test]
fn a_checked_bundle_is_mounted() {
    let machine = Machine::new();
    let bundle = machine.bundle("3");
    // Nobody else may be able to change it.
    let mounted = machine.run(OURS, &format!("mount -c system.conf --mount=here {bundle}"));
    assert!(mounted.status.success(), "{}", err(&mounted));
    let at = machine.path("here/bundle");
    let unmount = || Command::new("umount").arg(&at).status().unwrap().success();
    let text = out(&mounted);
    let content = fs_err::read(at.join("rootfs.img"));
    let again = machine.run(OURS, &format!("mount -c system.conf --mount=here {bundle}"));
    assert!(unmount());
    assert!(text.contains(&at.display().to_string()), "{text}");
    assert_eq!(content.unwrap(), vec![7; 100_000]);
    assert!(!again.status.success());
    assert!(err(&again).contains("umount"), "{}", err(&again));
}

#[test]
fn a_damaged_bundle_is_not_mounted() {
    let machine = Machine::new();
    let bundle = machine.bundle("3");
    let mut bytes = fs_err::read(machine.path(&bundle)).unwrap();
    bytes[100] ^= 1;
    fs_err::write(machine.path(&bundle), bytes).unwrap();
    let refused = machine.run(OURS, &format!("mount -c system.conf --mount=here {bundle}"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("damaged"), "{}", err(&refused));
    assert!(!machine.path("here/bundle").exists());
}
