//! Root file systems for the demo machine: squashfs images with kernel, busybox and slotmgr.
//!
//! The kernel lies in the slot, where GRUB reads it; so the image is compressed with gzip: GRUB's
//! squashfs reader knows gzip, lzo and xz, but not zstd.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use fs_err::os::unix::fs::OpenOptionsExt;
use xtask::command::captured;

use crate::cache::{Inputs, cached, remove};
use crate::initramfs::{self, BUSYBOX};
use crate::kernel::{Kernel, copy_module, uncompressed};

/// The modules that the running system loads by itself, besides those of the first file system.
const MODULES: [&str; 4] = ["virtio_net", "vfat", "nls_cp437", "nls_ascii"];

const INIT: &str = include_str!("../guest/init");
const APP: &str = include_str!("../guest/demo-app");
pub(crate) const SYSTEM_CONF: &str = include_str!("../guest/system.conf");
const SLOTMGR_TOML: &str = include_str!("../guest/slotmgr.toml");

/// What is particular to the systems of a test.
#[derive(Debug, Clone, Copy)]
pub struct Variant<'a> {
    /// In the name of the image.
    pub name: &'a str,
    /// slotmgr's own settings.
    pub slotmgr_toml: &'a str,
    /// Sourced by the init before the trial.
    pub early: Option<&'a str>,
    /// A program more, by name and content, in `/usr/bin`.
    pub program: Option<(&'a str, &'a str)>,
    /// Kernel modules more.
    pub modules: &'a [&'a str],
}

/// The systems of the demo.
pub const DEMO: Variant<'static> = Variant {
    name: "",
    slotmgr_toml: SLOTMGR_TOML,
    early: None,
    program: None,
    modules: &[],
};

/// Systems with something that hangs, where the file `fault` of the boot partition says so; for
/// Debian's general kernel.
pub const FAULTS: Variant<'static> = Variant {
    name: "-faults",
    slotmgr_toml: include_str!("../guest/faults.toml"),
    early: Some(include_str!("../guest/faults-early")),
    program: Some(("faults-check", include_str!("../guest/faults-check"))),
    // The file system of the data partition is a module there, and so is what it needs.
    modules: &["i6300esb", "softdog", "ext4", "crc32c_generic"],
};

impl Variant<'_> {
    fn bytes(&self) -> Vec<u8> {
        let (name, program) = self.program.unwrap_or_default();
        let texts = [
            self.slotmgr_toml,
            self.early.unwrap_or_default(),
            name,
            program,
        ];
        [texts.concat(), self.modules.concat()]
            .concat()
            .into_bytes()
    }
}

/// Whether the application of a version works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    /// It does.
    Healthy,
    /// Its settings have a typing mistake, as they have when someone was in a hurry.
    Misconfigured,
}

impl App {
    const fn settings(self) -> &'static str {
        match self {
            Self::Healthy => "listen = 127.0.0.1:8080\n",
            Self::Misconfigured => "lisen = 127.0.0.1:8080\n",
        }
    }
}

/// What goes into one version of the system.
#[derive(Debug, Clone)]
pub struct Version<'a> {
    /// The version as people see it.
    pub number: u32,
    /// Whether its application works.
    pub app: App,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// A static `slotmgr` for the guest.
    pub slotmgr: &'a Path,
    /// The certificates that bundles are checked with.
    pub keyring: &'a Path,
    /// Which kind of system.
    pub variant: Variant<'a>,
}

