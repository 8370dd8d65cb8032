//! Fuzzing with libFuzzer, on the stable compiler.
//!
//! What `cargo fuzz` does needs a nightly compiler only for its sanitizers. The instrumentation
//! that shows the fuzzer which code an input reached is a pass of LLVM, and `-C` options of the
//! stable compiler ask for it. So the rooms' `fuzz/` folders are built here, with nothing to
//! install but a C++ compiler for libFuzzer itself.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::command::{captured, logged, tail};
use crate::progress::Progress;

/// How long each target of a room runs when nothing is said. What reads bundles gets a minute: it is
/// the door to the network.
const SECONDS: &[(&str, u32)] = &[("bundle-format", 60)];

/// The same of the rooms that are not named: all targets together have to fit into a build.
const SECONDS_OF_OTHERS: u32 = 20;

/// Targets that run at the same time.
const AT_ONCE: usize = 2;

/// Memory that a target may use, in MiB: far more than the caps of the formats allow for, far less
/// than what two of them need to bring a machine down.
const MEMORY_MB: u32 = 1024;

/// Seconds that one input may take.
const SECONDS_PER_INPUT: u32 = 10;

/// Largest input, in bytes: room for a bundle with a signature and a small payload.
const MAX_INPUT: u32 = 256 * 1024;

/// The passes that count which edges an input reached and which values it was compared with, and
/// assertions, which are what the fuzzer looks for.
const RUSTFLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // One unit per crate: symbols of the passes are not to be split up.
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// What cargo says where it would have to change a lock file and may not, as against a registry that
/// does not answer.
const LOCK_IS_STALE: &str = "because --locked was passed";

/// One fuzz target of a room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    room: String,
    name: String,
}

impl Target {
    /// How long it runs, if `wanted` is not said.
    fn seconds(&self, wanted: Option<u32>) -> u32 {
        let by_room = || SECONDS.iter().find(|(room, _)| *room == self.room);
        wanted.unwrap_or_else(|| by_room().map_or(SECONDS_OF_OTHERS, |(_, seconds)| *seconds))
    }
}

/// What fuzzing needs.
#[derive(Debug)]
pub struct Fuzzing<'a> {
    /// The cargo that started us.
    pub cargo: OsString,
    /// The top of the workspace.
    pub root: PathBuf,
    /// Where people see what happens.
    pub progress: &'a Progress,
}

