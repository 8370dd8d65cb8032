//! Contests between programs: each round runs everyone once, in turn, so that a machine that
//! grows slower does so for all.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::service::Usage;
use crate::command::logged;

/// One program of a contest.
#[derive(Debug, Clone)]
pub struct Contestant {
    /// What the table calls it.
    pub name: String,
    /// Files that it makes: removed before each run.
    pub makes: Vec<PathBuf>,
    /// A file that it finds, and what is in it: copied before each run.
    pub begins: Option<(PathBuf, PathBuf)>,
    /// Bytes that it works on, if the table is to tell its speed.
    pub handles: Option<u64>,
    /// Program and arguments.
    pub words: Vec<String>,
    /// Added to its environment.
    pub environment: Vec<(&'static str, String)>,
    /// The process that does its work, when it only asks: what that one takes counts too.
    pub service: Option<u32>,
}

impl Contestant {
    /// A contestant that runs `program` with `arguments`.
    pub fn new(name: &str, program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let program = program.as_ref().display().to_string();
        let arguments = arguments.iter().map(|word| (*word).to_owned());
        Self {
            name: name.to_owned(),
            makes: Vec::new(),
            begins: None,
            handles: None,
            words: std::iter::once(program).chain(arguments).collect(),
            environment: Vec::new(),
            service: None,
        }
    }

    /// Removes `path` before each run.
    #[must_use]
    pub fn makes(mut self, path: impl Into<PathBuf>) -> Self {
        self.makes.push(path.into());
        self
    }

    /// Copies `content` to `path` before each run.
    #[must_use]
    pub fn begins_as(mut self, content: &Path, path: &Path) -> Self {
        self.begins = Some((content.to_owned(), path.to_owned()));
        self
    }

