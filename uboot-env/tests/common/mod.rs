//! Shared by the integration tests: running the programs, and a simulated flash.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(
    clippy::disallowed_methods,
    reason = "test files need no power-cut safety"
)]

pub mod flash_sim;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use uboot_env::codec::{Endian, Image};
use uboot_env::env::{Env, VarName};

pub const SIZE: u64 = 0x2000;

pub fn env(vars: &[(&str, &str)]) -> Env {
    let mut env = Env::new();
    for (name, value) in vars {
        env.set(&VarName::new(name).unwrap(), value.as_bytes())
            .unwrap();
    }
    env
}

pub fn image(vars: &[(&str, &str)], flags: Option<u8>) -> Vec<u8> {
    Image::render(&env(vars), flags, SIZE, Endian::Little).unwrap()
}

/// A directory with two copies and a configuration.
pub struct Board {
    dir: tempfile::TempDir,
    pub config: PathBuf,
}

impl Board {
    /// Writes the given copies and a line for each.
    pub fn new(copies: &[&[u8]]) -> Self {
        let board = Self::bare();
        let mut lines = String::new();
        for (index, bytes) in copies.iter().enumerate() {
            board.put(index, bytes);
            lines += &format!("{} 0x0 {SIZE:#x}\n", board.copy(index).display());
        }
        std::fs::write(&board.config, lines).unwrap();
        board
    }

    pub fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("fw_env.config");
        Self { dir, config }
    }

    /// Two valid copies: the first current with `a=1 b=2`, the second older with `a=0`.
    pub fn redundant() -> Self {
        let new = image(&[("a", "1"), ("b", "2")], Some(2));
        let old = image(&[("a", "0")], Some(1));
        Self::new(&[&new, &old])
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn copy(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("copy{index}"))
    }

    pub fn get(&self, index: usize) -> Vec<u8> {
        std::fs::read(self.copy(index)).unwrap()
    }

    pub fn put(&self, index: usize, bytes: &[u8]) {
        std::fs::write(self.copy(index), bytes).unwrap();
    }

    /// One of our programs, under this name.
    pub fn ours<S: AsRef<OsStr>>(&self, name: &str, args: &[S]) -> Ran {
        let link = self.dir.path().join(name);
        match std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_uboot-env"), &link) {
            // From an earlier run, or from a thread that runs it at the same time.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.unwrap(),
        }
        let mut command = Command::new(link);
        // The configuration and locks follow the verb, if there is one.
        let verb = usize::from(name == "uboot-env").min(args.len());
        let (verb, rest) = args.split_at(verb);
        command
            .args(verb)
            .arg("-c")
            .arg(&self.config)
            .arg("-l")
            .arg(self.dir.path())
            .args(rest);
        Ran::of(command.output().unwrap())
    }

    /// The program of the same name from libubootenv-tool.
    pub fn theirs<S: AsRef<OsStr>>(&self, name: &str, args: &[S]) -> Ran {
        let mut command = Command::new(format!("/usr/bin/{name}"));
        command.arg("-c").arg(&self.config).args(args);
        Ran::of(
            command
                .output()
                .expect("libubootenv-tool must be installed"),
        )
    }
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its output, provided it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}
