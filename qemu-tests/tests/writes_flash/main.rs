//! Flash, under a kernel that simulates the chips: NAND with bad blocks, NOR, UBI volumes, UBIFS,
//! JFFS2, and the boot areas of an eMMC. What slotmgr and `uboot-env` write there is read back by Debian's programs, or mounted.
//!
//! Ignored by a plain `cargo test`, as all tests here that boot machines; `cargo xtask test` runs
//! them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on may panic

mod cuts;
mod emmc;
mod environment;
mod hooks;
mod rig;
mod slots;