    /// Has the process `service` do its work, which it reaches by `environment`.
    #[must_use]
    pub fn asks(mut self, service: u32, environment: [(&'static str, String); 2]) -> Self {
        self.service = Some(service);
        self.environment.extend(environment);
        self
    }

    /// Tells its speed in bytes of these.
    #[must_use]
    pub fn handles(mut self, bytes: u64) -> Self {
        self.handles = Some(bytes);
        self
    }
}

/// What one run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// From start to end.
    pub wall: Duration,
    /// Processor time, of all its threads and children, in seconds.
    pub cpu: f64,
    /// Peak resident memory of its largest process, in KiB.
    pub peak_kib: u64,
    /// What it wrote to disks, in KiB, as the kernel accounts it.
    pub written_kib: u64,
}

/// How a contest went.
#[derive(Debug)]
pub struct Race {
    /// For people to read; the first is what the others are compared with.
    pub table: String,
    /// What each contestant took, in their order.
    pub medians: Vec<Measured>,
}

/// Runs the contestants `rounds` times.
///
/// # Errors
/// A program cannot be started, or fails: a contest that somebody did not finish has no result.
pub fn race(title: &str, rounds: u32, contestants: &[Contestant], log: &Path) -> Result<Race> {
    let mut results: Vec<Vec<Measured>> = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for (contestant, runs) in contestants.iter().zip(&mut results) {
            runs.push(run(contestant, log).with_context(|| contestant.name.clone())?);
        }
    }
    Ok(Race {
        table: table(title, contestants, &results),
        medians: results.iter().filter_map(|runs| median(runs)).collect(),
    })
}

fn run(contestant: &Contestant, log: &Path) -> Result<Measured> {
    for path in &contestant.makes {
        if path.is_dir() {
            fs_err::remove_dir_all(path)?;
        } else if path.exists() {
            fs_err::remove_file(path)?;
        }
    }
    if let Some((content, path)) = &contestant.begins {
        fs_err::copy(content, path)?;
        // What this copy still has to write is not to be waited for later.
        fs_err::File::open(path)?.sync_all()?;
    }
    let figures = log.with_extension("time");
    let mut command = Command::new("/usr/bin/time");
    command.args(["--format=%U %S %M %O", "--output"]);
    command.arg(&figures).args(&contestant.words);
    command.envs(contestant.environment.iter().cloned());
    let of_service = || contestant.service.map(Usage::of).transpose();
    let before = of_service()?;
    let start = Instant::now();
    logged(&mut command, log)?;
    let wall = start.elapsed();
    let client = measured(wall, &fs_err::read_to_string(&figures)?)?;
    let (Some(before), Some(after)) = (before, of_service()?) else {
        return Ok(client);
    };
    Ok(Measured {
        cpu: client.cpu + after.cpu - before.cpu,
        peak_kib: client.peak_kib.max(after.peak_kib),
        written_kib: client.written_kib + after.written_kib - before.written_kib,
        ..client
    })
}

/// Reads what GNU time wrote for the format in [`run`].
fn measured(wall: Duration, figures: &str) -> Result<Measured> {
    let words: Vec<&str> = figures.split_whitespace().collect();
    let [user, system, peak, blocks] = words[..] else {
        bail!("time wrote {figures:?}");
    };
    let seconds = |word: &str| -> Result<f64> { Ok(word.parse()?) };
    Ok(Measured {
        wall,
        cpu: seconds(user)? + seconds(system)?,
        peak_kib: peak.parse()?,
        // The kernel counts output in blocks of 512 bytes.
        written_kib: blocks.parse::<u64>()? / 2,
    })
}

/// Medians: a single disturbed run changes nothing.
fn median(runs: &[Measured]) -> Option<Measured> {
    let mut sorted = runs.to_vec();
    sorted.sort_by_key(|run| run.wall);
    sorted.get(sorted.len() / 2).copied()
}

fn table(title: &str, contestants: &[Contestant], results: &[Vec<Measured>]) -> String {
    let mut text = format!(
        "{title}\n  {:<44} {:>8} {:>7} {:>8} {:>9} {:>10}\n",
        "", "wall", "ratio", "cpu", "peak", "written"
    );
    let medians: Vec<_> = results.iter().map(|runs| median(runs)).collect();
    let base = medians.first().copied().flatten();
    for (contestant, run) in contestants.iter().zip(medians) {
        let (Some(run), Some(base)) = (run, base) else {
            continue;
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "  {:<44} {:>6.2} s {:>7.2} {:>6.2} s {:>6} MiB {:>6} MiB",
            contestant.name,
            run.wall.as_secs_f64(),
            run.wall.as_secs_f64() / base.wall.as_secs_f64(),
            run.cpu,
            run.peak_kib / 1024,
            run.written_kib / 1024,
        );
        if let Some(bytes) = contestant.handles {
            let _ = write!(text, " {:>6.0} MB/s", speed(bytes, run.wall));
        }
        text.push('\n');
    }
    text
}

/// In 10^6 bytes a second.
#[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
fn speed(bytes: u64, wall: Duration) -> f64 {
    bytes as f64 / 1e6 / wall.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(milliseconds: u64) -> Measured {
        Measured {
            wall: Duration::from_millis(milliseconds),
            cpu: 0.5,
            peak_kib: 2048,
            written_kib: 0,
        }
    }

    #[test]
    fn the_first_is_what_the_others_are_compared_with() {
        let contestants = [
            Contestant::new("peer", "true", &[]),
            Contestant::new("ours", "true", &[]).handles(55_000_000),
        ];
        let results = [
            vec![took(1000), took(9000), took(1100)],
            vec![took(500), took(550), took(20)],
        ];
        let text = table("t", &contestants, &results);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0][..4], ["peer", "1.10", "s", "1.00"]);
        assert_eq!(rows[1][..4], ["ours", "0.50", "s", "0.45"]);
        assert_eq!(rows[1][10..], ["110", "MB/s"]);
    }

    #[test]
    fn what_time_writes_is_read() {
        let run = measured(Duration::from_secs(1), "1.25 0.25 20480 4\n").unwrap();
        assert_eq!((run.peak_kib, run.written_kib), (20480, 2));
        assert!((run.cpu - 1.5).abs() < 1e-9);
        assert!(
            measured(
                Duration::ZERO,
                "Command exited with non-zero status 1\n0 0 0 0"
            )
            .is_err()
        );
    }
}