impl Fuzzing<'_> {
    /// Whether the lock file of every room's targets is what its `Cargo.toml` asks for. Only building
    /// would tell it otherwise, after everything else has run.
    ///
    /// # Errors
    /// One is not, and how it is brought up to date; or cargo cannot read what it needs.
    pub fn check_locks(&self) -> Result<()> {
        let targets = targets(&self.root)?;
        let what = "check the lock files of the fuzz targets";
        self.progress.step(what, || {
            rooms(&targets)
                .into_iter()
                .try_for_each(|room| self.check_lock(room))
        })
    }

    fn check_lock(&self, room: &str) -> Result<()> {
        let manifest = format!("{room}/fuzz/Cargo.toml");
        let mut metadata = Command::new(&self.cargo);
        // Not offline: a bare machine has no index of the registry yet.
        metadata
            .args(["metadata", "--locked", "--format-version", "1"])
            .args(["--manifest-path", &manifest])
            .current_dir(&self.root);
        match captured(&mut metadata) {
            Ok(_) => Ok(()),
            Err(error) if error.to_string().contains(LOCK_IS_STALE) => bail!(
                "{room}/fuzz/Cargo.lock is not what {manifest} and the rooms it uses ask for. This brings it \
                 up to date, and it has to be committed:\n    cargo update --workspace --manifest-path {manifest}"
            ),
            Err(error) => Err(error),
        }
    }

    /// Builds every target of every room and runs each for `seconds` (else for as long as the table
    /// of its room says), two at a time.
    ///
    /// # Errors
    /// There is nothing to run, building fails, or a target finds something: the error then names
    /// the input.
    pub fn run(&self, seconds: Option<u32>) -> Result<()> {
        let targets = targets(&self.root)?;
        if targets.is_empty() {
            bail!("no room has a folder fuzz/fuzz_targets");
        }
        let triple = host(&self.root)?;
        for room in rooms(&targets) {
            let what = format!("build the fuzz targets of {room}");
            self.progress.step(&what, || self.build(room, &triple))?;
        }
        let total: u64 = targets
            .iter()
            .map(|target| u64::from(target.seconds(seconds)))
            .sum();
        let what = format!("fuzz {} targets, {total} s in all", targets.len());
        self.progress.step(&what, || {
            let found = self.run_all(targets, &triple, seconds);
            if found.is_empty() {
                return Ok(());
            }
            bail!("{}", found.join("\n"))
        })
    }

    fn build(&self, room: &str, triple: &str) -> Result<()> {
        let log = self.root.join(format!("target/logs/fuzz-{room}.log"));
        let mut build = Command::new(&self.cargo);
        // With a target triple, build scripts and macros are not instrumented: they do not link
        // with libFuzzer.
        build
            .args(["build", "--release", "--locked", "--target", triple])
            .arg("--manifest-path")
            .arg(self.root.join(room).join("fuzz/Cargo.toml"))
            .arg("--target-dir")
            .arg(self.root.join("target/fuzz"))
            .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"))
            .current_dir(&self.root);
        logged(&mut build, &log)?;
        if !self.root.join(room).join("examples/fuzz_seeds.rs").exists() {
            return Ok(());
        }
        let mut seeds = Command::new(&self.cargo);
        seeds
            .args(["run", "--locked", "--package", room])
            .args(["--example", "fuzz_seeds", "--"])
            .arg(self.seeds(room))
            .current_dir(&self.root);
        logged(&mut seeds, &log)
    }

    fn seeds(&self, room: &str) -> PathBuf {
        self.root.join("target/fuzz/seeds").join(room)
    }

    /// Runs the targets on [`AT_ONCE`] threads; gives what was found.
    fn run_all(&self, targets: Vec<Target>, triple: &str, seconds: Option<u32>) -> Vec<String> {
        let waiting = Mutex::new(VecDeque::from(targets));
        let found = Mutex::new(Vec::new());
        let next = || locked(&waiting).pop_front();
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(target) = next() {
                        if let Err(error) = self.run_one(&target, triple, target.seconds(seconds)) {
                            locked(&found).push(format!("{error:#}"));
                        }
                    }
                });
            }
        });
        locked(&found).clone()
    }

    fn run_one(&self, target: &Target, triple: &str, seconds: u32) -> Result<()> {
        let Target { room, name } = target;
        let work = self.root.join("target/fuzz");
        let corpus = work.join("corpus").join(room).join(name);
        let found = work.join("found").join(room).join(name);
        fs_err::create_dir_all(&corpus)?;
        // What an earlier run found must not be taken for what this one finds.
        if found.exists() {
            fs_err::remove_dir_all(&found)?;
        }
        fs_err::create_dir_all(&found)?;
        let log = self
            .root
            .join(format!("target/logs/fuzz-{room}-{name}.log"));
        // Logs are appended to; the coverage of an earlier run must not be taken for this one's.
        if log.exists() {
            fs_err::remove_file(&log)?;
        }
        let mut run = Command::new(work.join(triple).join("release").join(name));
        // What is new goes into the first folder, the others are only read.
        run.arg(&corpus);
        let seeds = self.seeds(room).join(name);
        if seeds.exists() {
            run.arg(seeds);
        }
        run.arg(format!("-artifact_prefix={}/", found.display()));
        run.arg(format!("-max_total_time={seconds}"));
        run.arg(format!("-rss_limit_mb={MEMORY_MB}"));
        run.arg(format!("-timeout={SECONDS_PER_INPUT}"));
        run.arg(format!("-max_len={MAX_INPUT}"));
        run.args(["-print_final_stats=1", "-verbosity=1"]);
        let Err(error) = logged(&mut run, &log) else {
            check_feedback(&log)?;
            return Ok(());
        };
        match fs_err::read_dir(&found)?.next() {
            Some(input) => bail!(
                "the fuzz target {name} of {room} fails with the input {}\n\
                 again: {} {0}\nThe end of {}:\n{}",
                input?.path().display(),
                work.join(triple).join("release").join(name).display(),
                log.display(),
                tail(&log)
            ),
            None => Err(error),
        }
    }
}

