//! Installing a bundle into a slot, beside the copying alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::race::Contestant;
use super::{Bench, word};
use crate::command::logged;

/// Installs the same bundle as often as there are rounds, each time into the same slot.
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
    let rig = Rig::make(place, fs_err::metadata(&image)?.len())?;

    let copy = [
        format!("if={}", word(&image)?),
        format!("of={}", word(&rig.copy)?),
        "bs=1M".to_owned(),
        "conv=fsync,notrunc".to_owned(),
    ];
    let copy: Vec<&str> = copy.iter().map(String::as_str).collect();
    let conf = word(&rig.conf)?;
    let install = [
        "--conf",
        conf,
        "--override-boot-slot",
        "A",
        "install",
        word(&bundle)?,
    ];
    let megabytes = bench.amount.megabytes;
    bench.race(
        &format!("install {megabytes} MiB into a slot (a file)"),
        &[
            Contestant::new("dd bs=1M conv=fsync", "dd", &copy),
            Contestant::new("slotmgr install", bench.program("slotmgr"), &install),
        ],
    )
}

/// Two slots, an environment and a configuration, as files.
struct Rig {
    conf: PathBuf,
    copy: PathBuf,
}

impl Rig {
    fn make(place: &Path, size: u64) -> Result<Self> {
        let home = place.join("device");
        fs_err::create_dir_all(home.join("data"))?;
        for name in ["a.img", "b.img", "copy.img"] {
            let file = fs_err::File::create(home.join(name))?;
            file.set_len(size)?;
        }
        let mut grubenv = Command::new("grub-editenv");
        grubenv.arg(home.join("grubenv")).arg("create");
        logged(&mut grubenv, &home.join("log"))?;
        let mut set = Command::new("grub-editenv");
        set.arg(home.join("grubenv"));
        set.args(["set", "ORDER=A B", "A_OK=1", "B_OK=1", "A_TRY=0", "B_TRY=0"]);
        logged(&mut set, &home.join("log"))?;
        fs_err::copy(place.join("pki/keyring.pem"), home.join("keyring.pem"))?;
        fs_err::write(
            home.join("system.conf"),
            "[system]\ncompatible=bench\nbootloader=grub\ngrubenv=grubenv\n\
             data-directory=data\n\n[keyring]\npath=keyring.pem\n\n\
             [slot.rootfs.0]\ndevice=a.img\ntype=raw\nbootname=A\n\n\
             [slot.rootfs.1]\ndevice=b.img\ntype=raw\nbootname=B\n",
        )?;
        Ok(Self {
            conf: home.join("system.conf"),
            copy: home.join("copy.img"),
        })
    }
}
