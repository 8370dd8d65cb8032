//! Installs missing Debian packages, and says so once.
//!
//! On Debian 12 (bookworm) packages that must be newer than the release's own come from
//! bookworm-backports, which is added from the machine's own package sources (see [`sources`]).

pub mod private;
mod release;
pub mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{captured, logged};
use crate::progress::Progress;
use private::PrivateApt;
use release::Release;

/// The release whose own QEMU is too old, and that has backports instead.
const RELEASE_WITH_BACKPORTS: &str = "bookworm";
/// Written by us; holds only the backports.
const BACKPORTS_FILE: &str = "/etc/apt/sources.list.d/slotmgr-backports.sources";

/// A package by name, perhaps with the lowest version that will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// The name of the binary package.
    pub name: &'static str,
    /// The lowest version that will do (in Debian's order of versions).
    pub at_least: Option<&'static str>,
}

impl Package {
    /// Any version will do.
    #[must_use]
    pub const fn any(name: &'static str) -> Self {
        Self {
            name,
            at_least: None,
        }
    }

    /// This version or a later one.
    #[must_use]
    pub const fn at_least(name: &'static str, version: &'static str) -> Self {
        Self {
            name,
            at_least: Some(version),
        }
    }
}

/// Packages that are asked for together, and why.
#[derive(Debug, Clone, Copy)]
pub struct PackageSet {
    /// What for, as the end of "installs these packages …".
    pub why: &'static str,
    /// The packages.
    pub packages: &'static [Package],
}

/// The machine that packages are installed on.
#[derive(Debug)]
pub struct Debian<'a> {
    /// Where the output of `apt-get` goes.
    pub log: PathBuf,
    /// Where people see what happens.
    pub progress: &'a Progress,
}

