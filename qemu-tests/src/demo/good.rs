//! The good update: from version 1 in slot A to version 2 in slot B.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::parts::Parts;
use super::session::{Identity, Session};
use super::{Stage, TRIES};
use crate::cache::remove;
use crate::disk::{Disk, GRUBENV};
use crate::grub;
use crate::machine::{Setup, Watchdog, new_dir};
use crate::rootfs::App;

/// What a good run leaves behind.
pub struct Finished {
    /// The machine's disk.
    pub disk: Disk,
    /// What happened.
    pub words: String,
}

/// The disk of a good run with just these parts, if there was one.
///
/// # Errors
/// A part cannot be made or read.
pub fn finished(stage: &Stage<'_>, parts: &Parts<'_>) -> Result<Option<Disk>> {
    let (v1, v2) = (parts.image(1, App::Healthy)?, parts.image(2, App::Healthy)?);
    let inputs = parts.inputs(&[&v1, &v2])?.hex();
    let same = fs_err::read_to_string(mark(stage)).is_ok_and(|made_of| made_of == inputs);
    Ok(same.then(|| Disk {
        path: dir(stage).join("disk.img"),
    }))
}

/// Makes the machine anew and lets it update itself.
///
/// # Errors
/// Something does not happen as it should.
pub fn run(stage: &Stage<'_>, parts: &Parts<'_>) -> Result<Finished> {
    let v1 = parts.image(1, App::Healthy)?;
    let v2 = parts.image(2, App::Healthy)?;
    let bundle = parts.bundle(2, &v2)?;
    let dir = new_dir(&dir(stage))?;
    remove(&mark(stage))?;
    let disk = parts.factory_disk(&v1, &dir.join("disk.img"))?;
    let log = stage.workspace.demo_dir().join("console-good.log");
    let setup = Setup {
        dir: &dir,
        disk: &disk.path,
        log: &log,
        network: None,
        watchdog: Watchdog::None,
    };

    let mut session = stage
        .progress
        .section("start the machine: version 1 in slot A", || {
            Session::start(stage, &parts.www(), &setup, &Identity::new("A", 1))
        })?;
    stage.progress.section(
        "install version 2, over the network, while version 1 runs",
        || {
            session.run("slotmgr status")?;
            session.install(&bundle)?;
            session.run("slotmgr status")
        },
    )?;
    let lines = stage.progress.section("restart: GRUB tries slot B", || {
        let lines = session.restart(1, &Identity::new("B", 2))?;
        session.run("slotmgr status")?;
        session.power_off()?;
        Ok(lines)
    })?;

    let counted = format!("slotmgr-grub: slot B, tries left {}", TRIES - 1);
    ensure!(
        lines.contains(&counted),
        "GRUB did not count the try: no line {counted:?}"
    );
    let environment = grub::environment(&disk.read_esp(GRUBENV)?)?;
    let value = |name: &str| environment.get(name).map(String::as_str);
    ensure!(
        value("ORDER") == Some("B A")
            && value("B_OK") == Some("1")
            && value("B_TRY") == Some("0")
            && value("B_LEFT") == Some("good"),
        "slot B is not confirmed in GRUB's environment: {environment:?}"
    );
    fs_err::write(mark(stage), parts.inputs(&[&v1, &v2])?.hex())?;
    let words = "\
Done. The machine ran version 1 from slot A, installed version 2 into slot B from a signed
bundle, started it on trial (GRUB counted the try), found it healthy and confirmed it.
From now on it starts version 2 from slot B; version 1 is still in slot A."
        .to_owned();
    Ok(Finished { disk, words })
}

fn dir(stage: &Stage<'_>) -> PathBuf {
    stage.workspace.demo_dir().join("machine")
}

/// Says what the disk was made of; there only after a run that went well.
fn mark(stage: &Stage<'_>) -> PathBuf {
    stage.workspace.demo_dir().join("machine.inputs")
}
