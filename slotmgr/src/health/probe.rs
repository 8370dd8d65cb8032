//! Checks that slotmgr makes itself: units, reachability, file systems, comparisons with the time
//! before the update, votes.
//!
//! A probe runs on a thread of its own and may hang there (a dead file system, a name server that
//! does not answer): nobody waits for it longer than its limit.

use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use super::check::{MAX_OUTPUT, Report, Verdict};
use super::systemd;
use super::vote::{self, Vote};
use super::window::Demand;
use crate::config::CheckConfig;
use crate::program::{self, End, POLL, Stop, Streams, Terms};
use crate::state::Baseline;

/// Between two looks at something that is not there yet.
const PAUSE: Duration = Duration::from_millis(250);

/// One attempt to reach something on the network.
const ATTEMPT: Duration = Duration::from_secs(5);

/// What is written, synced and taken away again to see whether a file system can be written.
const TRACE: &str = ".slotmgr-write-check";

/// What a probe looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A systemd unit is active and was not started again more often than this.
    Unit {
        /// With its ending.
        unit: String,
        /// Automatic restarts that are forgiven.
        max_restarts: u64,
    },
    /// No systemd unit has failed once everything has been started.
    NoFailedUnits {
        /// But these may.
        except: Vec<String>,
    },
    /// Something answers.
    Reachable(Address),
    /// A folder's file system takes a file and keeps it.
    Writable(PathBuf),
    /// There is room.
    FreeSpace {
        /// Any path in the file system.
        path: PathBuf,
        /// Bytes.
        at_least: u64,
    },
    /// Not much less memory is available than before the update.
    Memory {
        /// So many percent less are accepted.
        worse_by_percent: u8,
    },
    /// The hottest sensor is not much hotter than before the update.
    Temperature {
        /// So many degrees Celsius more are accepted.
        warmer_by: u32,
    },
    /// The application has said `slotmgr vote NAME ok`, with the check's own name.
    Vote,
}

/// Where something answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `host:port` takes a connection.
    Tcp(String),
    /// The server at this `http://` address answers with a status below 400.
    Http(String),
}

impl Address {
    /// The address as it is written in the configuration.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Address::Tcp(text) | Address::Http(text) => text,
        }
    }

    /// Refuses what can never be reached.
    pub(crate) fn check(&self) -> Result<(), String> {
        let fits = match self {
            Address::Tcp(text) => text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
            }),
            Address::Http(text) => text.strip_prefix("http://").is_some_and(|h| !h.is_empty()),
        };
        match (fits, self) {
            (true, _) => Ok(()),
            (false, Address::Tcp(text)) => Err(format!("tcp = `{text}` is not HOST:PORT")),
            (false, Address::Http(text)) => Err(format!("http = `{text}` is not http://…")),
        }
    }

    /// One attempt.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub fn reach(&self) -> Result<(), String> {
        match self {
            Address::Tcp(to) => {
                let mut last = format!("{to} has no address");
                for address in to.to_socket_addrs().map_err(|error| error.to_string())? {
                    match TcpStream::connect_timeout(&address, ATTEMPT) {
                        Ok(_) => return Ok(()),
                        Err(error) => last = format!("{address}: {error}"),
                    }
                }
                Err(last)
            }
            Address::Http(url) => {
                let config = ureq::Agent::config_builder().timeout_global(Some(ATTEMPT));
                let agent: ureq::Agent = config.build().into();
                // A status of 400 and above is an error for ureq too.
                let answer = agent.get(url).call();
                answer.map(drop).map_err(|error| format!("{url}: {error}"))
            }
        }
    }
}

/// What a probe looks at beside the thing itself.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// Where votes are: see [`vote`].
    pub run: PathBuf,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// How it was before the update.
    pub baseline: Baseline,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// All is well; with a word on it.
    Yes(String),
    /// Not yet: it is looked at again until the limit.
    NotYet(String),
    /// No.
    No(String),
}

/// Looks until there is an answer, the limit has passed, or `stop`.
pub(super) fn run((config, probe): (&CheckConfig, &Probe), around: &Around, stop: &Stop) -> Report {
    let deadline = Instant::now() + config.timeout;
    let (sender, receiver) = channel();
    let (asked, name, around) = (probe.clone(), config.name.clone(), around.clone());
    let thread_stop = stop.clone();
    let work = move || {
        loop {
            let answer = ask(&asked, &name, &around, &thread_stop);
            let again = matches!(answer, Answer::NotYet(_));
            // Nobody listens any more after the limit.
            if sender.send(answer).is_err() || !again {
                return;
            }
            thread::sleep(PAUSE);
        }
    };
    let report = |verdict, output| Report {
        name: config.name.clone(),
        demand: config.demand,
        verdict,
        output,
    };
    if let Err(error) = thread::Builder::new().spawn(work) {
        return report(
            Verdict::Failed(End::NotRun(error.to_string())),
            String::new(),
        );
    }
    let mut last = String::new();
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(Answer::Yes(text)) => return report(Verdict::Passed, text),
            Ok(Answer::No(text)) => return report(Verdict::Found, text),
            Ok(Answer::NotYet(text)) => last = text,
            Err(RecvTimeoutError::Disconnected) => {
                return report(
                    Verdict::Failed(End::NotRun("it ended without an answer".into())),
                    last,
                );
            }
            Err(RecvTimeoutError::Timeout) if stop.is_wanted() => {
                return report(Verdict::Failed(End::Stopped), last);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= deadline {
            return report(Verdict::Failed(End::TimedOut(config.timeout)), last);
        }
    }
}