impl Debian<'_> {
    /// Installs what is missing of `sets`; fast and silent when nothing is.
    ///
    /// # Errors
    /// Something is missing and this is not Debian, or the user is not root, or `apt-get` fails
    /// (the error then carries the end of its log).
    pub fn ensure(&self, sets: &[PackageSet]) -> Result<()> {
        let wanted: BTreeSet<Package> = sets.iter().flat_map(|set| set.packages).copied().collect();
        let missing = missing(&wanted, &installed(&wanted)?)?;
        if missing.is_empty() {
            return Ok(());
        }
        let release = Release::parse(&fs_err::read_to_string("/etc/os-release")?);
        release.check(&missing)?;
        check_root(&missing)?;
        self.announce(sets, &missing);

        let from_backports = release.codename == RELEASE_WITH_BACKPORTS
            && missing.iter().any(|package| package.at_least.is_some());
        if from_backports {
            self.add_backports()?;
        }
        self.progress
            .step("read the package lists", || self.apt(&["update"], &[]))?;
        let what = format!("install {} packages", missing.len());
        self.progress.step(&what, || {
            let (newer, plain): (Vec<_>, Vec<_>) = missing
                .iter()
                .partition(|package| package.at_least.is_some());
            self.install(&plain, None)?;
            self.install(&newer, from_backports.then_some("bookworm-backports"))
        })?;
        let still = self::missing(&wanted, &installed(&wanted)?)?;
        if !still.is_empty() {
            bail!(
                "apt-get was content, but these are still missing or too old: {}. Its log: {}",
                names(&still),
                self.log.display()
            );
        }
        Ok(())
    }

    /// Downloads, without installing it, the package that `meta` depends on and whose name begins
    /// with `prefix`, into the folder `into`. Reads the package lists anew when they are missing
    /// or out of date.
    ///
    /// # Errors
    /// There is no such package, or it cannot be downloaded.
    pub fn download_dependency(&self, meta: &str, prefix: &str, into: &Path) -> Result<()> {
        let attempt = || {
            // The version that would be installed: of the release, not of its backports.
            let record =
                captured(Command::new("apt-cache").args(["show", "--no-all-versions", meta]))?;
            let name = dependency(&record, prefix)
                .with_context(|| format!("{meta} depends on no package {prefix}…"))?;
            let mut command = Command::new("apt-get");
            // Without a user to switch to: _apt cannot write to our folder, and says so.
            command.args(["-q", "-o", "APT::Sandbox::User=root", "download", &name]);
            logged(command.current_dir(into), &self.log)
        };
        if attempt().is_ok() {
            return Ok(());
        }
        self.apt(&["update"], &[])?;
        attempt()
    }

    /// Unpacks the source of a package, with Debian's patches, as the new folder `into`. The
    /// machine's own package sources stay as they are.
    ///
    /// # Errors
    /// This version cannot be downloaded or unpacked.
    pub fn source(&self, package: &str, version: &str, into: &Path) -> Result<()> {
        let mut work = into.as_os_str().to_owned();
        work.push(".apt");
        let work = PathBuf::from(work);
        for old in [into, &work] {
            if old.exists() {
                fs_err::remove_dir_all(old)?;
            }
        }
        let apt = self.private(&work, sources::Kind::Source)?;
        apt.run(&["source", "--download-only", &format!("{package}={version}")])?;
        let mut descriptions = Vec::new();
        for entry in fs_err::read_dir(&work)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "dsc") {
                descriptions.push(path);
            }
        }
        let [description] = descriptions.as_slice() else {
            bail!(
                "apt-get left {} source packages of {package}",
                descriptions.len()
            );
        };
        let mut unpack = Command::new("dpkg-source");
        unpack.args(["--no-copy", "-x"]).arg(description).arg(into);
        logged(&mut unpack, &self.log)?;
        Ok(fs_err::remove_dir_all(&work)?)
    }

    /// An apt in `folder` that gets packages of this machine's release from its own mirrors.
    ///
    /// # Errors
    /// The mirrors are not known, or do not answer.
    pub fn private(&self, folder: &Path, kind: sources::Kind) -> Result<PrivateApt> {
        let release = Release::parse(&fs_err::read_to_string("/etc/os-release")?);
        let files = sources::read(Path::new("/etc/apt"))?;
        let text = sources::packages(&files, &release.codename, kind)?;
        PrivateApt::new(folder, &text, &self.log)
    }

    /// Makes a root file system of this release in the new folder `into`: what every Debian has,
    /// and `packages`; without documentation, translations and a package manager. Needs root.
    ///
    /// # Errors
    /// A package cannot be downloaded or installed.
    pub fn bootstrap(&self, packages: &[&str], into: &Path) -> Result<()> {
        let release = Release::parse(&fs_err::read_to_string("/etc/os-release")?);
        let files = sources::read(Path::new("/etc/apt"))?;
        let text = sources::packages(&files, &release.codename, sources::Kind::Binary)?;
        let mut list = into.as_os_str().to_owned();
        list.push(".sources");
        let list = PathBuf::from(list);
        fs_err::write(&list, text)?;
        // In a mount namespace of its own: whatever ends it, nothing stays mounted in the folder.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "mmdebstrap"]);
        command.args(["--mode=root", "--variant=essential", "--quiet"]);
        // A root that was cut off is thrown away: nothing needs to be on the disk in between.
        command.arg("--dpkgopt=force-unsafe-io");
        command.arg(format!("--include={}", packages.join(",")));
        for folder in ["doc", "info", "locale", "man", "zoneinfo"] {
            command.arg(format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"));
        }
        command.arg(&release.codename).arg(into).arg(&list);
        logged(&mut command, &self.log)?;
        Ok(fs_err::remove_file(&list)?)
    }

    fn announce(&self, sets: &[PackageSet], missing: &[Package]) {
        self.progress
            .say("Debian packages that are missing here will be installed now:");
        let mut told = BTreeSet::new();
        for set in sets {
            let new: Vec<Package> = set
                .packages
                .iter()
                .filter(|package| missing.contains(package) && told.insert(package.name))
                .copied()
                .collect();
            if !new.is_empty() {
                self.progress
                    .say(&format!("  {}\n      {}", names(&new), set.why));
            }
        }
        self.progress.say(&format!(
            "  (what apt-get says goes to {})",
            self.log.display()
        ));
    }

    /// Adds the release's backports to the package sources, unless the machine has them.
    fn add_backports(&self) -> Result<()> {
        let files = sources::read(Path::new("/etc/apt"))?;
        let Some(text) = sources::backports(&files, RELEASE_WITH_BACKPORTS)? else {
            return Ok(());
        };
        self.progress.say(&format!(
            "  QEMU 10 comes from {RELEASE_WITH_BACKPORTS}-backports: adding {BACKPORTS_FILE}"
        ));
        fs_err::write(BACKPORTS_FILE, text)?;
        Ok(())
    }

    fn install(&self, packages: &[&Package], suite: Option<&str>) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        // --no-remove: never take away what the owner of the machine has installed. Debian 12's
        // own QEMU would silently remove a qemu-utils from backports.
        let mut arguments = vec!["install", "-y", "--no-install-recommends", "--no-remove"];
        if let Some(suite) = suite {
            arguments.extend(["-t", suite]);
        }
        let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
        self.apt(&arguments, &names)
    }

    fn apt(&self, arguments: &[&str], names: &[&str]) -> Result<()> {
        logged(
            Command::new("apt-get")
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args([
                    "-q",
                    "-o",
                    "DPkg::Lock::Timeout=300",
                    "-o",
                    "Acquire::Retries=3",
                ])
                .args(arguments)
                .args(names),
            &self.log,
        )
    }
}

