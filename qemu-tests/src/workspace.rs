//! Where things lie: the checkout, and what is made below its `target` folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use xtask::debian::Debian;
use xtask::progress::{Progress, Style};

/// A checkout of this repository, and the cargo that builds it.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The top of the checkout.
    pub root: PathBuf,
    /// The cargo program to build with.
    pub cargo: OsString,
}

impl Workspace {
    /// The checkout that the folder of this package, `manifest_dir`, lies in.
    #[must_use]
    pub fn of_package(manifest_dir: &Path, cargo: OsString) -> Self {
        Self {
            root: manifest_dir.parent().unwrap_or(manifest_dir).to_owned(),
            cargo,
        }
    }

    /// The checkout of this package, for its tests.
    #[must_use]
    pub fn of_tests() -> Self {
        Self::of_package(Path::new(env!("CARGO_MANIFEST_DIR")), "cargo".into())
    }

    /// Gives `work` Debian's packages; nothing is said on the terminal.
    pub fn with_debian<T>(&self, work: impl FnOnce(&Debian<'_>) -> T) -> T {
        let progress = Progress::new(Style::Silent);
        work(&Debian {
            log: self.log("apt.log"),
            progress: &progress,
        })
    }

    /// Where the demo and the machine tests keep what they make; may be deleted at any time.
    #[must_use]
    pub fn demo_dir(&self) -> PathBuf {
        self.root.join("target/demo")
    }

    /// Where cargo puts programs built for the guest: apart from the others, since their compiler
    /// flags differ and would throw out the normal cache at every change.
    #[must_use]
    pub fn guest_target_dir(&self) -> PathBuf {
        self.root.join("target/guest")
    }

    /// A log file by name.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("target/logs").join(name)
    }
}