fn ask(probe: &Probe, name: &str, around: &Around, stop: &Stop) -> Answer {
    match probe {
        Probe::Unit { unit, max_restarts } => systemd::unit(unit, *max_restarts, stop),
        Probe::NoFailedUnits { except } => systemd::no_failed_units(except, stop),
        Probe::Reachable(address) => match address.reach() {
            Ok(()) => Answer::Yes(format!("{} answers", address.text())),
            Err(why) => Answer::NotYet(why),
        },
        Probe::Writable(folder) => match write_and_remove(folder) {
            Ok(()) => Answer::Yes(format!("{} can be written", folder.display())),
            Err(error) => Answer::No(format!("{}: {error}", folder.display())),
        },
        Probe::FreeSpace { path, at_least } => free_space(path, *at_least),
        Probe::Memory { worse_by_percent } => {
            memory(memory_available_kib(), *worse_by_percent, &around.baseline)
        }
        Probe::Temperature { warmer_by } => {
            temperature(hottest_millidegrees(), *warmer_by, &around.baseline)
        }
        Probe::Vote => match vote::read(&around.run, name, &around.boot_id) {
            Some(Vote::Ok) => Answer::Yes("voted ok".to_owned()),
            Some(Vote::Bad(why)) => Answer::No(format!("voted bad: {why}")),
            None => Answer::NotYet(format!("no vote yet (`slotmgr vote {name} ok`)")),
        },
    }
}

fn write_and_remove(folder: &Path) -> io::Result<()> {
    let path = folder.join(TRACE);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(b"slotmgr\n")?;
        file.sync_all()
    });
    // Taken away in either case: a full file system must not keep it.
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

/// Bytes that an ordinary program may still write.
///
/// # Errors
/// What statvfs(3) says.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = statvfs(path)?;
    Ok(found
        .blocks_available()
        .saturating_mul(found.fragment_size()))
}

fn free_space(path: &Path, at_least: u64) -> Answer {
    const MIB: u64 = 1024 * 1024;
    match free_bytes(path) {
        Err(error) => Answer::No(format!("{}: {error}", path.display())),
        Ok(free) => {
            let text = format!(
                "{} has {} MiB left; {} MiB are asked for",
                path.display(),
                free / MIB,
                at_least / MIB
            );
            if free >= at_least {
                Answer::Yes(text)
            } else {
                Answer::No(text)
            }
        }
    }
}

const NOTHING_BEFORE: &str = "nothing is known from before the update";

fn memory(now_kib: Option<u64>, worse_by_percent: u8, baseline: &Baseline) -> Answer {
    let Some(now) = now_kib else {
        return Answer::No("/proc/meminfo does not tell".to_owned());
    };
    let Some(before) = baseline.memory_available_kib else {
        return Answer::Yes(NOTHING_BEFORE.to_owned());
    };
    let text = format!(
        "{} MiB of memory available, {} MiB before the update",
        now / 1024,
        before / 1024
    );
    let kept = 100_u64.saturating_sub(u64::from(worse_by_percent));
    if now.saturating_mul(100) >= before.saturating_mul(kept) {
        Answer::Yes(text)
    } else {
        Answer::No(text)
    }
}

fn temperature(now_millidegrees: Option<i64>, warmer_by: u32, baseline: &Baseline) -> Answer {
    let Some(now) = now_millidegrees else {
        return Answer::Yes("this machine has no temperature sensor".to_owned());
    };
    let Some(before) = baseline.hottest_millidegrees else {
        return Answer::Yes(NOTHING_BEFORE.to_owned());
    };
    let text = format!("{} °C, {} °C before the update", now / 1000, before / 1000);
    if now.saturating_sub(before) <= i64::from(warmer_by).saturating_mul(1000) {
        Answer::Yes(text)
    } else {
        Answer::No(text)
    }
}

fn memory_available_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Of all thermal zones; a zone that cannot be read is passed over.
fn hottest_millidegrees() -> Option<i64> {
    let zones = std::fs::read_dir("/sys/class/thermal").ok()?;
    let read = |zone: std::fs::DirEntry| {
        let text = std::fs::read_to_string(zone.path().join("temp")).ok()?;
        text.trim().parse::<i64>().ok()
    };
    zones.flatten().filter_map(read).max()
}

