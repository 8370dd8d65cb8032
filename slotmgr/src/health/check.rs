//! One health check: a program with a time limit.
//!
//! The limit holds whatever the program does: it runs in a process group of its own, which gets
//! SIGTERM at the limit and SIGKILL soon after; nobody waits for a pipe that a grandchild keeps
//! open; of a flood of output only the first part is kept.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::probe;
use super::window::Demand;
use crate::config::{Action, CheckConfig};

/// Output that is kept of one check, in bytes.
pub const MAX_OUTPUT: usize = 16 * 1024;

/// The exit code by which a required check says that this system will not get better: no retry,
/// no further try, the old system at once.
pub const GIVE_UP: i32 = 100;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

/// How often a running check is looked at.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// How long output that is still on its way is waited for once the check has ended.
const DRAIN: Duration = Duration::from_millis(200);

/// The longest that a check takes past its limit if the kernel lets its processes end.
pub(super) const OVERTIME: Duration = GRACE.saturating_add(DRAIN.saturating_mul(10));

/// Ends the runs that look at it; shared by all threads.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on nobody waits for a check any more.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody said so.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one check said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Whether it decides.
    pub demand: Demand,
    /// What came of it.
    pub verdict: Verdict,
    /// The first [`MAX_OUTPUT`] bytes of what it wrote.
    pub output: String,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Exit code 0.
    Passed,
    /// Another exit code.
    ExitCode(i32),
    /// Exit code [`GIVE_UP`].
    GaveUp,
    /// slotmgr looked itself; the output says what it found.
    Found,
    /// Ended by a signal.
    Signal(i32),
    /// It did not end in time.
    TimedOut(Duration),
    /// The trial ended before it did.
    Unfinished,
    /// It could not be started or watched.
    Broken(String),
}

impl Report {
    /// Everything but [`Verdict::Passed`].
    #[must_use]
    pub fn failed(&self) -> bool {
        self.verdict != Verdict::Passed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "check `{}` {}", self.name, self.verdict)?;
        match self.output.lines().rfind(|line| !line.trim().is_empty()) {
            Some(last) if self.failed() => write!(f, ": {}", last.trim()),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Passed => f.write_str("passed"),
            Verdict::ExitCode(code) => write!(f, "failed with exit code {code}"),
            Verdict::GaveUp => f.write_str("failed and asks to give this system up at once"),
            Verdict::Found => f.write_str("failed"),
            Verdict::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Verdict::TimedOut(limit) => write!(f, "did not end within {} s", limit.as_secs()),
            Verdict::Unfinished => f.write_str("did not end before the trial did"),
            Verdict::Broken(why) => write!(f, "could not be run ({why})"),
        }
    }
}

/// Runs a check once, to its end or its limit, or until `stop`. `variables` are added to its
/// environment.
#[must_use]
pub fn run(check: &CheckConfig, variables: &[(&str, &str)], stop: &Stop) -> Report {
    run_around(check, variables, &probe::Around::default(), stop)
}

/// The same, for checks that compare with the time before the update, or wait for votes.
#[must_use]
pub fn run_around(
    check: &CheckConfig,
    variables: &[(&str, &str)],
    around: &probe::Around,
    stop: &Stop,
) -> Report {
    let command = match &check.action {
        Action::Command(command) => command,
        Action::Probe(asked) => return probe::run((check, asked), around, stop),
    };
    let output = Output::default();
    let verdict = match start(command, variables, &output) {
        Ok(mut child) => match wait(&mut child, check.timeout, stop) {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Broken(error.to_string()),
        },
        Err(error) => Verdict::Broken(error.to_string()),
    };
    Report {
        name: check.name.clone(),
        demand: check.demand,
        verdict,
        output: output.take(),
    }
}

fn start(command: &[String], variables: &[(&str, &str)], output: &Output) -> io::Result<Child> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("no command"))?;
    let (reader, writer) = io::pipe()?;
    let child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    output.collect(reader);
    Ok(child)
}

fn wait(child: &mut Child, limit: Duration, stop: &Stop) -> io::Result<Verdict> {
    let deadline = Instant::now() + limit;
    if let Some(status) = wait_until(child, deadline, || stop.is_wanted())? {
        return Ok(verdict(status));
    }
    if stop.is_wanted() {
        // The machine is about to restart: nobody has time for manners.
        signal_group(child, Signal::SIGKILL);
        return Ok(Verdict::Unfinished);
    }
    signal_group(child, Signal::SIGTERM);
    if wait_until(child, Instant::now() + GRACE, || false)?.is_none() {
        signal_group(child, Signal::SIGKILL);
        child.wait()?;
    }
    // Whatever the group leader did, its children get no more time either.
    signal_group(child, Signal::SIGKILL);
    Ok(Verdict::TimedOut(limit))
}

