//! The service asks the real polkit: what its rules allow a user may do, everything else he may not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use support::bus::{Bus, OnBus};
use support::image;
use support::rig::{Rig, stderr, stdout};

/// `nobody`
const STRANGER: u32 = 65_534;

/// Marks are everybody's here, inspecting is left to a password that nobody can give, and
/// for installing the shipped defaults hold.
const RULES: &str = r#"
polkit.addRule(function(action, subject) {
  if (subject.user != "nobody") return polkit.Result.NOT_HANDLED;
  if (action.id == "org.slotmgr.mark") return polkit.Result.YES;
  if (action.id == "org.slotmgr.inspect") return polkit.Result.AUTH_ADMIN;
});
"#;

/// Starts polkit on the bus, with our actions and `RULES` in place of the machine's: in a mount
/// namespace of its own, since its directories are built in.
fn polkit(bus: &Bus, dir: &Path) -> OnBus {
    let (actions, rules) = (dir.join("actions"), dir.join("rules"));
    for made in [&actions, &rules] {
        fs_err::create_dir(made).unwrap();
    }
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("dbus/org.slotmgr.policy");
    fs_err::copy(ours, actions.join("org.slotmgr.policy")).unwrap();
    fs_err::write(rules.join("10-test.rules"), RULES).unwrap();
    let script = "mount --make-rprivate / && mount --bind \"$1\" /usr/share/polkit-1/actions \
                  && mount --bind \"$2\" /etc/polkit-1/rules.d && exec /usr/lib/polkit-1/polkitd";
    let child = bus
        .command("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([&actions, &rules])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let polkit = OnBus(child);
    let wait = ["wait", "--session", "--timeout=30"];
    let waited = bus
        .command("gdbus")
        .args(wait)
        .arg("org.freedesktop.PolicyKit1")
        .status();
    assert!(
        waited.unwrap().success(),
        "polkitd (Debian's package `polkitd`) runs"
    );
    polkit
}

fn as_stranger(bus: &Bus, method: &str, arguments: &[&str]) -> Output {
    let mut command: Command = bus.command("setpriv");
    command
        .args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
        .args(["--clear-groups", "gdbus", "call", "--session", "-d"])
        .args(["de.pengutronix.rauc", "-o", "/", "-m"])
        .arg(format!("de.pengutronix.rauc.Installer.{method}"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn what_polkit_allows_is_done_and_nothing_else() {
    let made = tempfile::tempdir().unwrap();
    let manifest = "[update]\ncompatible=board\nversion=2\n[image.rootfs]\nfilename=r.img\n";
    let (bundle, keyring) = support::bundle_with(made.path(), manifest, &[("r.img", &image(2))]);
    let rig = Rig::new(&image(1), &keyring);
    let dir = rig.dir.path();
    let open = |path: &Path, mode| {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(dir, 0o755);
    let bus = Bus::start(dir);
    open(&dir.join("bus"), 0o777);
    let polkit = polkit(&bus, dir);
    let _daemon = bus.serve(&rig);
    let path = bundle.to_str().unwrap();

    let marked = as_stranger(&bus, "Mark", &["bad", "rootfs.1"]);
    assert!(marked.status.success(), "{}", stderr(&marked));
    assert!(stdout(&marked).contains("rootfs.1"));

    let before = rig.snapshot();
    for (method, arguments) in [
        ("InstallBundle", vec![path, "{}"]),
        ("InspectBundle", vec![path, "{}"]),
    ] {
        let refused = as_stranger(&bus, method, &arguments);
        let said = stderr(&refused);
        assert!(said.contains("AccessDenied"), "{method}: {said}");
        assert!(said.contains("polkit says no"), "{method}: {said}");
    }
    assert_eq!(rig.snapshot().b, before.b, "nothing was written");

    // Polkit gone, what it allowed is gone with it.
    drop(polkit);
    let refused = as_stranger(&bus, "Mark", &["bad", "rootfs.1"]);
    assert!(
        stderr(&refused).contains("no polkit to ask"),
        "{}",
        stderr(&refused)
    );
}
