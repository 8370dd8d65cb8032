//! `cargo xtask bench`: our programs beside their peers, on the same input, in one run.
//!
//! Prints times and ratios; nothing is asserted, since machines differ and are shared. The first
//! row of each table is what the others are compared with.

mod bundle;
mod delta;
mod home;
mod input;
mod install;
mod medium;
mod race;
mod service;
mod sizes;
mod stages;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

pub use delta::{Bita, Change, Format, Pairs};

use crate::command::logged;
use crate::debian::Debian;
use crate::packages;
use crate::progress::Progress;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Making, checking and taking apart bundles.
    Bundle,
    /// Installing one.
    Install,
    /// Updates in pieces.
    Delta,
    /// Programs: bytes on disk, memory.
    Sizes,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bundle, Self::Install, Self::Delta, Self::Sizes];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Install => "install",
            Self::Delta => "delta",
            Self::Sizes => "sizes",
        }
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Size of the image, in MiB. Images of packages have 500, or with less than 200 about 100.
    pub megabytes: u64,
    /// Runs of each program; the table shows the median.
    pub rounds: u32,
}

impl Default for Amount {
    fn default() -> Self {
        Self {
            megabytes: 400,
            rounds: 3,
        }
    }
}

/// A bench, set up.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The cargo that started us.
    pub cargo: OsString,
    /// The top of the workspace.
    pub root: PathBuf,
    /// Where people see what happens.
    pub progress: &'a Progress,
    /// How much.
    pub amount: Amount,
    /// Of which images, for updates in pieces.
    pub pairs: Pairs,
}

impl Bench<'_> {
    /// Builds the programs as they are released, and measures `subjects`.
    ///
    /// # Errors
    /// A package cannot be installed, the programs do not build, or a contestant fails.
    pub fn run(&self, subjects: &[Subject]) -> Result<()> {
        let mut sets = vec![packages::BUILD, packages::PEERS, packages::BENCH];
        if subjects.contains(&Subject::Install) {
            sets.push(packages::BENCH_INSTALL);
        }
        if subjects.contains(&Subject::Delta) {
            sets.push(packages::BENCH_DELTA);
        }
        self.debian().ensure(&sets)?;
        self.progress
            .step("building the programs, optimised", || self.build(subjects))?;
        // Not in /tmp, which is memory on many machines: disks are part of what is measured.
        let place = self.root.join("target/bench");
        if place.exists() {
            fs_err::remove_dir_all(&place)?;
        }
        fs_err::create_dir_all(&place)?;
        for subject in subjects {
            match subject {
                Subject::Bundle => bundle::measure(self, &place)?,
                Subject::Install => install::measure(self, &place)?,
                Subject::Delta => delta::measure(self, &place)?,
                Subject::Sizes => sizes::measure(self, &place)?,
            }
        }
        fs_err::remove_dir_all(&place)?;
        Ok(())
    }

    fn debian(&self) -> Debian<'_> {
        Debian {
            log: self.root.join("target/logs/apt.log"),
            progress: self.progress,
        }
    }

    fn build(&self, subjects: &[Subject]) -> Result<()> {
        let mut command = Command::new(&self.cargo);
        command.current_dir(&self.root);
        command.args(["build", "--release", "--locked", "--package=bundle-tool"]);
        // Deltas need no more than that, and the others take minutes.
        if subjects.iter().any(|subject| *subject != Subject::Delta) {
            command.args(["--package=slotmgr", "--package=rauc-compat"]);
        }
        logged(&mut command, &self.log())
    }

    /// One of our programs, as it is released.
    fn program(&self, name: &str) -> PathBuf {
        self.root.join("target/release").join(name)
    }

    /// Has our tool do what nobody competes in.
    fn tool(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(self.program("bundle-tool"));
        logged(command.args(arguments), &self.log())
    }

    fn log(&self) -> PathBuf {
        self.root.join("target/logs/bench.log")
    }

    /// Shows what `contestants` need, and who they are.
    fn race(&self, title: &str, contestants: &[race::Contestant]) -> Result<()> {
        self.measured(title, contestants).map(drop)
    }

    /// The same; gives what each of them took.
    fn measured(
        &self,
        title: &str,
        contestants: &[race::Contestant],
    ) -> Result<Vec<race::Measured>> {
        let ended = self.progress.step(title, || {
            race::race(title, self.amount.rounds, contestants, &self.log())
        })?;
        println!("\n{}", ended.table);
        Ok(ended.medians)
    }

    /// Demo keys, and an image of the wanted size.
    fn prepare(&self, place: &Path) -> Result<()> {
        self.progress.step("making keys and an image", || {
            let mut keys = Command::new(self.program("bundle-tool"));
            keys.args(["keys", "demo"]).arg(place.join("pki"));
            if !place.join("pki").exists() {
                logged(&mut keys, &self.log())?;
            }
            let image = place.join("rootfs.img");
            if !image.exists() {
                input::write_image(&image, self.amount.megabytes, 7)?;
            }
            Ok(())
        })
    }
}

/// A path as an argument.
fn word(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}
