//! Programs that are run for us: checks, hooks, handlers, a bootloader's own tools.
//!
//! The limit holds whatever the program does: it runs in a process group of its own, which gets
//! SIGTERM at the limit and SIGKILL soon after; nobody waits for a pipe that a grandchild keeps
//! open; of a flood of output only the beginning and the end are kept; it reads nothing. It ends when we are killed.

mod output;
mod stop;

use std::fmt;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use output::Output;
pub use stop::Stop;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

/// How often a running program is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// How long output that is still on its way is waited for once the program has ended.
const DRAIN: Duration = Duration::from_millis(500);

/// The longest that a program takes past its limit if the kernel lets its processes end.
pub(crate) const OVERTIME: Duration = GRACE.saturating_add(DRAIN.saturating_mul(4));

/// What a program is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long it may take.
    pub limit: Duration,
    /// Bytes that are kept of each stream: of its beginning and of its end.
    pub keep: usize,
    /// Where what it writes goes.
    pub streams: Streams,
}

/// Where what a program writes goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Both into one text, in the order in which they were written.
    Together,
    /// Each into its own: standard output is an answer.
    Apart,
}

/// A program has been run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// What is kept of what it wrote on standard output, or on both.
    pub output: String,
    /// What is kept of what it wrote on standard error, if that is kept apart.
    pub errors: String,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code; 0 is success.
    ExitCode(i32),
    /// By a signal.
    Signal(i32),
    /// It did not end in time, and was ended.
    TimedOut(Duration),
    /// Somebody wanted it to stop.
    Stopped,
    /// It could not be started or watched.
    NotRun(String),
}

impl End {
    /// Exit code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == End::ExitCode(0)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::ExitCode(0) => f.write_str("ended well"),
            End::ExitCode(code) => write!(f, "failed with exit code {code}"),
            End::Signal(signal) => write!(f, "was ended by signal {signal}"),
            End::TimedOut(limit) => write!(f, "did not end within {} s", limit.as_secs()),
            End::Stopped => f.write_str("was stopped before its end"),
            End::NotRun(why) => write!(f, "could not be run ({why})"),
        }
    }
}

/// A command of words, without a shell.
#[must_use]
pub fn command(words: &[String]) -> Command {
    let (program, arguments) = words.split_at_checked(1).unwrap_or_default();
    // Without a word it is one that cannot be found, and the run tells so.
    let mut command = Command::new(program.first().map_or("", String::as_str));
    command.args(arguments);
    command
}

/// Runs a program to its end or its limit, or until `stop`.
#[must_use]
pub fn run(command: &mut Command, terms: &Terms, stop: &Stop) -> Ran {
    run_and_tell(command, terms, stop, &mut |_| {})
}

/// The same; `tell` gets each line of what is kept of its output, while it runs.
#[must_use]
pub fn run_and_tell(
    command: &mut Command,
    terms: &Terms,
    stop: &Stop,
    tell: &mut dyn FnMut(&str),
) -> Ran {
    let broken = |error: io::Error| End::NotRun(error.to_string());
    match start(command, terms) {
        Err(error) => Ran {
            end: broken(error),
            output: String::new(),
            errors: String::new(),
        },
        Ok((mut child, [mut output, errors])) => {
            let mut look = || output.new_lines().iter().for_each(|line| tell(line));
            let end = wait(&mut child, terms.limit, stop, &mut look).unwrap_or_else(broken);
            let (output, rest) = output.take();
            rest.iter().for_each(|line| tell(line));
            let (errors, _) = errors.take();
            Ran {
                end,
                output,
                errors,
            }
        }
    }
}

/// The last line of a text that says something.
#[must_use]
pub fn last_line(text: &str) -> &str {
    let lines = text.lines().map(str::trim);
    lines
        .rev()
        .find(|line| !line.is_empty())
        .unwrap_or_default()
}

fn start(command: &mut Command, terms: &Terms) -> io::Result<(Child, [Output; 2])> {
    let (reader, writer) = io::pipe()?;
    let errors = match terms.streams {
        Streams::Together => {
            command.stderr(writer.try_clone()?);
            Output::default()
        }
        Streams::Apart => {
            let (reader, writer) = io::pipe()?;
            command.stderr(writer);
            Output::collect(reader, terms.keep)
        }
    };
    command.stdin(Stdio::null()).stdout(writer).process_group(0);
    // With it, whoever they run could use this machine's key.
    command.env_remove(token_key::PIN_VARIABLE);
    // A hook of a slotmgr that was killed must not work on a slot beside the next installation.
    devio::process::end_with_this_thread(command);
    let child = command.spawn();
    // Our own ends of the pipes: as long as they are open, no stream ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok((child?, [Output::collect(reader, terms.keep), errors]))
}

fn wait(
    child: &mut Child,
    limit: Duration,
    stop: &Stop,
    look: &mut dyn FnMut(),
) -> io::Result<End> {
    let deadline = Instant::now() + limit;
    if let Some(status) = wait_until(child, deadline, &mut || {
        look();
        stop.is_wanted()
    })? {
        return Ok(end(status));
    }
    if stop.is_wanted() {
        // Who stops us does not wait: nobody has time for manners.
        signal_group(child, Signal::SIGKILL);
        return Ok(End::Stopped);
    }
    signal_group(child, Signal::SIGTERM);
    if wait_until(child, Instant::now() + GRACE, &mut || false)?.is_none() {
        signal_group(child, Signal::SIGKILL);
        child.wait()?;
    }
    // Whatever the group leader did, its children get no more time either.
    signal_group(child, Signal::SIGKILL);
    Ok(End::TimedOut(limit))
}

