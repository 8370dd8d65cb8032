//! The Debian packages that this project asks for, by purpose.

use crate::debian::{Package, PackageSet};

/// What builds the programs.
pub const BUILD: PackageSet = PackageSet {
    why: "to build the programs (C linker, OpenSSL with its static library)",
    packages: &[
        Package::any("gcc"),
        Package::any("libc6-dev"),
        Package::any("libssl-dev"),
        Package::any("pkgconf"),
    ],
};

/// The programs that tests compare our own programs with.
pub const PEERS: PackageSet = PackageSet {
    why: "as peers: tests compare our programs with these",
    packages: &[
        Package::any("busybox-static"),
        Package::any("bzip2"),
        Package::any("casync"),
        Package::any("cryptsetup-bin"),
        Package::any("dbus"),
        Package::any("device-tree-compiler"),
        Package::any("dosfstools"),
        Package::any("dt-utils"),
        Package::any("e2fsprogs"),
        Package::any("efibootmgr"),
        Package::any("fdisk"),
        Package::any("gdisk"),
        Package::any("grub-common"),
        Package::any("kmod"),
        Package::any("libglib2.0-bin"),
        Package::any("libubootenv-tool"),
        Package::any("mtools"),
        Package::any("nginx-light"),
        Package::any("opensc"),
        Package::any("openssl"),
        Package::any("polkitd"),
        Package::any("rauc"),
        Package::any("softhsm2"),
        Package::any("squashfs-tools"),
        Package::any("systemd"),
        Package::any("tar"),
        Package::any("u-boot-tools"),
        Package::any("util-linux"),
        Package::any("xz-utils"),
        Package::any("zstd"),
    ],
};

/// What fuzzing needs beyond [`BUILD`].
pub const FUZZING: PackageSet = PackageSet {
    why: "to build libFuzzer, which the fuzz targets run in",
    packages: &[Package::any("g++")],
};

/// What `cargo xtask bench` measures with, beside the peers themselves.
pub const BENCH: PackageSet = PackageSet {
    why: "to measure (processor time, memory, one core only)",
    packages: &[Package::any("time"), Package::any("util-linux")],
};

/// What the bench of installations measures with, and nothing else needs.
pub const BENCH_INSTALL: PackageSet = PackageSet {
    why: "to measure installations (a medium that writes slowly)",
    packages: &[
        Package::any("fuse3"),
        Package::any("libnbd-bin"),
        Package::any("nbdkit"),
    ],
};

/// What the bench of updates measures with, and nothing else needs.
pub const BENCH_DELTA: PackageSet = PackageSet {
    why: "to measure updates (one more format of images, one more peer)",
    packages: &[Package::any("erofs-utils"), Package::any("xdelta3")],
};

/// What builds and boots the test machines.
///
/// QEMU 10, because with Debian 12's own 7.2 U-Boot cannot save its environment to flash, and
/// because installing 7.2 beside a newer `qemu-utils` would remove the latter.
pub const MACHINES: PackageSet = PackageSet {
    why: "to build and boot the test machines (QEMU, UEFI firmware, GRUB, U-Boot, images)",
    packages: &[
        // bison, flex, dpkg-dev and the cross compiler: to build U-Boot with two copies.
        Package::any("bison"),
        Package::any("busybox-static"),
        Package::any("dpkg-dev"),
        Package::any("e2fsprogs"),
        Package::any("flex"),
        Package::any("gcc-aarch64-linux-gnu"),
        Package::any("grub-common"),
        Package::any("grub-efi-amd64-bin"),
        Package::any("kmod"),
        Package::any("libubootenv-tool"),
        Package::any("make"),
        Package::any("mmdebstrap"),
        Package::any("mtd-utils"),
        Package::any("ovmf"),
        Package::at_least("qemu-system-arm", "1:10.0"),
        Package::at_least("qemu-system-x86", "1:10.0"),
        Package::at_least("qemu-utils", "1:10.0"),
        Package::any("squashfs-tools"),
        Package::any("systemd-boot-efi"),
        Package::any("u-boot-qemu"),
        Package::any("u-boot-tools"),
        Package::any("util-linux"),
        Package::any("xz-utils"),
    ],
};
