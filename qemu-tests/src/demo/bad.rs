//! The bad update: version 3 is broken; the machine must come back to version 2 by itself.

use anyhow::{Result, ensure};

use super::parts::Parts;
use super::session::{Identity, Session};
use super::{Stage, TRIES};
use crate::disk::{Disk, GRUBENV};
use crate::grub;
use crate::machine::{Setup, Watchdog, new_dir};
use crate::rootfs::App;

/// Installs version 3 on a copy of the disk `before`, on which a good run ended. Returns what
/// happened.
///
/// # Errors
/// Something does not happen as it should.
pub fn run(stage: &Stage<'_>, parts: &Parts<'_>, before: &Disk) -> Result<String> {
    let v3 = parts.image(3, App::Misconfigured)?;
    let bundle = parts.bundle(3, &v3)?;
    let dir = new_dir(&stage.workspace.demo_dir().join("machine-bad"))?;
    let disk = before.copy_to(&dir.join("disk.img"))?;
    let log = stage.workspace.demo_dir().join("console-bad.log");
    let setup = Setup {
        dir: &dir,
        disk: &disk.path,
        log: &log,
        network: None,
        watchdog: Watchdog::None,
    };

    let mut session = stage
        .progress
        .section("start the machine: version 2 in slot B", || {
            Session::start(stage, &parts.www(), &setup, &Identity::new("B", 2))
        })?;
    stage.progress.section(
        "install version 3, over the network, while version 2 runs",
        || {
            session.run("slotmgr status")?;
            session.install(&bundle)?;
            session.run("slotmgr status")
        },
    )?;
    let what = "restart: version 3 fails its check, until GRUB returns to slot B";
    let lines = stage.progress.section(what, || {
        // Version 3 as often as it has tries, then version 2.
        let lines = session.restart(3, &Identity::new("B", 2))?;
        session.run("slotmgr status")?;
        session.power_off()?;
        Ok(lines)
    })?;

    let tried = count(&lines, "slotmgr-demo: started slot=A version=3");
    ensure!(
        tried == TRIES,
        "version 3 was started {tried} times, but it has {TRIES} tries"
    );
    let kept = count(&lines, "slotmgr-demo: ready slot=A");
    ensure!(
        kept == 0,
        "version 3 reached its shell: its trial did not end in a restart"
    );
    let environment = grub::environment(&disk.read_esp(GRUBENV)?)?;
    let value = |name: &str| environment.get(name).map(String::as_str);
    ensure!(
        value("B_OK") == Some("1") && value("B_LEFT") == Some("good"),
        "slot B is not confirmed any more in GRUB's environment: {environment:?}"
    );
    ensure!(
        value("A_OK") != Some("1") || value("A_TRY") == Some("1"),
        "slot A may be started once more by GRUB's environment: {environment:?}"
    );
    Ok(format!(
        "\
Done. The machine ran version 2 from slot B and installed version 3 into slot A. Version 3 was
started {tried} times; its health check failed each time, because its settings have a mistake.
The machine came back to version 2 in slot B by itself, and nobody had to touch it."
    ))
}

fn count(lines: &[String], beginning: &str) -> usize {
    lines
        .iter()
        .filter(|line| line.starts_with(beginning))
        .count()
}