impl Version<'_> {
    /// The image in `dir`: made now, unless one of the same inputs is there.
    ///
    /// # Errors
    /// A part cannot be read, or mksquashfs fails.
    pub fn image(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join(format!(
            "rootfs{}-v{}.squashfs",
            self.variant.name, self.number
        ));
        let archive = initramfs::build(self.kernel, &scratch(dir)?)?;
        let inputs = Inputs::new("root file system 2")
            .bytes(self.number.to_string().as_bytes())
            .bytes(self.app.settings().as_bytes())
            .bytes(self.kernel.release.as_bytes())
            .file(&self.kernel.image())?
            .file(self.slotmgr)?
            .file(self.keyring)?
            .file(Path::new(BUSYBOX))?
            .bytes([INIT, APP, SYSTEM_CONF].concat().as_bytes())
            .bytes(&self.variant.bytes())
            .bytes(&archive);
        cached(&path, &inputs, |part| {
            let name = format!("rootfs{}-v{}.tree", self.variant.name, self.number);
            let tree = Tree::new(dir.join(name))?;
            self.fill(&tree, &archive)?;
            tree.squash(part, &[])?;
            remove(&tree.root)
        })
    }

    fn fill(&self, tree: &Tree, archive: &[u8]) -> Result<()> {
        let number = self.number;
        for dir in [
            "boot/efi", "data", "dev", "proc", "root", "run", "sys", "tmp",
        ] {
            fs_err::create_dir_all(tree.root.join(dir))?;
        }
        tree.boot_files(self.kernel, archive)?;
        tree.modules(self.kernel, self.variant.modules)?;
        tree.program("sbin/init", INIT.as_bytes())?;
        tree.program("usr/bin/slotmgr", &fs_err::read(self.slotmgr)?)?;
        tree.program("usr/bin/demo-app", APP.as_bytes())?;
        tree.file("etc/demo-app.conf", self.app.settings())?;
        tree.file("etc/rauc/system.conf", SYSTEM_CONF)?;
        tree.file("etc/rauc/slotmgr.toml", self.variant.slotmgr_toml)?;
        if let Some(early) = self.variant.early {
            tree.file("etc/early", early)?;
        }
        if let Some((name, content)) = self.variant.program {
            tree.program(&format!("usr/bin/{name}"), content.as_bytes())?;
        }
        tree.file(
            "etc/rauc/keyring.pem",
            &fs_err::read_to_string(self.keyring)?,
        )?;
        tree.file("etc/passwd", "root::0:0:root:/root:/bin/sh\n")?;
        tree.file(
            "etc/banner",
            format!("*** slotmgr demo machine, system version {number} ***\n"),
        )?;
        tree.file(
            "etc/os-release",
            format!("NAME=slotmgr-demo\nID=slotmgr-demo\nVERSION={number}\nVERSION_ID={number}\n"),
        )?;
        tree.busybox()
    }
}

/// An image in `dir` with nothing but a kernel in it: enough to see which slot GRUB starts.
///
/// # Errors
/// A part cannot be read, or mksquashfs fails.
pub fn kernel_only(kernel: &Kernel, dir: &Path) -> Result<PathBuf> {
    let archive = initramfs::build(kernel, &scratch(dir)?)?;
    let inputs = Inputs::new("kernel-only image 2")
        .file(&kernel.image())?
        .bytes(&archive);
    cached(&dir.join("kernel-only.squashfs"), &inputs, |part| {
        let tree = Tree::new(dir.join("kernel-only.tree"))?;
        tree.boot_files(kernel, &archive)?;
        tree.squash(part, &[])?;
        remove(&tree.root)
    })
}

/// A folder for files that are only needed in between.
pub(crate) fn scratch(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("scratch");
    fs_err::create_dir_all(&path)?;
    Ok(path)
}

/// The files of an image before they are packed.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
}

impl Tree {
    pub(crate) fn new(root: PathBuf) -> Result<Self> {
        remove(&root)?;
        fs_err::create_dir_all(&root)?;
        Ok(Self { root })
    }

    pub(crate) fn place(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        if let Some(dir) = path.parent() {
            fs_err::create_dir_all(dir)?;
        }
        Ok(path)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.new_file(name, content.as_ref(), 0o644)
    }

    pub(crate) fn program(&self, name: &str, content: &[u8]) -> Result<()> {
        self.new_file(name, content, 0o755)
    }

    /// Writes a file that must not exist yet. Never opens an existing one: a link in the tree
    /// means something in the guest, but opening it would reach for that path on the host.
    fn new_file(&self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        let path = self.place(name)?;
        let mut options = fs_err::OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        Ok(options.open(&path)?.write_all(content)?)
    }

