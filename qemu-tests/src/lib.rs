//! Boots real machines in QEMU with the built programs: the demo, and the tests of boot loaders.
//!
//! Nothing of the products is linked in here; their programs are built by cargo and run, in the
//! same way in which a user runs them. From the parts up to the whole:
//!
//! - [`cache`], [`kernel`], [`initramfs`], [`rootfs`], [`systemd`], [`flash`], [`grub`], [`uboot`], [`disk`]: the files of a machine;
//! - [`console`], [`machine`], [`http`]: a running machine, driven through its serial port;
//! - [`demo`]: the story that `cargo demo` tells.
//!
//! No machine and no server outlives the program that started it: each child is ended when its
//! owner is dropped, and by the kernel when we die in another way (see [`machine::tied`]).

pub mod cache;
pub mod console;
pub mod demo;
pub mod disk;
pub mod firmware;
pub mod flash;
pub mod grub;
pub mod http;
pub mod initramfs;
pub mod kernel;
pub mod machine;
pub mod programs;
pub mod rootfs;
pub mod systemd;
pub mod uboot;
pub mod workspace;
