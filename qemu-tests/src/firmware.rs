//! Systems that UEFI firmware starts as programs, by itself or by way of systemd-boot. Each takes
//! its `system.conf` from the boot partition.

use anyhow::Result;

use crate::initramfs::{self, Contents};
use crate::kernel::Kernel;
use crate::rootfs::scratch;
use crate::workspace::Workspace;
use crate::{grub, programs};

/// The modules that it takes to reach a disk, its FAT partitions and the firmware's variables.
const MODULES: [&str; 6] = [
    "virtio_pci",
    "virtio_blk",
    "efivarfs",
    "vfat",
    "nls_cp437",
    "nls_ascii",
];

const INIT: &str = include_str!("../guest/firmware-init");

/// What firmware starts where it remembers nothing: the system in A, by way of GRUB.
const FALLBACK: &str = "\
set root=(hd0,gpt2)
linux /linux.efi console=ttyS0 quiet panic=1 rauc.slot=A
initrd /initrd.img
boot
";

/// The files of such a machine.
#[derive(Debug)]
pub struct System {
    /// A kernel, which is a program for firmware.
    pub kernel: Vec<u8>,
    /// The whole system: an initial RAM file system.
    pub archive: Vec<u8>,
    /// What is started by firmware that remembers nothing.
    pub fallback: Vec<u8>,
}

impl System {
    /// Builds the programs and the archive.
    ///
    /// # Errors
    /// A package cannot be had, or a program does not build.
    pub fn build(workspace: &Workspace) -> Result<System> {
        let dir = workspace.demo_dir();
        let kernel = workspace.with_debian(|debian| Kernel::fetch(&dir.join("kernel"), debian))?;
        let slotmgr = fs_err::read(programs::guest_slotmgr(workspace)?)?;
        let contents = Contents {
            init: INIT,
            modules: &MODULES,
            folders: &["etc", "etc/rauc"],
            files: &[
                ("bin/slotmgr", &slotmgr),
                ("etc/rauc/slotmgr.toml", b"[trial]\ntries = 1\n"),
                ("etc/rauc/keyring.pem", b"nothing is installed here\n"),
            ],
        };
        let scratch = scratch(&dir.join("firmware"))?;
        Ok(System {
            kernel: fs_err::read(kernel.image())?,
            archive: initramfs::build_of(&kernel, &contents, &scratch)?,
            fallback: grub::efi_image_with(&dir.join("grub-fallback.efi"), FALLBACK)?,
        })
    }
}