/// Without instrumentation the fuzzer runs all the same, and blindly: that has to be noticed.
fn check_feedback(log: &Path) -> Result<()> {
    let text = String::from_utf8_lossy(&fs_err::read(log)?).into_owned();
    if text.contains("INFO: Loaded") && text.contains(" cov: ") {
        return Ok(());
    }
    bail!(
        "{} shows no coverage: the fuzzer ran without feedback from the code under test",
        log.display()
    )
}

/// The fuzz targets of all rooms, in order.
fn targets(root: &Path) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for room in fs_err::read_dir(root)? {
        let room = room?;
        let folder = room.path().join("fuzz/fuzz_targets");
        if !folder.is_dir() {
            continue;
        }
        for source in fs_err::read_dir(folder)? {
            let path = source?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                targets.push(Target {
                    room: room.file_name().to_string_lossy().into_owned(),
                    name: path
                        .file_stem()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned(),
                });
            }
        }
    }
    targets.sort();
    Ok(targets)
}

/// The rooms of `targets`, which are in order, each once.
fn rooms(targets: &[Target]) -> Vec<&str> {
    let mut rooms: Vec<&str> = targets.iter().map(|target| target.room.as_str()).collect();
    rooms.dedup();
    rooms
}

/// The triple of the machine we run on, as the compiler names it.
fn host(root: &Path) -> Result<String> {
    let version = captured(Command::new("rustc").arg("-vV").current_dir(root))?;
    let triple = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc -vV names no host")?;
    Ok(triple.to_owned())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_found_and_is_a_program_of_its_crate() {
        let root = crate::suite::workspace_root(Path::new(env!("CARGO_MANIFEST_DIR")));
        let targets = targets(&root).unwrap();
        let names: Vec<_> = targets
            .iter()
            .filter(|target| target.room == "bundle-format")
            .map(|target| target.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "block_hash_index",
                "bundle",
                "envelope",
                "manifest",
                "signature",
                "squashfs"
            ]
        );
        for target in &targets {
            let manifest = root.join(&target.room).join("fuzz/Cargo.toml");
            let text = fs_err::read_to_string(manifest).unwrap();
            let path = format!("path = \"fuzz_targets/{}.rs\"", target.name);
            assert!(text.contains(&path), "{target:?} is not in Cargo.toml");
        }
    }

    #[test]
    fn what_reads_bundles_runs_for_a_minute_unless_told_otherwise() {
        let target = |room: &str| Target {
            room: room.to_owned(),
            name: "x".to_owned(),
        };
        assert_eq!(target("bundle-format").seconds(None), 60);
        assert_eq!(target("casync").seconds(None), 20);
        assert_eq!(target("bundle-format").seconds(Some(3)), 3);
    }

    /// Runs a shell script in place of a fuzz target.
    fn run_script(script: &str) -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let place = root.join("target/fuzz/triple/release/broken");
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        // Written by another process: a program that is still open for writing here, and so in any
        // child that another test starts meanwhile, could not be started.
        let mut write = Command::new("sh");
        write.args([
            "-c",
            "printf '%s\n' '#!/bin/sh' \"$1\" > \"$2\" && chmod +x \"$2\"",
            "sh",
        ]);
        assert!(write.arg(script).arg(&place).status().unwrap().success());
        let fuzzing = Fuzzing {
            cargo: "cargo".into(),
            root,
            progress: &Progress::new(crate::progress::Style::Silent),
        };
        let target = Target {
            room: "room".to_owned(),
            name: "broken".to_owned(),
        };
        let found = fuzzing.run_all(vec![target], "triple", Some(3));
        if found.is_empty() {
            return Ok(());
        }
        bail!("{}", found.join("\n"))
    }

    #[test]
    fn a_target_that_crashes_fails_the_run_and_the_input_is_named() {
        let crash = "for word in \"$@\"; do case $word in -artifact_prefix=*) \
                     echo x > \"${word#*=}crash-0815\";; esac; done; echo panicked; exit 77";
        let said = run_script(crash).unwrap_err().to_string();
        assert!(
            said.contains("the fuzz target broken of room fails"),
            "{said}"
        );
        assert!(
            said.contains("target/fuzz/found/room/broken/crash-0815"),
            "{said}"
        );
        assert!(said.contains("panicked"), "the end of the log: {said}");
        // Killed, or out of memory: there may be no input, and it is a failure all the same.
        assert!(run_script("exit 1").is_err());
        assert!(run_script("exit 0").is_err(), "without coverage");
        run_script("echo INFO: Loaded 1 modules; echo '#2 INITED cov: 12 ft: 13'").unwrap();
    }

    #[test]
    fn a_lock_file_that_is_out_of_date_is_named_with_what_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        let room = |version| format!("[package]\nname = \"room\"\nversion = \"{version}\"\n");
        write("room/Cargo.toml", &room("1.0.0"));
        write("room/src/lib.rs", "");
        write(
            "room/fuzz/Cargo.toml",
            "[package]\nname = \"room-fuzz\"\n[workspace]\n[dependencies]\nroom.path = \"..\"\n\
             [[bin]]\nname = \"all\"\npath = \"fuzz_targets/all.rs\"\n",
        );
        write("room/fuzz/fuzz_targets/all.rs", "fn main() {}");
        let fuzzing = Fuzzing {
            cargo: "cargo".into(),
            root: root.to_owned(),
            progress: &Progress::new(crate::progress::Style::Silent),
        };
        let mend = || {
            let mut cargo = Command::new("cargo");
            cargo.args(["update", "--workspace", "--offline", "--manifest-path"]);
            captured(cargo.arg("room/fuzz/Cargo.toml").current_dir(root)).unwrap();
        };
        let refused = || format!("{:#}", fuzzing.check_locks().unwrap_err());
        mend();
        fuzzing.check_locks().unwrap();
        write("room/Cargo.toml", &room("1.0.1"));
        let said = refused();
        assert!(said.contains(": room/fuzz/Cargo.lock is not"), "{said}");
        let command = "cargo update --workspace --manifest-path room/fuzz/Cargo.toml";
        assert!(said.ends_with(command), "{said}");
        mend();
        fuzzing.check_locks().unwrap();
        // Something else is wrong: cargo's own words tell it.
        write("room/fuzz/Cargo.toml", "[package");
        let said = refused();
        assert!(!said.contains("Cargo.lock is not"), "{said}");
    }

    #[test]
    fn a_run_without_coverage_is_noticed() {
        let dir = std::env::temp_dir().join(format!("xtask-fuzz-{}", std::process::id()));
        fs_err::create_dir_all(&dir).unwrap();
        let log = dir.join("log");
        fs_err::write(&log, "INFO: Seed: 1\n#2 INITED exec/s: 0\n").unwrap();
        assert!(check_feedback(&log).is_err());
        fs_err::write(&log, "INFO: Loaded 1 modules\n#2 INITED cov: 12 ft: 13\n").unwrap();
        assert!(check_feedback(&log).is_ok());
        fs_err::remove_dir_all(&dir).unwrap();
    }
}