fn wait_until(
    child: &mut Child,
    deadline: Instant,
    given_up: impl Fn() -> bool,
) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline || given_up() {
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

fn signal_group(child: &Child, signal: Signal) {
    if let Ok(id) = i32::try_from(child.id()) {
        // ESRCH: the group is gone, which is what is wanted.
        let _ = killpg(Pid::from_raw(id), signal);
    }
}

fn verdict(status: ExitStatus) -> Verdict {
    match (status.code(), status.signal()) {
        (Some(0), _) => Verdict::Passed,
        (Some(GIVE_UP), _) => Verdict::GaveUp,
        (Some(code), _) => Verdict::ExitCode(code),
        (None, signal) => Verdict::Signal(signal.unwrap_or_default()),
    }
}

/// What a check writes, collected by a thread that nobody waits for longer than [`DRAIN`].
#[derive(Default)]
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// The run is over: who left a process behind that goes on writing has its pipe closed.
    over: Stop,
    collector: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Output {
    fn collect(&self, mut reader: io::PipeReader) {
        let (bytes, over) = (Arc::clone(&self.bytes), self.over.clone());
        let handle = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // What comes after the cap is read all the same, so that the check does not block.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut kept = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MAX_OUTPUT - kept.len();
                kept.extend_from_slice(&buffer[..count.min(room)]);
                if over.is_wanted() {
                    return;
                }
            }
        });
        *self
            .collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    fn take(&self) -> String {
        let collector = self
            .collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let deadline = Instant::now() + DRAIN;
        while collector.as_ref().is_some_and(|c| !c.is_finished()) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        self.over.now();
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str, timeout: Duration) -> Report {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let check = CheckConfig::new("app".into(), command, timeout);
        run(&check, &[("GREETING", "hello")], &Stop::default())
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(300);

    #[test]
    fn passes_and_failures() {
        assert_eq!(check("echo fine", LONG).verdict, Verdict::Passed);
        let report = check("echo starting; echo no database >&2; exit 3", LONG);
        assert_eq!(report.verdict, Verdict::ExitCode(3));
        assert_eq!(
            report.to_string(),
            "check `app` failed with exit code 3: no database"
        );
        assert_eq!(check("kill -9 $$", LONG).verdict, Verdict::Signal(9));
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failed_check() {
        let command = vec!["/no/such/program".to_owned()];
        let check = CheckConfig::new("x".into(), command, LONG);
        let report = run(&check, &[], &Stop::default());
        assert!(matches!(report.verdict, Verdict::Broken(_)), "{report}");
        assert!(report.failed());
    }

    #[test]
    fn a_check_that_hangs_ends_at_its_limit_even_if_it_ignores_sigterm() {
        assert_eq!(check("sleep 1000", SHORT).verdict, Verdict::TimedOut(SHORT));
        let stubborn = "trap '' TERM; while :; do sleep 1; done";
        assert_eq!(check(stubborn, SHORT).verdict, Verdict::TimedOut(SHORT));
    }

    #[test]
    fn a_grandchild_that_keeps_the_output_open_holds_nobody_up() {
        let started = Instant::now();
        assert_eq!(check("sleep 30 & exit 0", LONG).verdict, Verdict::Passed);
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn one_that_forks_away_into_a_session_of_its_own_holds_nobody_up() {
        let started = Instant::now();
        let away = check(
            "setsid sh -c 'while :; do echo x; sleep 0.1; done' & exit 0",
            LONG,
        );
        assert_eq!(away.verdict, Verdict::Passed);
        let hangs = check("setsid sleep 600 & sleep 1000", SHORT);
        assert_eq!(hangs.verdict, Verdict::TimedOut(SHORT));
        assert!(started.elapsed() < Duration::from_secs(40));
    }

    #[test]
    fn one_that_is_not_executable_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("check");
        fs_err::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        let command = vec![path.display().to_string()];
        let report = run(
            &CheckConfig::new("x".into(), command, LONG),
            &[],
            &Stop::default(),
        );
        assert!(matches!(&report.verdict, Verdict::Broken(_)), "{report}");
    }

    #[test]
    fn one_exit_code_gives_up() {
        let report = check("echo wrong hardware; exit 100", LONG);
        assert_eq!(report.verdict, Verdict::GaveUp);
        let said = "check `app` failed and asks to give this system up at once: wrong hardware";
        assert_eq!(report.to_string(), said);
    }

    #[test]
    fn a_stop_ends_a_run_and_variables_arrive() {
        assert_eq!(check("echo $GREETING", LONG).output, "hello\n");
        let command = ["sleep", "1000"].map(str::to_owned).to_vec();
        let check = CheckConfig::new("x".into(), command, LONG);
        let stop = Stop::default();
        stop.now();
        assert_eq!(run(&check, &[], &stop).verdict, Verdict::Unfinished);
    }

    #[test]
    fn a_flood_is_cut() {
        let report = check("yes | head -c 10000000", LONG);
        assert_eq!(report.output.len(), MAX_OUTPUT);
        assert_eq!(report.verdict, Verdict::Passed);
    }
}