/// How it is now, for the comparison after the update.
#[must_use]
pub fn baseline(checks: &[CheckConfig]) -> Baseline {
    let addresses = checks.iter().filter_map(|check| match &check.action {
        crate::config::Action::Probe(Probe::Reachable(address)) => Some(address.clone()),
        _ => None,
    });
    // At once: each may take as long as an attempt.
    let attempts: Vec<_> = addresses
        .map(|address| {
            let text = address.text().to_owned();
            (text, thread::spawn(move || address.reach().is_ok()))
        })
        .collect();
    let ended = |(text, attempt): (String, thread::JoinHandle<bool>)| {
        (text, attempt.join().unwrap_or(false))
    };
    Baseline {
        reachable: attempts.into_iter().map(ended).collect(),
        memory_available_kib: memory_available_kib(),
        hottest_millidegrees: hottest_millidegrees(),
    }
}

/// The checks of this trial: one that only decides if it worked before does not, if it did not.
#[must_use]
pub fn against(baseline: &Baseline, mut checks: Vec<CheckConfig>) -> Vec<CheckConfig> {
    use crate::config::{Action, Condition};
    for check in &mut checks {
        if let (Condition::WorkedBefore, Action::Probe(Probe::Reachable(address))) =
            (check.condition, &check.action)
            && baseline.reachable.get(address.text()) != Some(&true)
        {
            check.demand = Demand::Wanted;
        }
    }
    checks
}

/// Runs a program to the end for its output; `None` if it fails or does not end in time.
pub(super) fn output_of(command: &[&str], limit: Duration, stop: &Stop) -> Option<String> {
    let words: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    let terms = Terms {
        limit,
        keep: MAX_OUTPUT,
        streams: Streams::Together,
    };
    let ran = program::run(&mut program::command(&words), &terms, stop);
    ran.end.is_success().then_some(ran.output)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(300);

    fn looked(probe: &Probe, limit: Duration) -> Report {
        let config = CheckConfig::new("probe".to_owned(), Vec::new(), limit);
        run((&config, probe), &Around::default(), &Stop::default())
    }

    #[test]
    fn a_file_system_that_takes_a_file_and_one_that_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let here = Probe::Writable(dir.path().to_owned());
        assert_eq!(looked(&here, LONG).verdict, Verdict::Passed);
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0, "no trace");
        for folder in ["/no/such/folder", "/proc"] {
            let report = looked(&Probe::Writable(folder.into()), LONG);
            assert_eq!(report.verdict, Verdict::Found);
            assert!(report.output.starts_with(folder), "{report}");
        }
    }

    /// As a dead network file system does: the call does not return.
    #[test]
    fn one_that_hangs_in_the_kernel_ends_at_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let trap = dir.path().join(TRACE);
        nix::unistd::mkfifo(&trap, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let report = looked(&Probe::Writable(dir.path().to_owned()), SHORT);
        assert_eq!(report.verdict, Verdict::Failed(End::TimedOut(SHORT)));
    }

    #[test]
    fn room_that_is_asked_for() {
        let free = |at_least| Probe::FreeSpace {
            path: "/tmp".into(),
            at_least,
        };
        assert_eq!(looked(&free(1), LONG).verdict, Verdict::Passed);
        let report = looked(&free(u64::MAX), LONG);
        assert_eq!(report.verdict, Verdict::Found);
        assert!(report.output.contains("MiB left"), "{report}");
        let nowhere = Probe::FreeSpace {
            path: "/no/such/folder".into(),
            at_least: 1,
        };
        assert_eq!(looked(&nowhere, LONG).verdict, Verdict::Found);
    }

    #[test]
    fn what_answers_and_what_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tcp = Probe::Reachable(Address::Tcp(address.to_string()));
        assert_eq!(looked(&tcp, LONG).verdict, Verdict::Passed);
        drop(listener);
        let report = looked(&tcp, SHORT);
        assert_eq!(report.verdict, Verdict::Failed(End::TimedOut(SHORT)));
        assert!(report.output.contains("refused"), "{report}");
    }

    #[test]
    fn a_server_is_reached_when_it_answers_without_an_error() {
        for (status, reached) in [("200 OK", true), ("503 Service Unavailable", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let _ = io::Read::read(&mut stream, &mut request).unwrap();
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
            });
            let address = Address::Http(format!("http://{address}/health"));
            assert_eq!(address.reach().is_ok(), reached, "{status}");
            server.join().unwrap();
        }
    }

    #[test]
    fn memory_and_temperature_against_the_time_before() {
        let before = Baseline {
            memory_available_kib: Some(1_000_000),
            hottest_millidegrees: Some(40_000),
            ..Baseline::default()
        };
        let unknown = Baseline::default();
        let yes = |answer: Answer| matches!(answer, Answer::Yes(_));
        assert!(yes(memory(Some(800_000), 20, &before)));
        assert!(!yes(memory(Some(799_999), 20, &before)));
        assert!(!yes(memory(None, 20, &before)));
        assert!(yes(memory(Some(1), 20, &unknown)));
        assert!(yes(temperature(Some(55_000), 15, &before)));
        assert!(!yes(temperature(Some(55_001), 15, &before)));
        assert!(yes(temperature(Some(-40_000), 15, &before)));
        assert!(yes(temperature(None, 15, &before)), "no sensor");
        assert!(yes(temperature(Some(99_000), 15, &unknown)));
    }
}
