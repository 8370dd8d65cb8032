//! Machines with two slots, of which the first one runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::service::{Bus, Service};
use super::{Bench, word};
use crate::command::logged;

/// Where they have their slots and what they remember.
pub struct Home<'h> {
    pub bench: &'h Bench<'h>,
    pub place: &'h Path,
    /// What the second slot keeps its bytes in.
    pub second: PathBuf,
}

/// Whose service.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    Rauc,
    Us,
}

impl<'h> Home<'h> {
    /// With keys, an image, and slots that have its size.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn new(bench: &'h Bench<'h>, place: &'h Path) -> Result<Self> {
        bench.prepare(place)?;
        let size = fs_err::metadata(place.join("rootfs.img"))?.len();
        fs_err::create_dir_all(place.join("mnt"))?;
        for name in ["a.img", "b.img"] {
            fs_err::File::create(place.join(name))?.set_len(size)?;
        }
        let second = place.join("b.img");
        Ok(Self {
            bench,
            place,
            second,
        })
    }

    /// The configuration of a machine that remembers nothing yet; its second slot is `device`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn machine(&self, name: &str, device: &Path) -> Result<PathBuf> {
        let at = |name: String| self.place.join(name);
        let environment = at(format!("{name}.grubenv"));
        let edit = |words: &[&str]| {
            let mut command = Command::new("grub-editenv");
            command.arg(&environment).args(words);
            logged(&mut command, &self.bench.log())
        };
        edit(&["create"])?;
        edit(&["set", "ORDER=A B", "A_OK=1", "B_OK=1", "A_TRY=0", "B_TRY=0"])?;
        let data = at(format!("{name}.data"));
        if data.exists() {
            fs_err::remove_dir_all(&data)?;
        }
        fs_err::create_dir_all(&data)?;
        // What RAUC 1.8 knows, and where our journal goes.
        let kept = match name {
            "rauc" => format!("statusfile={}", word(&data.join("status.raucs"))?),
            _ => format!("data-directory={}", word(&data)?),
        };
        let text = format!(
            "[system]\ncompatible=bench\nbootloader=grub\ngrubenv={}\nmountprefix={}\n\
             {kept}\n\n[keyring]\npath={}\n\n\
             [slot.rootfs.0]\ndevice={}\ntype=raw\nbootname=A\n\n\
             [slot.rootfs.1]\ndevice={}\ntype=raw\nbootname=B\n",
            word(&environment)?,
            word(&at("mnt".to_owned()))?,
            word(&at("pki/keyring.pem".to_owned()))?,
            word(&at("a.img".to_owned()))?,
            word(device)?,
        );
        let conf = at(format!("{name}.conf"));
        fs_err::write(&conf, text)?;
        Ok(conf)
    }

    /// A service that answers for such a machine.
    ///
    /// # Errors
    /// It does not start.
    pub fn serve(&self, whose: Of, bus: &Bus, device: &Path) -> Result<Service> {
        let (name, program, verb) = match whose {
            Of::Rauc => ("rauc", PathBuf::from("rauc"), "service"),
            Of::Us => ("slotmgr", self.bench.program("slotmgr"), "daemon"),
        };
        let mut command = Command::new(program);
        command.arg(verb).arg("--conf");
        command.arg(self.machine(name, device)?);
        command.arg("--override-boot-slot=A");
        bus.serve(command, &self.bench.log())
    }
}
