//! `cargo xtask test`: all that CI runs, in the order in which failures show soonest.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::shown;
use crate::debian::Debian;
use crate::fuzz::Fuzzing;
use crate::packages;
use crate::progress::Progress;

/// One part of the test suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `cargo fmt --check`.
    Fmt,
    /// `cargo clippy` with warnings as errors.
    Clippy,
    /// Unit, peer and property tests, and those in the documentation.
    Unit,
    /// Every fuzz target for a while.
    Fuzz,
    /// Machines in QEMU.
    Qemu,
}

impl Part {
    /// All parts, in the order in which they run.
    pub const ALL: [Self; 5] = [Self::Fmt, Self::Clippy, Self::Unit, Self::Fuzz, Self::Qemu];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Unit => "unit",
            Self::Fuzz => "fuzz",
            Self::Qemu => "qemu",
        }
    }
}

/// What the suite runs with.
#[derive(Debug)]
pub struct Suite<'a> {
    /// The cargo that started us.
    pub cargo: OsString,
    /// The top of the workspace.
    pub root: PathBuf,
    /// Where people see what happens.
    pub progress: &'a Progress,
}

impl Suite<'_> {
    /// Installs the packages that `parts` need, then runs these (each fuzz target for
    /// `fuzz_seconds`, if that is said); stops at the first that fails.
    ///
    /// # Errors
    /// A lock file is out of date, a package cannot be installed, or a part fails.
    pub fn run(&self, parts: &[Part], fuzz_seconds: Option<u32>) -> Result<()> {
        if parts.contains(&Part::Fuzz) {
            self.fuzzing().check_locks()?;
        }
        self.install(parts)?;
        for part in parts {
            match part {
                Part::Fmt => self.cargo("formatting", &["fmt", "--all", "--check"])?,
                Part::Clippy => self.cargo(
                    "clippy",
                    &[
                        "clippy",
                        "--workspace",
                        "--all-targets",
                        "--locked",
                        "--",
                        "-Dwarnings",
                    ],
                )?,
                Part::Unit => self.unit()?,
                Part::Fuzz => self.fuzzing().run(fuzz_seconds)?,
                Part::Qemu => self.qemu()?,
            }
        }
        Ok(())
    }

    /// Installs the packages that `parts` need.
    ///
    /// # Errors
    /// See [`Debian::ensure`].
    pub fn install(&self, parts: &[Part]) -> Result<()> {
        let mut sets = Vec::new();
        if parts.iter().any(|part| *part != Part::Fmt) {
            sets.push(packages::BUILD);
        }
        if parts.contains(&Part::Unit) {
            sets.push(packages::PEERS);
        }
        if parts.contains(&Part::Fuzz) {
            sets.push(packages::FUZZING);
        }
        if parts.contains(&Part::Qemu) {
            sets.push(packages::MACHINES);
        }
        let log = self.root.join("target/logs/apt.log");
        Debian {
            log,
            progress: self.progress,
        }
        .ensure(&sets)
    }

    /// Tests that need no machine of their own.
    fn unit(&self) -> Result<()> {
        let suite = ["--workspace", "--locked"];
        if self.has_nextest() {
            self.cargo("tests", &[&["nextest", "run"][..], &suite].concat())?;
        } else {
            self.cargo(
                "tests",
                &[&["test", "--lib", "--bins", "--tests"][..], &suite].concat(),
            )?;
        }
        self.cargo(
            "tests in the documentation",
            &[&["test", "--doc"][..], &suite].concat(),
        )
    }

    /// Fuzz targets, instrumented with the same compiler.
    fn fuzzing(&self) -> Fuzzing<'_> {
        Fuzzing {
            cargo: self.cargo.clone(),
            root: self.root.clone(),
            progress: self.progress,
        }
    }

    /// Tests that boot machines: ignored by plain `cargo test`, since they need root, Debian's
    /// packages and minutes.
    fn qemu(&self) -> Result<()> {
        let package = ["test", "--locked", "--package", "qemu-tests", "--test"];
        // Two machines at a time run at full speed on two cores, more do not.
        let threads = ["--", "--ignored", "--test-threads=2", "--nocapture"];
        for (what, test) in [
            ("GRUB's choice of slot", "boots_the_right_slot"),
            ("U-Boot's choice of slot", "uboot_boots_what_we_write"),
            ("who notices a hang", "notices_hangs"),
            ("a trial under systemd", "under_systemd"),
            (
                "the firmware's choice of slot",
                "firmware_boots_the_right_slot",
            ),
            ("flash that the kernel simulates", "writes_flash"),
        ] {
            self.cargo(what, &[&package[..], &[test], &threads].concat())?;
        }
        self.cargo("demo", &["demo"])?;
        self.cargo("demo of a bad update", &["demo", "--bad"])
    }

    fn has_nextest(&self) -> bool {
        Command::new(&self.cargo)
            .args(["nextest", "--version"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Runs cargo with its output on ours.
    fn cargo(&self, what: &str, arguments: &[&str]) -> Result<()> {
        self.progress.section(what, || {
            let mut command = Command::new(&self.cargo);
            command
                .args(arguments)
                .current_dir(&self.root)
                .stdin(Stdio::null());
            self.progress.say(&format!("$ {}", shown(&command)));
            let status = command.status().context("cannot start cargo")?;
            if !status.success() {
                bail!("`{}` ended with {status}", shown(&command));
            }
            Ok(())
        })
    }
}

/// The top of the workspace, from the folder of this package.
#[must_use]
pub fn workspace_root(manifest_dir: &Path) -> PathBuf {
    manifest_dir.parent().unwrap_or(manifest_dir).to_owned()
}
