//! Trees of files out of Debian packages, in pairs as updates have them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::super::Bench;
use crate::command::{captured, logged};
use crate::debian::sources::Kind;

/// Time of every file that is younger: 2026-01-01, so that a tree is the same whenever it is made.
pub const TIME: &str = "1767225600";

/// A small device's packages: the least that has all three kinds of change.
const LITTLE: &[&str] = &[
    "bash",
    "ca-certificates",
    "coreutils",
    "curl",
    "dbus",
    "jq",
    "kmod",
    "openssh-server",
    "openssl",
    "rsync",
    "systemd",
    "udev",
    "util-linux",
];

/// What a larger one has besides.
const MORE: &[&str] = &[
    "avahi-daemon",
    "base-files",
    "bluez",
    "chrony",
    "dash",
    "dosfstools",
    "dpkg",
    "e2fsprogs",
    "gnupg",
    "gstreamer1.0-plugins-base",
    "iproute2",
    "network-manager",
    "nftables",
    "nginx-light",
    "parted",
    "podman",
    "python3",
    "python3-cryptography",
    "python3-requests",
    "sqlite3",
    "strace",
    "systemd-resolved",
    "systemd-sysv",
    "tcpdump",
    "tzdata",
    "vim-tiny",
    "wget",
    "wpasupplicant",
];

/// What no device has, and what would hide everything else by its size.
const LEFT_OUT: &[&str] = &[
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "usr/bin/podman",
];

/// Most of what a kernel brings along, left out of a small set.
const MODULES: &[&str] = &["drivers", "fs", "net", "sound"];

/// Where a tree keeps its kernel.
const KERNEL: &[&str] = &["boot", "lib/modules", "usr/lib/modules"];

/// Files of the small update that come from the newer release; a text is changed besides.
const SMALL: &[&str] = &["usr/bin/jq", "usr/bin/rsync"];

/// What has changed between two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Two programs and a text.
    Small,
    /// All of the release's updates but the kernel's.
    Security,
    /// These, and another kernel with all of its modules.
    Kernel,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Small, Self::Security, Self::Kernel];

    /// What tables call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "three small files",
            Self::Security => "security update",
            Self::Kernel => "kernel change",
        }
    }

    /// Part of the names of its files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Security => "security",
            Self::Kernel => "kernel",
        }
    }
}

/// The trees: the old one, and what it becomes.
#[derive(Debug)]
pub struct Trees {
    folder: PathBuf,
}

impl Trees {
    /// Gets the packages, as the release had them last and as they are today, and unpacks them.
    ///
    /// # Errors
    /// A package cannot be had, or something cannot be written.
    pub fn make(bench: &Bench<'_>, folder: &Path) -> Result<Self> {
        let trees = Self {
            folder: folder.to_owned(),
        };
        let packages = packages(bench.amount.megabytes)?;
        let step = |what: &str, work: &dyn Fn() -> Result<()>| bench.progress.step(what, work);
        for (name, kind) in [("old", Kind::Released), ("kernel", Kind::Binary)] {
            step(&format!("unpacking packages ({name})"), &|| {
                trees.unpack(bench, name, kind, &packages)
            })?;
        }
        step("making the other trees", &|| trees.mix(&bench.log()))?;
        Ok(trees)
    }

    /// The tree before the update.
    pub fn old(&self) -> PathBuf {
        self.folder.join("old")
    }

    /// The tree after it.
    pub fn after(&self, change: Change) -> PathBuf {
        self.folder.join(change.word())
    }

    fn unpack(&self, bench: &Bench<'_>, name: &str, kind: Kind, packages: &[String]) -> Result<()> {
        let tree = self.folder.join(name);
        fs_err::create_dir_all(&tree)?;
        let work = self.folder.join(format!("{name}.apt"));
        for package in bench.debian().private(&work, kind)?.download(packages)? {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("-x").arg(package).arg(&tree);
            logged(&mut unpack, &bench.log())?;
        }
        fs_err::remove_dir_all(&work)?;
        for path in LEFT_OUT {
            remove(&tree.join(path))?;
        }
        if is_little(bench.amount.megabytes) {
            for kernel in fs_err::read_dir(tree.join("lib/modules"))? {
                let modules = kernel?.path().join("kernel");
                MODULES
                    .iter()
                    .try_for_each(|kind| remove(&modules.join(kind)))?;
            }
        }
        Ok(())
    }

    /// The trees of the other updates, of those two.
    fn mix(&self, log: &Path) -> Result<()> {
        let (old, newest) = (self.old(), self.after(Change::Kernel));
        let security = self.after(Change::Security);
        copy(&newest, &security, log)?;
        for path in KERNEL {
            remove(&security.join(path))?;
            // Either of the two folders of modules is a link, in newer releases.
            if old.join(path).symlink_metadata().is_ok() {
                copy(&old.join(path), &security.join(path), log)?;
            }
        }
        let small = self.after(Change::Small);
        copy(&old, &small, log)?;
        for path in SMALL {
            remove(&small.join(path))?;
            copy(&newest.join(path), &small.join(path), log)?;
        }
        let text = small.join("etc/slotmgr-bench");
        fs_err::write(&text, "version=2\n")?;
        fs_err::write(old.join("etc/slotmgr-bench"), "version=1\n")?;
        for tree in [&old, &newest, &security, &small] {
            clamp(tree, log)?;
        }
        Ok(())
    }
}

/// Whether a small device's packages are enough for so many megabytes.
const fn is_little(megabytes: u64) -> bool {
    megabytes < 200
}

fn packages(megabytes: u64) -> Result<Vec<String>> {
    let architecture = captured(Command::new("dpkg").arg("--print-architecture"))?;
    let kernel = format!("linux-image-cloud-{}", architecture.trim());
    let more = if is_little(megabytes) { &[] } else { MORE };
    let names = LITTLE.iter().chain(more).map(|name| (*name).to_owned());
    Ok(names.chain([kernel]).collect())
}

fn remove(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => Ok(fs_err::remove_dir_all(path)?),
        Ok(_) => Ok(fs_err::remove_file(path)?),
        Err(_) => Ok(()),
    }
}

/// With owners, times and links, as `cp -a` has it.
fn copy(from: &Path, to: &Path, log: &Path) -> Result<()> {
    let mut cp = Command::new("cp");
    cp.args(["-a", "--no-target-directory"]).arg(from).arg(to);
    logged(&mut cp, log)
}

fn clamp(tree: &Path, log: &Path) -> Result<()> {
    let mut find = Command::new("find");
    find.arg(tree).args(["-newermt", &format!("@{TIME}")]);
    find.args(["-exec", "touch", "-h", "-d", &format!("@{TIME}"), "{}", "+"]);
    logged(&mut find, log)
}