fn wait_until(
    child: &mut Child,
    deadline: Instant,
    given_up: &mut dyn FnMut() -> bool,
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

fn end(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::ExitCode(code),
        (None, signal) => End::Signal(signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(300);
    const KEEP: usize = 16 * 1024;

    fn ran(script: &str, limit: Duration, streams: Streams) -> Ran {
        let mut command = Command::new("/bin/sh");
        let terms = Terms {
            limit,
            keep: KEEP,
            streams,
        };
        run(command.args(["-c", script]), &terms, &Stop::default())
    }

    fn ends(script: &str, limit: Duration) -> End {
        ran(script, limit, Streams::Together).end
    }

    #[test]
    fn ends_and_streams() {
        let said = ran(
            "echo a; echo b >&2; echo c; exit 3",
            LONG,
            Streams::Together,
        );
        assert_eq!(
            (said.end, said.output.as_str()),
            (End::ExitCode(3), "a\nb\nc\n")
        );
        let said = ran("echo a; echo b >&2; echo c", LONG, Streams::Apart);
        assert!(said.end.is_success());
        assert_eq!(
            (said.output.as_str(), said.errors.as_str()),
            ("a\nc\n", "b\n")
        );
        assert_eq!(ends("kill -9 $$", LONG), End::Signal(9));
        assert_eq!(last_line("a\n b \n\n"), "b");
        assert_eq!(last_line(""), "");
    }

    #[test]
    fn there_is_nothing_to_read() {
        assert_eq!(ends("read line || exit 7", LONG), End::ExitCode(7));
    }

    #[test]
    fn one_that_hangs_ends_at_its_limit_even_if_it_ignores_sigterm() {
        assert_eq!(ends("sleep 1000", SHORT), End::TimedOut(SHORT));
        let stubborn = "trap '' TERM; while :; do sleep 1; done";
        assert_eq!(ends(stubborn, SHORT), End::TimedOut(SHORT));
    }

    #[test]
    fn the_whole_group_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("child").display().to_string();
        let script = format!("(trap '' TERM; echo $$ >{file}; sleep 1000) & wait; sleep 1000");
        assert_eq!(ends(&script, SHORT), End::TimedOut(SHORT));
        let group = fs_err::read_to_string(&file).unwrap();
        let group = Pid::from_raw(group.trim().parse().unwrap());
        // What is left of it are zombies at most, until init has looked at them.
        let gone = || killpg(group, None).is_err();
        let deadline = Instant::now() + LONG;
        while !gone() {
            assert!(Instant::now() < deadline, "a child of it lives on");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn a_grandchild_that_keeps_the_output_open_holds_nobody_up() {
        let started = Instant::now();
        assert_eq!(ends("sleep 30 & exit 0", LONG), End::ExitCode(0));
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn one_that_forks_away_into_a_session_of_its_own_holds_nobody_up() {
        let started = Instant::now();
        let away = "setsid sh -c 'while :; do echo x; sleep 0.1; done' & exit 0";
        assert_eq!(ends(away, LONG), End::ExitCode(0));
        let hangs = ends("setsid sleep 600 & sleep 1000", SHORT);
        assert_eq!(hangs, End::TimedOut(SHORT));
        assert!(started.elapsed() < Duration::from_secs(40));
    }

    #[test]
    fn of_a_flood_the_beginning_and_the_end_are_kept() {
        let flood = "echo first; yes | head -c 10000000; echo last";
        let kept = |text: &str| {
            assert!(text.len() < KEEP + 50, "{}", text.len());
            assert!(text.starts_with("first\ny\n") && text.ends_with("y\nlast\n"));
            assert!(text.contains(" bytes are left out here]\n"));
        };
        let ran_together = ran(flood, LONG, Streams::Together);
        assert!(ran_together.end.is_success());
        kept(&ran_together.output);
        kept(&ran(&format!("({flood}) >&2"), LONG, Streams::Apart).errors);
    }

    #[test]
    fn nobody_who_is_run_gets_the_pin() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo \"<${RAUC_PKCS11_PIN-none}>\""]);
        let terms = Terms {
            limit: LONG,
            keep: KEEP,
            streams: Streams::Together,
        };
        let ran = run(
            command.env(token_key::PIN_VARIABLE, "1234"),
            &terms,
            &Stop::default(),
        );
        assert_eq!(ran.output, "<none>\n");
    }

    #[test]
    fn in_a_flood_only_whole_lines_are_told() {
        let flood = "echo first; head -c 100000 /dev/zero | tr '\\0' x; echo; yes 'a line' | head -c 10000000; echo";
        let mut told = Vec::new();
        let terms = Terms {
            limit: LONG,
            keep: KEEP,
            streams: Streams::Together,
        };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", flood]);
        let mut tell = |line: &str| told.push(line.to_owned());
        let ran = run_and_tell(&mut command, &terms, &Stop::default(), &mut tell);
        assert!(ran.end.is_success());
        let cut = told
            .iter()
            .find(|line| !["first", "a line", ""].contains(&line.as_str()));
        assert_eq!(cut, None);
    }

    #[test]
    fn one_that_is_not_there_or_not_executable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("check");
        fs_err::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        let terms = Terms {
            limit: LONG,
            keep: KEEP,
            streams: Streams::Apart,
        };
        for path in [path.as_path(), "/no/such/program".as_ref()] {
            let ran = run(&mut Command::new(path), &terms, &Stop::default());
            assert!(matches!(ran.end, End::NotRun(_)), "{ran:?}");
        }
    }

    #[test]
    fn a_stop_ends_a_run() {
        let stop = Stop::default();
        stop.now();
        let terms = Terms {
            limit: LONG,
            keep: KEEP,
            streams: Streams::Together,
        };
        let ran = run(Command::new("sleep").arg("1000"), &terms, &stop);
        assert_eq!(ran.end, End::Stopped);
    }
}
