//! Root file systems in which systemd is the init: Debian's own, with slotmgr and its unit.
//!
//! One image serves all tests: what is particular to a machine is on its boot partition
//! (`settings`, which becomes `slotmgr.toml`) and on its kernel's command line.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use xtask::command::captured;
use xtask::debian::Debian;

use crate::cache::{Inputs, cached, remove};
use crate::initramfs;
use crate::kernel::Kernel;
use crate::rootfs::{SYSTEM_CONF, Tree, scratch};

/// What the machines have beside what every Debian has.
const PACKAGES: [&str; 4] = ["dbus", "kmod", "systemd-sysv", "udev"];

/// The kernel modules of the running system; both watchdogs among them.
const MODULES: [&str; 5] = ["i6300esb", "softdog", "ext4", "crc32c_generic", "autofs4"];

/// What nothing here needs, and what makes images large.
const LEFT_OUT: [&str; 6] = [
    "usr/lib/udev/hwdb.bin",
    "usr/lib/udev/hwdb.d",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/share/perl",
    "usr/share/perl5",
    // In memory on these machines.
    "var/*",
];

/// Units that are enabled, by their `[Install]` sections.
const ENABLED: [&str; 6] = [
    "rig-stubborn.service",
    "rig-after.service",
    "rig-prepare.service",
    "rig-shell.service",
    "app.service",
    "slotmgr-trial.service",
];

const FILES: [(&str, &str); 9] = [
    (
        "etc/systemd/system/rig-stubborn.service",
        include_str!("../guest/systemd/rig-stubborn.service"),
    ),
    (
        "etc/systemd/system/rig-after.service",
        include_str!("../guest/systemd/rig-after.service"),
    ),
    ("etc/fstab", include_str!("../guest/systemd/fstab")),
    ("etc/hostname", "slotmgr-rig\n"),
    // The same on each boot, so that one boot's journal is found in the next one.
    ("etc/machine-id", "5107a9e25107a9e25107a9e25107a9e2\n"),
    (
        "etc/systemd/system/rig-prepare.service",
        include_str!("../guest/systemd/rig-prepare.service"),
    ),
    (
        "etc/systemd/system/rig-shell.service",
        include_str!("../guest/systemd/rig-shell.service"),
    ),
    (
        "etc/systemd/system/app.service",
        include_str!("../guest/systemd/app.service"),
    ),
    (
        "etc/systemd/system/slotmgr-trial.service.d/told.conf",
        include_str!("../guest/systemd/told.conf"),
    ),
];

const PROGRAMS: [(&str, &str); 2] = [
    (
        "usr/bin/rig-prepare",
        include_str!("../guest/systemd/rig-prepare"),
    ),
    ("usr/bin/rig-app", include_str!("../guest/systemd/rig-app")),
];

/// What an image is made of.
#[derive(Debug)]
pub struct System<'a> {
    /// Debian's general kernel.
    pub kernel: &'a Kernel,
    /// A static `slotmgr` for the guest.
    pub slotmgr: &'a Path,
    /// The unit that slotmgr ships.
    pub unit: &'a Path,
    /// The certificates that bundles are checked with.
    pub keyring: &'a Path,
}

impl System<'_> {
    /// The image in `dir`: made now, unless one of the same inputs is there.
    ///
    /// # Errors
    /// A package cannot be had, or the image not be made.
    pub fn image(&self, dir: &Path, debian: &Debian<'_>) -> Result<PathBuf> {
        let base = dir.join("debian-root");
        let packages = Inputs::new("Debian root 1").bytes(PACKAGES.concat().as_bytes());
        let base = cached(&base, &packages, |part| debian.bootstrap(&PACKAGES, part))?;
        let archive = initramfs::build(self.kernel, &scratch(dir)?)?;
        let mut inputs = Inputs::new("root file system with systemd 1")
            .bytes(packages.hex().as_bytes())
            .file(&self.kernel.image())?
            .file(self.slotmgr)?
            .file(self.unit)?
            .file(self.keyring)?
            .bytes(
                [SYSTEM_CONF, &LEFT_OUT.concat(), &ENABLED.concat()]
                    .concat()
                    .as_bytes(),
            )
            .bytes(&archive);
        for (name, content) in FILES.iter().chain(&PROGRAMS) {
            inputs = inputs.bytes(name.as_bytes()).bytes(content.as_bytes());
        }
        cached(&dir.join("rootfs-systemd.squashfs"), &inputs, |part| {
            let tree = Tree::new(dir.join("rootfs-systemd.tree"))?;
            // Hard links: what is changed in the copy is a file of its own, always.
            captured(
                Command::new("cp")
                    .arg("-al")
                    .arg(base.join("."))
                    .arg(&tree.root),
            )?;
            self.fill(&tree, &archive)?;
            tree.squash(part, &LEFT_OUT)?;
            remove(&tree.root)
        })
    }

    fn fill(&self, tree: &Tree, archive: &[u8]) -> Result<()> {
        for folder in ["boot/efi", "data"] {
            fs_err::create_dir_all(tree.root.join(folder))?;
        }
        tree.boot_files(self.kernel, archive)?;
        tree.modules(self.kernel, &MODULES)?;
        tree.program("usr/bin/slotmgr", &fs_err::read(self.slotmgr)?)?;
        let unit = fs_err::read(self.unit)?;
        tree.file("etc/systemd/system/slotmgr-trial.service", unit)?;
        tree.file("etc/rauc/system.conf", SYSTEM_CONF)?;
        tree.file("etc/rauc/keyring.pem", fs_err::read(self.keyring)?)?;
        fs_err::os::unix::fs::symlink(
            "/run/rig/slotmgr.toml",
            tree.place("etc/rauc/slotmgr.toml")?,
        )?;
        for (name, content) in FILES {
            remove(&tree.root.join(name))?;
            tree.file(name, content)?;
        }
        for (name, content) in PROGRAMS {
            tree.program(name, content.as_bytes())?;
        }
        // By the systemd of the tree: this is how an integrator's build does it.
        let mut enable = Command::new("chroot");
        enable
            .arg(&tree.root)
            .args(["systemctl", "enable"])
            .args(ENABLED);
        captured(&mut enable)?;
        Ok(())
    }
}
