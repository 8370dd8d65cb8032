//! Installing a bundle into a slot, beside the copying alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::race::Contestant;
use super::slow::SlowFile;
use super::{Bench, input, word};
use crate::command::logged;

/// Installs the same bundle as often as there are rounds, each time over another content: into a
/// file on this machine's disk, and onto a medium that writes slowly.
///
/// # Errors
/// A program fails.
pub fn measure(bench: &Bench<'_>, place: &Path) -> Result<()> {
    bench.prepare(place)?;
    let image = place.join("rootfs.img");
    let bundle = place.join("install.raucb");
    let mut create = Command::new(bench.program("bundle-tool"));
    create.arg("create").arg("--force");
    create.arg("--cert").arg(place.join("pki/signer.cert.pem"));
    create.arg("--key").arg(place.join("pki/signer.key.pem"));
    create.args(["--compatible=bench", "--version=1", "--image"]);
    create.arg(format!("rootfs={}", word(&image)?)).arg(&bundle);
    logged(&mut create, &bench.log())?;
    let other = place.join("other.img");
    input::write_image(&other, bench.amount.megabytes, 3)?;
    let home = place.join("device");
    let size = fs_err::metadata(&image)?.len();
    for name in ["a.img", "b.img"] {
        fs_err::create_dir_all(&home)?;
        fs_err::File::create(home.join(name))?.set_len(size)?;
    }
    let contest = Contest {
        bench,
        image: &image,
        bundle: &bundle,
        other: &other,
        target: &home.join("b.img"),
    };
    contest.run(&home, &home.join("b.img"), "a file")?;
    let slow = SlowFile::over(contest.target, &place.join("slow"))?;
    contest.run(&home, &slow.path, "a medium that writes slowly")
}

/// Who installs what.
struct Contest<'c> {
    bench: &'c Bench<'c>,
    image: &'c Path,
    bundle: &'c Path,
    /// What the target holds before.
    other: &'c Path,
    /// Where it holds it.
    target: &'c Path,
}

impl Contest<'_> {
    /// Beside the copying alone, onto the same target with the same content.
    fn run(&self, home: &Path, device: &Path, name: &str) -> Result<()> {
        let conf = machine(home, device)?;
        let copy = [
            format!("if={}", word(self.image)?),
            format!("of={}", word(device)?),
            "bs=1M".to_owned(),
            "conv=fsync,notrunc".to_owned(),
        ];
        let copy: Vec<&str> = copy.iter().map(String::as_str).collect();
        let (conf, bundle) = (word(&conf)?, word(self.bundle)?);
        let arguments = ["--conf", conf, "--override-boot-slot=A", "install", bundle];
        let slotmgr = self.bench.program("slotmgr");
        let anew = |contestant: Contestant| contestant.begins_as(self.other, self.target);
        let megabytes = self.bench.amount.megabytes;
        self.bench.race(
            &format!("install {megabytes} MiB into a slot ({name})"),
            &[
                anew(Contestant::new("dd bs=1M conv=fsync", "dd", &copy)),
                anew(Contestant::new("slotmgr install", slotmgr, &arguments)),
            ],
        )
    }
}

/// Two slots, an environment and a configuration, as files; B is `device`.
fn machine(home: &Path, device: &Path) -> Result<PathBuf> {
    fs_err::create_dir_all(home.join("data"))?;
    let environment = |words: &[&str]| {
        let mut command = Command::new("grub-editenv");
        command.arg(home.join("grubenv")).args(words);
        logged(&mut command, &home.join("log"))
    };
    environment(&["create"])?;
    environment(&["set", "ORDER=A B", "A_OK=1", "B_OK=1", "A_TRY=0", "B_TRY=0"])?;
    fs_err::copy(
        home.with_file_name("pki").join("keyring.pem"),
        home.join("keyring.pem"),
    )?;
    let conf = home.join("system.conf");
    let device = word(device)?;
    fs_err::write(
        &conf,
        format!(
            "[system]\ncompatible=bench\nbootloader=grub\ngrubenv=grubenv\n\
             data-directory=data\n\n[keyring]\npath=keyring.pem\n\n\
             [slot.rootfs.0]\ndevice=a.img\ntype=raw\nbootname=A\n\n\
             [slot.rootfs.1]\ndevice={device}\ntype=raw\nbootname=B\n"
        ),
    )?;
    Ok(conf)
}
