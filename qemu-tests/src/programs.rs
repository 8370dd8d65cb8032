//! Builds the programs that a run uses, with cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use xtask::command::logged;

use crate::workspace::Workspace;

/// The guest is an amd64 machine; its programs link everything statically, since the guest's root
/// file system holds no libraries.
const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds `bundle-tool` for this computer; returns the program.
///
/// # Errors
/// It does not build.
pub fn bundle_tool(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = Command::new(&workspace.cargo);
    command.args(["build", "--release", "--locked", "--package", "bundle-tool"]);
    let target = workspace.root.join("target");
    build(workspace, &mut command, &target)?;
    existing(&target.join("release/bundle-tool"))
}

/// Builds a static `slotmgr` for the guest; returns the program.
///
/// # Errors
/// It does not build.
pub fn guest_slotmgr(workspace: &Workspace) -> Result<PathBuf> {
    guest_program(workspace, "slotmgr")
}

/// Builds a static `uboot-env` for the guest; returns the program.
///
/// # Errors
/// It does not build.
pub fn guest_uboot_env(workspace: &Workspace) -> Result<PathBuf> {
    guest_program(workspace, "uboot-env")
}

/// A package, and its program of the same name.
fn guest_program(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let mut command = Command::new(&workspace.cargo);
    command
        .args(["build", "--release", "--locked", "--package", package])
        .args(["--target", GUEST_TARGET])
        // It would win over RUSTFLAGS.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("OPENSSL_STATIC", "1");
    let target = workspace.guest_target_dir();
    build(workspace, &mut command, &target)?;
    existing(&target.join(GUEST_TARGET).join("release").join(package))
}

fn build(workspace: &Workspace, command: &mut Command, target: &Path) -> Result<()> {
    command
        .arg("--target-dir")
        .arg(target)
        .current_dir(&workspace.root);
    logged(command, &workspace.log("build.log"))
}

fn existing(program: &Path) -> Result<PathBuf> {
    if !program.is_file() {
        bail!(
            "cargo was content, but there is no program {}",
            program.display()
        );
    }
    Ok(program.to_owned())
}