/// What is installed of `wanted`: name to version.
fn installed(wanted: &BTreeSet<Package>) -> Result<BTreeMap<String, String>> {
    let native = captured(Command::new("dpkg").arg("--print-architecture")).with_context(|| {
        format!(
            "this is not a Debian system (no dpkg), so nothing can be installed by itself. \
             Install these by hand, or use Debian 12 or later: {}",
            names(wanted)
        )
    })?;
    // It exits with 1 when it does not know one of the names: what it prints is what counts.
    let output = Command::new("dpkg-query")
        .args([
            "-W",
            "-f",
            "${Package} ${Architecture} ${db:Status-Status} ${Version}\n",
        ])
        .args(wanted.iter().map(|package| package.name))
        .stdin(Stdio::null())
        .output()
        .context("cannot start dpkg-query")?;
    Ok(parse_installed(
        &String::from_utf8_lossy(&output.stdout),
        native.trim(),
    ))
}

/// Reads lines of `name architecture status version`.
fn parse_installed(text: &str, native: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (name, arch, status) = (words.next()?, words.next()?, words.next()?);
            let here = status == "installed" && (arch == native || arch == "all");
            here.then_some((name.to_owned(), words.next()?.to_owned()))
        })
        .collect()
}

/// Those of `wanted` that are not installed or too old.
fn missing(
    wanted: &BTreeSet<Package>,
    installed: &BTreeMap<String, String>,
) -> Result<Vec<Package>> {
    let mut missing = Vec::new();
    for package in wanted {
        let enough = match (installed.get(package.name), package.at_least) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(version), Some(lowest)) => Command::new("dpkg")
                .args(["--compare-versions", version, "ge", lowest])
                .status()
                .context("cannot start dpkg")?
                .success(),
        };
        if !enough {
            missing.push(*package);
        }
    }
    Ok(missing)
}

fn names<'a>(packages: impl IntoIterator<Item = &'a Package>) -> String {
    let names: Vec<&str> = packages.into_iter().map(|package| package.name).collect();
    names.join(" ")
}

fn check_root(missing: &[Package]) -> Result<()> {
    let user = captured(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        bail!(
            "some Debian packages are missing, and only root can install them. Either run this \
             as root, or install them first:\n    apt-get install --no-install-recommends {}",
            names(missing)
        );
    }
    Ok(())
}

/// The package whose name begins with `prefix`, from the `Depends` of a package's record.
fn dependency(record: &str, prefix: &str) -> Option<String> {
    let depends = record
        .lines()
        .find_map(|line| line.strip_prefix("Depends:"))?;
    depends
        .split([',', '|'])
        .filter_map(|dependency| dependency.split_whitespace().next())
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_architecture_counts_as_installed() {
        let text = "gcc amd64 installed 4:12.2.0-3\n\
                    libssl-dev arm64 installed 3.0.22-1\n\
                    kmod  not-installed \n\
                    ovmf all installed 2022.11-6\n";
        let installed = parse_installed(text, "amd64");
        assert_eq!(installed.keys().collect::<Vec<_>>(), ["gcc", "ovmf"]);
        assert_eq!(installed["gcc"], "4:12.2.0-3");
    }

    #[test]
    fn too_old_is_missing() {
        let wanted = BTreeSet::from([
            Package::any("gcc"),
            Package::any("kmod"),
            Package::at_least("qemu-system-x86", "1:10.0"),
            Package::at_least("qemu-utils", "1:10.0"),
        ]);
        let installed = parse_installed(
            "gcc amd64 installed 4:12.2.0-3\n\
             qemu-system-x86 amd64 installed 1:7.2+dfsg-7+deb12u18\n\
             qemu-utils amd64 installed 1:10.0.2+ds-2+deb13u1~bpo12+1\n",
            "amd64",
        );
        let missing = missing(&wanted, &installed).unwrap();
        assert_eq!(names(&missing), "kmod qemu-system-x86");
    }

    #[test]
    fn dependency_of_a_meta_package() {
        let record = "Package: linux-image-cloud-amd64\nVersion: 6.1.192-2\n\
                      Depends: x, linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n";
        let name = dependency(record, "linux-image-").unwrap();
        assert_eq!(name, "linux-image-6.1.0-56-cloud-amd64");
        assert_eq!(dependency(record, "linux-headers-"), None);
    }
}