    /// Busybox, and a link for each of its commands at the place where people expect it, unless
    /// the tree has something of its own there: so this comes last. The links are relative: they
    /// lead nowhere but into the tree, even when they are looked at from outside.
    pub(crate) fn busybox(&self) -> Result<()> {
        self.program("bin/busybox", &fs_err::read(BUSYBOX)?)?;
        for command in captured(Command::new(BUSYBOX).arg("--list-full"))?.lines() {
            let link = self.place(command)?;
            if fs_err::symlink_metadata(&link).is_err() {
                let up = "../".repeat(command.matches('/').count());
                fs_err::os::unix::fs::symlink(format!("{up}bin/busybox"), &link)?;
            }
        }
        Ok(())
    }

    pub(crate) fn boot_files(&self, kernel: &Kernel, archive: &[u8]) -> Result<()> {
        self.file("boot/vmlinuz", fs_err::read(kernel.image())?)?;
        self.file("boot/initrd.img", archive)
    }

    pub(crate) fn modules(&self, kernel: &Kernel, more: &[&str]) -> Result<()> {
        let dir = format!("lib/modules/{}", kernel.release);
        let names = [&initramfs::MODULES[..], &MODULES, more].concat();
        for module in kernel.with_dependencies(&names)? {
            let to = self.root.join(&dir).join(uncompressed(&module));
            copy_module(&kernel.modules_dir().join(&module), &to)?;
        }
        for table in [
            "modules.order",
            "modules.builtin",
            "modules.builtin.modinfo",
        ] {
            fs_err::copy(
                kernel.modules_dir().join(table),
                self.place(&format!("{dir}/{table}"))?,
            )?;
        }
        captured(
            Command::new("depmod")
                .arg("-b")
                .arg(&self.root)
                .arg(&kernel.release),
        )?;
        Ok(())
    }

    /// Packs it, without `left_out`: paths in the tree, and patterns.
    pub(crate) fn squash(&self, image: &Path, left_out: &[&str]) -> Result<()> {
        let mut command = Command::new("mksquashfs");
        command.arg(&self.root).arg(image).args([
            "-comp",
            "gzip",
            "-all-root",
            "-noappend",
            "-no-progress",
            "-quiet",
        ]);
        if !left_out.is_empty() {
            command.args(["-wildcards", "-e"]).args(left_out);
        }
        captured(&mut command)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(name: &str) -> Tree {
        Tree::new(std::env::temp_dir().join(format!("slotmgr-{name}-{}", std::process::id())))
            .unwrap()
    }

    /// A tree once held the link sbin/init -> /bin/busybox, and writing sbin/init replaced the
    /// host's own /bin/busybox.
    #[test]
    fn writing_into_the_tree_never_leaves_it() {
        let tree = tree("tree");
        let outside = tree.root.with_extension("outside");
        fs_err::write(&outside, "the host's").unwrap();
        fs_err::create_dir_all(tree.root.join("sbin")).unwrap();
        fs_err::os::unix::fs::symlink(&outside, tree.root.join("sbin/init")).unwrap();
        assert!(tree.program("sbin/init", b"the guest's").is_err());
        assert!(tree.file("sbin/init", "the guest's").is_err());
        assert_eq!(fs_err::read_to_string(&outside).unwrap(), "the host's");
        fs_err::remove_file(&outside).unwrap();
        remove(&tree.root).unwrap();
    }

    #[test]
    fn busybox_links_stay_inside_and_replace_nothing() {
        let tree = tree("links");
        tree.program("sbin/init", b"our own").unwrap();
        tree.busybox().unwrap();
        assert_eq!(
            fs_err::read(tree.root.join("sbin/init")).unwrap(),
            b"our own"
        );
        for (link, target) in [
            ("bin/sh", "../bin/busybox"),
            ("usr/bin/wc", "../../bin/busybox"),
        ] {
            let found = fs_err::read_link(tree.root.join(link)).unwrap();
            assert_eq!(found, Path::new(target));
            let inside = fs_err::canonicalize(tree.root.join(link)).unwrap();
            assert_eq!(
                inside,
                fs_err::canonicalize(tree.root.join("bin/busybox")).unwrap()
            );
        }
        remove(&tree.root).unwrap();
    }
}
