//! U-Boot on QEMU's ARM machine, with the boot script that slotmgr ships.
//!
//! Debian's build keeps its environment in one copy in flash. Boards in the field keep two copies
//! on the medium; so U-Boot is built once more from Debian's source, with nothing changed but that.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask::command::{captured, logged};
use xtask::debian::Debian;

use crate::cache::{Inputs, cached, remove};
use crate::console::Watcher;
use crate::machine::{CONSOLE, Machine, drive, tied};
use crate::workspace::Workspace;

/// Debian's own build.
pub const DEBIAN_BUILD: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
/// The size that QEMU's second bank of flash must have.
pub const FLASH_SIZE: u64 = 64 * 1024 * 1024;
/// Where the copies lie on the SD card of [`redundant_build`], and how large each is.
pub const CARD_COPIES: [u64; 2] = [0x8000, 0xc000];
/// See [`CARD_COPIES`].
pub const CARD_COPY_SIZE: u64 = 0x4000;

const END_OF_INTEGRATORS_PART: &str = "# --- end of the part for the integrator";
const BOARD: &str = "qemu_arm64_defconfig";
/// What differs from Debian's build: two copies on an SD card instead of one in flash.
const REDUNDANT: &[&str] = &[
    "-d",
    "ENV_IS_IN_FLASH",
    "-e",
    "MMC",
    "-e",
    "DM_MMC",
    "-e",
    "MMC_SDHCI",
    "-e",
    "MMC_PCI",
    "-e",
    "CMD_MMC",
    "-e",
    "ENV_IS_IN_MMC",
    "-e",
    "SYS_REDUNDAND_ENVIRONMENT",
    "--set-val",
    "ENV_OFFSET",
    "0x8000",
    "--set-val",
    "ENV_OFFSET_REDUND",
    "0xc000",
    "--set-val",
    "ENV_SIZE",
    "0x4000",
    "--set-val",
    "SYS_MMC_ENV_DEV",
    "0",
    // The card's controller sits on PCI, which must be up before the environment is loaded.
    "-e",
    "PCI_INIT_R",
    // A host tool that wants GnuTLS.
    "-d",
    "TOOLS_MKEFICAPSULE",
];

/// What a machine is made of. It starts U-Boot from `firmware`.
#[derive(Debug)]
pub struct Setup<'a> {
    /// U-Boot.
    pub firmware: &'a Path,
    /// The disk with boot script and slots.
    pub disk: &'a Path,
    /// Flash of [`FLASH_SIZE`] bytes, or none.
    pub flash: Option<&'a Path>,
    /// An SD card, or none. Its size must be a power of two.
    pub card: Option<&'a Path>,
    /// Where the console's output goes.
    pub log: &'a Path,
}

/// Turns a machine on.
///
/// # Errors
/// QEMU cannot be started.
pub fn start<'a>(setup: &Setup<'_>, watcher: Watcher<'a>) -> Result<Machine<'a>> {
    let mut command = tied("qemu-system-aarch64");
    command
        .args(["-accel", "tcg", "-M", "virt", "-cpu", "cortex-a57"])
        .args(["-m", "256", "-display", "none", "-monitor", "none"])
        .args(CONSOLE)
        .args(["-net", "none", "-bios"])
        .arg(setup.firmware)
        .args(["-drive", &drive("if=none,id=disk", setup.disk)])
        .args(["-device", "virtio-blk-device,drive=disk"]);
    if let Some(flash) = setup.flash {
        command.args(["-drive", &drive("if=pflash,index=1", flash)]);
    }
    if let Some(card) = setup.card {
        command
            .args(["-drive", &drive("if=none,id=card", card)])
            .args(["-device", "sdhci-pci", "-device", "sd-card,drive=card"]);
    }
    Machine::run(&mut command, setup.log, watcher)
}

/// The boot script as U-Boot reads it, with `ours` in place of the part for the integrator.
///
/// # Errors
/// The shipped script has no such part, or `mkimage` fails.
pub fn boot_script(workspace: &Workspace, ours: &str, dir: &Path) -> Result<Vec<u8>> {
    let shipped = workspace.root.join("slotmgr/bootloader/uboot-boot.cmd");
    let text = fs_err::read_to_string(&shipped)?;
    let (_, rest) = text
        .split_once(END_OF_INTEGRATORS_PART)
        .with_context(|| format!("{}: where does our part begin?", shipped.display()))?;
    let (source, image) = (dir.join("boot.cmd"), dir.join("boot.scr"));
    fs_err::write(&source, format!("{ours}\n#{rest}"))?;
    captured(
        Command::new("mkimage")
            .args(["-A", "arm64", "-T", "script", "-C", "none", "-d"])
            .args([&source, &image]),
    )?;
    Ok(fs_err::read(image)?)
}

/// A slot that this U-Boot can read: ext4, with a file where the kernel would be.
///
/// # Errors
/// `mke2fs` fails.
pub fn slot_image(dir: &Path) -> Result<PathBuf> {
    let (tree, image) = (dir.join("slot"), dir.join("slot.ext4"));
    fs_err::create_dir_all(tree.join("boot"))?;
    fs_err::write(tree.join("boot/Image"), "loaded, never started")?;
    remove(&image)?;
    captured(
        Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-d"])
            .args([&tree, &image])
            .arg("8M"),
    )?;
    Ok(image)
}

/// U-Boot that keeps its environment in two copies on an SD card; built from Debian's source once,
/// and kept below `dir`.
///
/// # Errors
/// The source cannot be downloaded, or does not build.
pub fn redundant_build(dir: &Path, debian: &Debian<'_>, log: &Path) -> Result<PathBuf> {
    let version =
        captured(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "u-boot-qemu"]))?;
    let mut inputs = Inputs::new("U-Boot with two copies 1").bytes(version.as_bytes());
    for option in REDUNDANT {
        inputs = inputs.bytes(option.as_bytes());
    }
    cached(&dir.join("u-boot-redundant.bin"), &inputs, |part| {
        let source = dir.join("u-boot-source");
        let build = dir.join("u-boot-build");
        debian.source("u-boot", &version, &source)?;
        remove(&build)?;
        let output = format!("O={}", build.display());
        let make = |targets: &[&str]| {
            let mut make = Command::new("make");
            make.current_dir(&source).arg(&output).args(targets);
            // Not in Kconfig: it moves the search on PCI before the environment.
            make.arg("KCFLAGS=-DCONFIG_SYS_EARLY_PCI_INIT");
            logged(make.env("CROSS_COMPILE", "aarch64-linux-gnu-"), log)
        };
        make(&[BOARD])?;
        let mut config = Command::new(source.join("scripts/config"));
        config.arg("--file").arg(build.join(".config"));
        logged(config.args(REDUNDANT), log)?;
        make(&["olddefconfig"])?;
        make(&["-j2", "u-boot.bin"])?;
        fs_err::copy(build.join("u-boot.bin"), part)?;
        remove(&build)?;
        remove(&source)
    })
}
