//! A small initial RAM file system: busybox, a few modules, and a script that finds the root.
//!
//! Written as a `newc` archive, as the kernel's `initramfs-buffer-format` describes it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::kernel::{Kernel, copy_module, uncompressed};

/// The modules that it takes to reach a squashfs on a virtio disk.
pub const MODULES: [&str; 3] = ["virtio_pci", "virtio_blk", "squashfs"];

/// The program that all of the guest's commands are links to.
pub const BUSYBOX: &str = "/bin/busybox";

const INIT: &str = include_str!("../guest/initramfs-init");

/// What an archive holds beside busybox.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The first program.
    pub init: &'a str,
    /// Kernel modules, which the init finds in `/mods`, in the order in which they load.
    pub modules: &'a [&'a str],
    /// Folders of the files, beside those that every archive has; each after the one it lies in.
    pub folders: &'a [&'a str],
    /// Programs and other files, by their paths without a slash in front.
    pub files: &'a [(&'a str, &'a [u8])],
}

/// Builds the archive that finds the root; `scratch` is a folder for files in between.
///
/// # Errors
/// Busybox or a module cannot be read.
pub fn build(kernel: &Kernel, scratch: &Path) -> Result<Vec<u8>> {
    let contents = Contents {
        init: INIT,
        modules: &MODULES,
        folders: &[],
        files: &[],
    };
    build_of(kernel, &contents, scratch)
}

/// Builds an archive; `scratch` is a folder for files in between.
///
/// # Errors
/// Busybox or a module cannot be read.
pub fn build_of(kernel: &Kernel, contents: &Contents<'_>, scratch: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "mods", "newroot", "proc", "sys"] {
        archive.directory(dir)?;
    }
    for dir in contents.folders {
        archive.directory(dir)?;
    }
    archive.console()?;
    archive.file("bin/busybox", &fs_err::read(BUSYBOX)?)?;
    archive.link("bin/sh", "busybox")?;
    archive.file("init", contents.init.as_bytes())?;
    for (name, content) in contents.files {
        archive.file(name, content)?;
    }
    let modules = kernel.with_dependencies(contents.modules)?;
    for (place, module) in modules.iter().enumerate() {
        let file = uncompressed(module);
        let name = file
            .file_name()
            .context("a module without a name")?
            .to_string_lossy();
        let plain = PathBuf::from(scratch).join(&*name);
        copy_module(&kernel.modules_dir().join(module), &plain)?;
        archive.file(&format!("mods/{place:03}-{name}"), &fs_err::read(&plain)?)?;
    }
    archive.finish()
}

/// An archive of everything below `root`: a whole system that needs no disk.
///
/// # Errors
/// Something cannot be read.
pub(crate) fn of_tree(root: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["dev", "proc", "sys"] {
        fs_err::create_dir_all(root.join(dir))?;
    }
    archive.below(root, "")?;
    archive.console()?;
    archive.finish()
}

/// Type and permission bits of an entry, as in `st_mode`.
const DIRECTORY: u32 = 0o040_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
const PROGRAM: u32 = 0o100_755;
const SYMBOLIC_LINK: u32 = 0o120_777;

/// A `newc` archive that grows entry by entry.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn directory(&mut self, name: &str) -> Result<()> {
        self.entry(name, DIRECTORY, (0, 0), &[])
    }

    fn file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.entry(name, PROGRAM, (0, 0), content)
    }

    fn link(&mut self, name: &str, target: &str) -> Result<()> {
        self.entry(name, SYMBOLIC_LINK, (0, 0), target.as_bytes())
    }

    /// What lies in `dir`, whose path in the archive is `name` (with a slash at its end, unless it is
    /// the top).
    fn below(&mut self, dir: &Path, name: &str) -> Result<()> {
        for entry in fs_err::read_dir(dir)? {
            let entry = entry?;
            let path = entry.path();
            let name = format!("{name}{}", entry.file_name().to_string_lossy());
            let found = fs_err::symlink_metadata(&path)?;
            if found.is_dir() {
                self.directory(&name)?;
                self.below(&path, &format!("{name}/"))?;
            } else if found.is_symlink() {
                self.link(&name, &fs_err::read_link(&path)?.to_string_lossy())?;
            } else {
                let mode = found.permissions().mode();
                self.entry(&name, mode, (0, 0), &fs_err::read(&path)?)?;
            }
        }
        Ok(())
    }

    /// The device that the kernel opens for the first program: 5,1 by the kernel's list of devices.
    fn console(&mut self) -> Result<()> {
        self.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[])
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).context("a file too large for an archive")?;
        let name_size = u32::try_from(name.len() + 1).context("a name too long for an archive")?;
        let fields = [
            self.entries, // inode
            mode,
            0, // user
            0, // group
            1, // links
            0, // time
            size,
            0, // device that it lies on
            0,
            device.0,
            device.1,
            name_size,
            0, // checksum, unused in this format
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn busybox_reads_the_archive() {
        let mut archive = Archive::default();
        archive.directory("bin").unwrap();
        archive.console().unwrap();
        archive.file("bin/tool", b"12345").unwrap();
        archive.link("bin/sh", "tool").unwrap();
        let bytes = archive.finish().unwrap();

        let mut child = Command::new(BUSYBOX)
            .args(["cpio", "-itv"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let listing = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = listing.lines().collect();
        let shape: Vec<(&str, &str)> = lines
            .iter()
            .map(|l| (&l[..10], l.rsplit_once(":00 ").map_or("", |(_, name)| name)))
            .collect();
        assert_eq!(
            shape,
            [
                ("drwxr-xr-x", "bin"),
                ("crw-------", "dev/console"),
                ("-rwxr-xr-x", "bin/tool"),
                ("lrwxrwxrwx", "bin/sh -> tool"),
            ]
        );
        assert!(
            lines[2].split_whitespace().any(|word| word == "5"),
            "{listing}"
        );
    }
}
