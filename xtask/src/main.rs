//! `cargo xtask`: one entrance for everything that developers and CI run.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use xtask::bench::{Amount, Bench, Bita, Change, Format, Pairs, Subject};
use xtask::progress::{Progress, Style};
use xtask::suite::{Part, Suite, workspace_root};

const USAGE: &str = "\
Usage: cargo xtask test [--no-qemu] [--only fmt|clippy|unit|fuzz|qemu] [--fuzz-seconds N]
       cargo xtask bench [--megabytes N] [--rounds N] [--formats LIST] [--changes LIST]
                         [--no-bita] [bundle|install|delta|sizes ...]
       cargo xtask packages

test      install the Debian packages that the tests need, then run them all:
          formatting, clippy, unit and peer tests, fuzz targets (a minute for
          each that reads bundles, 20 s for the others), machines in QEMU
bench     measure our programs, optimised, beside their peers, and print ratios;
          delta makes images of Debian packages, with less than 200 MB a small set;
          of all formats (squashfs-zstd,squashfs-ours,squashfs,ext4,erofs) and
          changes (small,security,kernel) if none are given; it builds bita once,
          which takes minutes, unless --no-bita is given
packages  install these packages only
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Test {
        parts: Vec<Part>,
        fuzz_seconds: Option<u32>,
    },
    Bench(Vec<Subject>, Amount, Pairs),
    Packages,
    Help,
}

fn parse(arguments: &[String]) -> Result<Task, String> {
    let asks = |word: &String| matches!(word.as_str(), "--help" | "-h");
    if arguments.iter().any(asks) {
        return Ok(Task::Help);
    }
    let mut words = arguments.iter().map(String::as_str);
    match words.next() {
        Some("test") => {}
        Some("bench") => return bench(words),
        Some("packages") if arguments.len() == 1 => return Ok(Task::Packages),
        Some("help") => return Ok(Task::Help),
        Some(other) => return Err(format!("there is no task {other:?}")),
        None => return Err("no task was named".to_owned()),
    }
    let mut parts = Part::ALL.to_vec();
    let mut fuzz_seconds = None;
    while let Some(word) = words.next() {
        match word {
            "--no-qemu" => parts.retain(|part| *part != Part::Qemu),
            "--only" => {
                let name = words.next().unwrap_or_default();
                parts.retain(|part| part.name() == name);
            }
            "--fuzz-seconds" => {
                fuzz_seconds = Some(number(word, words.next())?);
            }
            other => return Err(format!("there is no option {other:?}")),
        }
    }
    if parts.is_empty() {
        return Err("these options leave nothing to run".to_owned());
    }
    Ok(Task::Test {
        parts,
        fuzz_seconds,
    })
}

fn bench<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Task, String> {
    let mut amount = Amount::default();
    let mut pairs = Pairs::default();
    let mut subjects = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "--megabytes" => amount.megabytes = number(word, words.next())?.into(),
            "--rounds" => amount.rounds = number(word, words.next())?,
            "--formats" => pairs.formats = list(words.next(), &Format::ALL, Format::word)?,
            "--no-bita" => pairs.bita = Bita::LeftOut,
            "--changes" => pairs.changes = list(words.next(), &Change::ALL, Change::word)?,
            name => {
                let known = Subject::ALL.into_iter().find(|known| known.name() == name);
                subjects.push(known.ok_or_else(|| format!("there is no bench {name:?}"))?);
            }
        }
    }
    if subjects.is_empty() {
        subjects.extend(Subject::ALL);
    }
    Ok(Task::Bench(subjects, amount, pairs))
}

/// Those of `known` that a list names, with commas between them.
fn list<T: Copy>(
    names: Option<&str>,
    known: &[T],
    word: impl Fn(T) -> &'static str,
) -> Result<Vec<T>, String> {
    let find = |name: &str| {
        let found = known.iter().copied().find(|one| word(*one) == name);
        found.ok_or_else(|| format!("there is no {name:?} to choose"))
    };
    names.unwrap_or_default().split(',').map(find).collect()
}

fn number(option: &str, word: Option<&str>) -> Result<u32, String> {
    match word.map(str::parse) {
        Some(Ok(number)) if number > 0 => Ok(number),
        _ => Err(format!("{option} needs a number from 1")),
    }
}

fn main() -> ExitCode {
    let task = match parse(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(task) => task,
        Err(problem) => {
            eprint!("xtask: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let progress = Progress::new(Style::of_stdout());
    // As cargo says it now; as it was at compile time when the program is started by itself.
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = workspace_root(Path::new(&manifest_dir));
    let suite = Suite {
        cargo: cargo.clone(),
        root: root.clone(),
        progress: &progress,
    };
    let result = match task {
        Task::Help => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Task::Packages => suite.install(&Part::ALL),
        Task::Test {
            parts,
            fuzz_seconds,
        } => suite.run(&parts, fuzz_seconds),
        Task::Bench(subjects, amount, pairs) => Bench {
            cargo,
            root,
            progress: &progress,
            amount,
            pairs,
        }
        .run(&subjects),
    };
    println!("\n{}", progress.table());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn command_lines() {
        let test = |parts: &[Part], fuzz_seconds| {
            let parts = parts.to_vec();
            Ok(Task::Test {
                parts,
                fuzz_seconds,
            })
        };
        assert_eq!(parsed("test"), test(&Part::ALL, None));
        let without = [Part::Fmt, Part::Clippy, Part::Unit, Part::Fuzz];
        assert_eq!(parsed("test --no-qemu"), test(&without, None));
        assert_eq!(parsed("test --only qemu"), test(&[Part::Qemu], None));
        let long = parsed("test --only fuzz --fuzz-seconds 3600");
        assert_eq!(long, test(&[Part::Fuzz], Some(3600)));
        assert_eq!(parsed("packages"), Ok(Task::Packages));
        assert_eq!(parsed("bench --help"), Ok(Task::Help));
        let little = Amount {
            megabytes: 8,
            rounds: 1,
        };
        assert_eq!(
            parsed("bench --rounds 1 --megabytes 8 sizes"),
            Ok(Task::Bench(vec![Subject::Sizes], little, Pairs::default()))
        );
        let everything = Task::Bench(Subject::ALL.to_vec(), Amount::default(), Pairs::default());
        assert_eq!(parsed("bench"), Ok(everything));
        let chosen = Pairs {
            formats: vec![Format::Erofs, Format::SquashfsOurs],
            changes: vec![Change::Small],
            bita: Bita::LeftOut,
        };
        let line = "bench --formats erofs,squashfs-ours --no-bita --changes small delta";
        let task = Task::Bench(vec![Subject::Delta], Amount::default(), chosen);
        assert_eq!(parsed(line), Ok(task));
        for wrong in [
            "",
            "tset",
            "test --fast",
            "test --only",
            "test --only x",
            "test --fuzz-seconds",
            "test --fuzz-seconds soon",
            "packages x",
            "bench nothing",
            "bench --rounds 0",
            "bench --megabytes",
            "bench --formats",
            "bench --formats squashfs,fat",
            "bench --changes all",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        assert!(parsed("test --no-qemu --only qemu").is_err());
    }
}
