//! Debian's kernel for virtual machines, unpacked but not installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::command::captured;
use xtask::debian::Debian;

use crate::cache::{Inputs, cached};

/// The package that depends on the newest kernel of this kind. The cloud kernel is chosen since
/// it starts twice as fast as the general one when it is emulated.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// The same for all kinds of hardware: it has the drivers of watchdogs.
const GENERAL_PACKAGE: &str = "linux-image-amd64";

/// A kernel with its modules.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// As `uname -r` says it, for example `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// The folder that the package was unpacked to.
    root: PathBuf,
}

impl Kernel {
    /// Takes the kernel from `cache`, or downloads Debian's newest one into it.
    ///
    /// # Errors
    /// The package can be neither found nor downloaded, or it is not as expected.
    pub fn fetch(cache: &Path, debian: &Debian<'_>) -> Result<Self> {
        Self::fetch_package(PACKAGE, cache, debian)
    }

    /// The kernel for all kinds of hardware; it takes twice as long to start.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub fn fetch_general(cache: &Path, debian: &Debian<'_>) -> Result<Self> {
        Self::fetch_package(GENERAL_PACKAGE, cache, debian)
    }

    fn fetch_package(name: &str, cache: &Path, debian: &Debian<'_>) -> Result<Self> {
        fs_err::create_dir_all(cache)?;
        let package = match package_in(cache)? {
            Some(package) => package,
            None => {
                debian.download_dependency(name, "linux-image-", cache)?;
                package_in(cache)?.context("apt-get left no package in the cache")?
            }
        };
        let inputs = Inputs::new("unpacked kernel 1").file(&package)?;
        let root = cached(&cache.join("unpacked"), &inputs, |part| {
            unpack(&package, part)
        })?;
        let release = only_entry(&root.join("lib/modules"))?;
        Ok(Self { release, root })
    }

    /// The kernel image, as a boot loader reads it.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.root
            .join("boot")
            .join(format!("vmlinuz-{}", self.release))
    }

    /// The folder of the modules and of depmod's tables.
    #[must_use]
    pub fn modules_dir(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }

    /// The files of the modules `names` and of all that these depend on, relative to
    /// [`Self::modules_dir`], in an order in which they load. Names that are built into the
    /// kernel are left out.
    ///
    /// # Errors
    /// A name is neither a module nor built in.
    pub fn with_dependencies(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let dir = self.modules_dir();
        let dependencies = fs_err::read_to_string(dir.join("modules.dep"))?;
        let built_in = fs_err::read_to_string(dir.join("modules.builtin"))?;
        load_order(names, &dependencies, &built_in)
    }
}

/// The one package in the cache.
fn package_in(cache: &Path) -> Result<Option<PathBuf>> {
    for entry in fs_err::read_dir(cache)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn unpack(package: &Path, into: &Path) -> Result<()> {
    captured(Command::new("dpkg-deb").arg("-x").arg(package).arg(into))?;
    // Since Debian 13 packages hold their modules below /usr; depmod looks at either.
    let lib = into.join("lib");
    if !lib.exists() {
        fs_err::os::unix::fs::symlink("usr/lib", &lib)?;
    }
    let release = only_entry(&lib.join("modules"))?;
    captured(Command::new("depmod").arg("-b").arg(into).arg(&release))?;
    Ok(())
}

fn only_entry(dir: &Path) -> Result<String> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    match names.as_slice() {
        [name] => Ok(name.clone()),
        _ => bail!(
            "{} holds {} entries instead of one",
            dir.display(),
            names.len()
        ),
    }
}

/// Puts a module (perhaps compressed) at `to`, uncompressed.
///
/// # Errors
/// It cannot be read or written.
pub fn copy_module(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs_err::create_dir_all(dir)?;
    }
    if from.extension().is_some_and(|ending| ending == "xz") {
        fs_err::copy(from, with_xz(to))?;
        captured(Command::new("xz").arg("-d").arg(with_xz(to)))?;
        Ok(())
    } else {
        fs_err::copy(from, to)?;
        Ok(())
    }
}

fn with_xz(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".xz");
    name.into()
}

/// The path of a module without the ending of a compressed file.
#[must_use]
pub fn uncompressed(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|ending| ending == "xz") {
        path.with_extension("")
    } else {
        path.to_owned()
    }
}

/// The name of a module as modprobe knows it, from its path.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// See [`Kernel::with_dependencies`]. `dependencies` has lines `file: file…`, where the files to
/// the right are all that the left one needs, the last to be loaded first (`modules.dep(5)`).
fn load_order(names: &[&str], dependencies: &str, built_in: &str) -> Result<Vec<PathBuf>> {
    let table: BTreeMap<String, (&str, &str)> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (module_name(file), (file, needs)))
        .collect();
    let mut order: Vec<PathBuf> = Vec::new();
    for name in names {
        if built_in.lines().any(|line| module_name(line) == *name) {
            continue;
        }
        let (file, needs) = table
            .get(*name)
            .with_context(|| format!("this kernel has no module {name}"))?;
        for needed in needs.split_whitespace().rev().chain([*file]) {
            if !order.iter().any(|path| path == Path::new(needed)) {
                order.push(needed.into());
            }
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko kernel/fs/nls/base.ko\n\
                         kernel/fs/fat/fat.ko: kernel/fs/nls/base.ko\n\
                         kernel/fs/nls/base.ko:\n\
                         kernel/drivers/virtio-blk.ko.xz:\n";

    #[test]
    fn dependencies_come_first_and_once() {
        let order = load_order(&["fat", "vfat", "virtio_blk"], TABLE, "").unwrap();
        let names: Vec<_> = order
            .iter()
            .map(|p| p.to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            names,
            [
                "kernel/fs/nls/base.ko",
                "kernel/fs/fat/fat.ko",
                "kernel/fs/fat/vfat.ko",
                "kernel/drivers/virtio-blk.ko.xz"
            ]
        );
        assert_eq!(
            uncompressed(&order[3]),
            Path::new("kernel/drivers/virtio-blk.ko")
        );
    }

    #[test]
    fn built_in_is_left_out_and_unknown_is_an_error() {
        let order = load_order(&["ext4"], TABLE, "kernel/fs/ext4/ext4.ko\n").unwrap();
        assert_eq!(order, Vec::<PathBuf>::new());
        let error = load_order(&["nope"], TABLE, "").unwrap_err();
        assert_eq!(error.to_string(), "this kernel has no module nope");
    }
}
