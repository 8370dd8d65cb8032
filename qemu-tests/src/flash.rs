//! A machine with simulated flash. The whole system is in its initial RAM file system; chips are
//! made by the kernel's own simulators (nandsim, mtdram), or of a disk that keeps its content
//! when the power goes (block2mtd). An eMMC is QEMU's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask::command::captured;

use crate::console::Watcher;
use crate::kernel::Kernel;
use crate::machine::{CONSOLE, Machine, drive, tied};
use crate::rootfs::Tree;

const INIT: &str = include_str!("../guest/flash-init");

/// Simulated chips, what works on them, and the disk that a persistent one is made of.
const MODULES: [&str; 14] = [
    "nandsim",
    "mtdram",
    "block2mtd",
    "sdhci_pci",
    "mmc_block",
    "mtdblock",
    "ubi",
    "ubifs",
    "jffs2",
    "ext4",
    "crc32c_generic",
    "lzo",
    "zstd",
    "deflate",
];

/// Debian's programs that make volumes and partitions, and those that tests compare ours with.
const PROGRAMS: [&str; 9] = [
    "/usr/sbin/ubiattach",
    "/usr/sbin/ubimkvol",
    "/usr/sbin/ubiupdatevol",
    "/usr/sbin/mtdpart",
    "/usr/sbin/nanddump",
    "/usr/sbin/flash_erase",
    "/usr/sbin/mkfs.ubifs",
    "/usr/bin/fw_printenv",
    "/usr/bin/fw_setenv",
];

/// What goes into the system of a machine.
#[derive(Debug)]
pub struct System<'a> {
    /// Debian's general kernel: the one for virtual machines knows no flash.
    pub kernel: &'a Kernel,
    /// Static programs, by their names in the guest's `/usr/bin`.
    pub programs: &'a [(&'a str, &'a Path)],
    /// Files, by their places in the guest.
    pub files: &'a [(&'a str, &'a [u8])],
}

impl System<'_> {
    /// Makes the initial RAM file system in `dir`.
    ///
    /// # Errors
    /// A part cannot be read.
    pub fn archive(&self, dir: &Path) -> Result<PathBuf> {
        let tree = Tree::new(dir.join("system"))?;
        for folder in ["root", "run", "tmp", "mnt", "data"] {
            fs_err::create_dir_all(tree.root.join(folder))?;
        }
        tree.program("init", INIT.as_bytes())?;
        tree.modules(self.kernel, &MODULES)?;
        for (name, program) in self.programs {
            tree.program(&format!("usr/bin/{name}"), &fs_err::read(program)?)?;
        }
        for program in PROGRAMS {
            with_libraries(&tree, Path::new(program))?;
        }
        for (name, content) in self.files {
            tree.file(name, content)?;
        }
        tree.file("etc/passwd", "root::0:0:root:/root:/bin/sh\n")?;
        tree.busybox()?;
        let archive = dir.join("initramfs.cpio");
        fs_err::write(&archive, crate::initramfs::of_tree(&tree.root)?)?;
        Ok(archive)
    }
}

/// A program of this computer, and the libraries that it loads, each at its own place.
fn with_libraries(tree: &Tree, program: &Path) -> Result<()> {
    let name = program.to_string_lossy();
    tree.program(name.trim_start_matches('/'), &fs_err::read(program)?)?;
    for line in captured(Command::new("ldd").arg(program))?.lines() {
        let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) else {
            continue;
        };
        let place = library.trim_start_matches('/');
        if !tree.root.join(place).exists() {
            tree.program(place, &fs_err::read(library)?)?;
        }
    }
    Ok(())
}

/// A machine that is to be turned on.
#[derive(Debug)]
pub struct Setup<'a> {
    /// As in [`System::kernel`].
    pub kernel: &'a Kernel,
    /// The initial RAM file system.
    pub archive: &'a Path,
    /// Disks (`/dev/vda`, …).
    pub disks: &'a [PathBuf],
    /// An eMMC, or none: first its two boot areas of [`BOOT_AREA`] bytes each, then the rest. Its size
    /// must be a power of two.
    pub emmc: Option<&'a Path>,
    /// Where the console's output goes.
    pub log: &'a Path,
}

/// Bytes of a boot area of the eMMC.
pub const BOOT_AREA: u64 = 1 << 20;

/// QEMU 10 has an eMMC, but only boards of its own may have one; this puts it on a host of ours.
const EMMC_ADAPTER: &str = include_str!("emmc.c");

/// Turns a machine on. There is no boot loader: the kernel starts at once, and believes that slot A
/// was chosen.
///
/// # Errors
/// QEMU cannot be started.
pub fn start<'a>(setup: &Setup<'_>, watcher: Watcher<'a>) -> Result<Machine<'a>> {
    let mut command = tied("env");
    if let Some(card) = setup.emmc {
        command.arg(format!("LD_PRELOAD={}", emmc_adapter(card)?.display()));
    }
    command
        .arg("qemu-system-x86_64")
        .args(["-accel", "tcg", "-M", "q35", "-cpu", "max", "-m", "768"])
        .args(["-display", "none", "-monitor", "none", "-nodefaults"])
        .args(CONSOLE)
        .args(["-serial", "file:/dev/stdout", "-kernel"])
        .arg(setup.kernel.image())
        .arg("-initrd")
        .arg(setup.archive)
        .arg("-append")
        .arg("console=ttyS0 panic=1 rauc.slot=A");
    for (number, disk) in setup.disks.iter().enumerate() {
        let options = format!("if=none,id=disk{number}");
        command
            .args(["-drive", &drive(&options, disk)])
            .args(["-device", &format!("virtio-blk-pci,drive=disk{number}")]);
    }
    if let Some(card) = setup.emmc {
        command
            .args(["-device", "sdhci-pci,id=emmc-host"])
            .args(["-drive", &drive("if=none,id=emmc", card)]);
    }
    Machine::run(&mut command, setup.log, watcher).context("a machine with simulated flash")
}

/// Compiles [`EMMC_ADAPTER`], beside the image of the card.
fn emmc_adapter(card: &Path) -> Result<PathBuf> {
    let (source, library) = (card.with_extension("c"), card.with_extension("so"));
    fs_err::write(&source, EMMC_ADAPTER)?;
    let mut compile = Command::new("gcc");
    compile.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]);
    captured(compile.arg(&library).arg(&source))?;
    Ok(library)
}
