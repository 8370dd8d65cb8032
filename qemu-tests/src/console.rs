//! The serial console of a machine: waits for lines, types commands, keeps a log.
//!
//! Everything that the machine prints goes to the log file, with the seconds since its start on
//! the host's clock (a guest's own clock is far off when the host is busy).
//!
//! Commands are typed at the console, and what they print comes by a line of its own: on the
//! console the kernel and the services speak in between, even within a word.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The kernel has stopped: fatal unless a test wants just that.
const PANIC: &str = "Kernel panic";

/// Lines after which waiting for anything else makes no sense.
const FATAL: [&str; 3] = [
    "initramfs: cannot",
    "slotmgr-grub: no slot can be started",
    "slotmgr-uboot: no slot can be started",
];
/// What stands before and after the output of a command, with its number.
pub(crate) const BEGIN: &str = "rig-begin ";
pub(crate) const END: &str = "rig-end ";

/// How many of the last lines an error shows.
const TAIL_LINES: usize = 15;

/// What a command in the guest did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it printed, both streams together; lines end in a line feed.
    pub output: String,
    /// Its exit code.
    pub code: i32,
}

impl Outcome {
    /// The output of a command that must succeed.
    ///
    /// # Errors
    /// It did not.
    pub fn success(self) -> Result<String> {
        if self.code != 0 {
            bail!(
                "the command failed in the machine with exit code {}:\n{}",
                self.code,
                self.output
            );
        }
        Ok(self.output)
    }
}

/// One line that a machine prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// On its console.
    Console(String),
    /// A command, or the marks round what it prints.
    Answer(String),
}

/// Gets every line that the machine prints.
pub type Watcher<'a> = Box<dyn FnMut(&Line) + 'a>;

/// The host's ends of a machine's serial lines.
#[derive(Debug)]
pub struct Wires {
    /// The console, with a shell or a boot loader on it.
    pub console: UnixStream,
    /// What commands print.
    pub answers: ChildStdout,
    /// The guest's name of the line for the answers.
    pub answers_in_guest: &'static str,
}

/// Waits for lines of a machine and types at its shell.
pub struct Console<'a> {
    input: UnixStream,
    answers_in_guest: &'static str,
    lines: Receiver<Line>,
    log: PathBuf,
    history: Vec<String>,
    watcher: Watcher<'a>,
    commands: u32,
    fatal: Vec<&'static str>,
}

impl<'a> Console<'a> {
    /// Reads both lines on threads of their own until the machine ends.
    ///
    /// # Errors
    /// The log cannot be created, or there is no other descriptor for the console.
    pub fn new(wires: Wires, log: &Path, watcher: Watcher<'a>) -> Result<Self> {
        let input = wires.console.try_clone().context("the console's line")?;
        let (send, lines) = channel();
        let listener = Listener {
            log: Arc::new(Mutex::new(fs_err::File::create(log)?)),
            started: Instant::now(),
            lines: send,
        };
        listener.clone().follow(wires.answers, Line::Answer);
        listener.follow(wires.console, Line::Console);
        Ok(Self {
            input,
            answers_in_guest: wires.answers_in_guest,
            lines,
            log: log.to_owned(),
            history: Vec::new(),
            watcher,
            commands: 0,
            fatal: [&FATAL[..], &[PANIC]].concat(),
        })
    }

    /// From now on a kernel may panic: something else is expected to notice.
    pub fn panics_are_meant(&mut self) {
        self.fatal.retain(|text| *text != PANIC);
    }

    /// Waits for a line on the console that contains one of `wanted`; returns that line.
    ///
    /// # Errors
    /// It does not come in time, the machine ends, or it says that it cannot go on.
    pub fn wait_for(&mut self, wanted: &[&str], limit: Duration) -> Result<String> {
        let mut found = String::new();
        self.wait_until(&format!("{wanted:?}"), limit, |line| match line {
            Line::Console(text) if wanted.iter().any(|wanted| text.contains(wanted)) => {
                found.clone_from(text);
                true
            }
            Line::Console(_) | Line::Answer(_) => false,
        })?;
        Ok(found)
    }

    /// Types a command at the shell and waits for its end.
    ///
    /// # Errors
    /// It does not end in time, or the machine ends.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<Outcome> {
        self.commands += 1;
        let (begin, end) = (
            format!("{BEGIN}{}", self.commands),
            format!("{END}{} ", self.commands),
        );
        let line = self.answers_in_guest;
        self.send(&format!(
            "{{ echo {begin}; {command}; printf '\\n{end}%d\\n' $?; }} > {line} 2>&1"
        ))?;
        let mut lines: Option<Vec<String>> = None;
        let mut code = String::new();
        self.wait_until(command, limit, |line| {
            let Line::Answer(text) = line else {
                return false;
            };
            match &mut lines {
                None if *text == begin => lines = Some(Vec::new()),
                // What a command before has left running.
                None => {}
                Some(lines) => match text.strip_prefix(&end) {
                    Some(rest) => rest.clone_into(&mut code),
                    None => lines.push(text.clone()),
                },
            }
            !code.is_empty()
        })?;
        let code = code
            .parse()
            .with_context(|| format!("no exit code in {code:?}"))?;
        let mut lines = lines.unwrap_or_default();
        // The line feed before the end mark is ours.
        if lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        let output = lines.iter().map(|line| format!("{line}\n")).collect();
        Ok(Outcome { output, code })
    }

    /// All lines so far, the oldest first.
    #[must_use]
    pub fn history(&self) -> &[String] {
        &self.history
    }

    /// Types a line.
    ///
    /// # Errors
    /// The machine has ended.
    pub fn send(&mut self, line: &str) -> Result<()> {
        let result = self.input.write_all(format!("{line}\n").as_bytes());
        result
            .and_then(|()| self.input.flush())
            .context("the machine takes no more input")
    }

    /// Reads what the machine still says, until it ends.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn wait_end(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            match self.next_line(deadline) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => bail!(self.complaint("its end", "did not come")),
            }
        }
    }

    fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Line) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            match self.next_line(deadline) {
                Ok(line) if wanted(&line) => return Ok(()),
                Ok(line) if self.is_fatal(&line) => {
                    bail!(self.complaint(what, "cannot come any more"))
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = limit.as_secs();
                    bail!(self.complaint(what, &format!("did not come within {seconds} s")))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!(self.complaint(what, "did not come before the machine ended"))
                }
            }
        }
    }

    fn is_fatal(&self, line: &Line) -> bool {
        matches!(line, Line::Console(line) if self.fatal.iter().any(|text| line.contains(text)))
    }

    fn next_line(&mut self, deadline: Instant) -> Result<Line, RecvTimeoutError> {
        let line = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        (self.watcher)(&line);
        let (Line::Console(text) | Line::Answer(text)) = &line;
        self.history.push(text.clone());
        Ok(line)
    }

    fn complaint(&self, what: &str, happened: &str) -> String {
        let from = self.history.len().saturating_sub(TAIL_LINES);
        let tail: String = self.history[from..]
            .iter()
            .map(|line| format!("    {line}\n"))
            .collect();
        format!(
            "waiting for {what} on the machine's console: it {happened}. The last lines of {}:\n{tail}",
            self.log.display()
        )
    }
}

/// What the threads share that read a machine's lines.
#[derive(Clone)]
struct Listener {
    log: Arc<Mutex<fs_err::File>>,
    started: Instant,
    lines: Sender<Line>,
}

impl Listener {
    fn follow(self, source: impl Read + Send + 'static, kind: fn(String) -> Line) {
        std::thread::spawn(move || {
            read_lines(source, |line| {
                let line = without_escapes(&line);
                let seconds = self.started.elapsed().as_secs_f64();
                // When the log cannot be written, the tests still can go on.
                if let Ok(mut log) = self.log.lock() {
                    let _ = writeln!(log, "{seconds:8.2} {line}");
                }
                self.lines.send(kind(line)).is_ok()
            });
        });
    }
}

/// Hands each line of `source` to `take`, the last one even without its end, until `take` is not
/// interested any more.
fn read_lines(mut source: impl Read, mut take: impl FnMut(String) -> bool) {
    let mut pending = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        for byte in &buffer[..count] {
            if *byte != b'\n' {
                pending.push(*byte);
            } else if !take(String::from_utf8_lossy(&std::mem::take(&mut pending)).into_owned()) {
                return;
            }
        }
    }
    if !pending.is_empty() {
        take(String::from_utf8_lossy(&pending).into_owned());
    }
}

/// A line as it reads: without the sequences that move a terminal's cursor or change its colours.
fn without_escapes(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => {
                // ESC [ parameters letter, or ESC and one more character.
                if chars.next() == Some('[') {
                    chars.by_ref().find(|c| ('\x40'..='\x7e').contains(c));
                }
            }
            c if c.is_control() && c != '\t' => {}
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command, Stdio};

    /// A shell that prints what is typed, as one on a terminal does.
    fn echoing_shell(log: &str) -> (Child, Console<'static>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let script =
            "exec 3>&2; while read -r line; do echo \"demo# $line\" >&2; eval \"$line\"; done";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(OwnedFd::from(theirs.try_clone().unwrap()))
            .stderr(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = std::env::temp_dir().join(format!("slotmgr-{log}-{}", std::process::id()));
        let wires = Wires {
            console: ours,
            answers: child.stdout.take().unwrap(),
            answers_in_guest: "/dev/stdout",
        };
        let console = Console::new(wires, &log, Box::new(|_| {})).unwrap();
        (child, console)
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn output_and_exit_code_come_back() {
        let (mut child, mut console) = echoing_shell("run");
        let outcome = console.run("printf 'a\\nb'; (exit 3)", LIMIT).unwrap();
        assert_eq!(
            outcome,
            Outcome {
                output: "a\nb\n".into(),
                code: 3
            }
        );
        let outcome = console.run("echo one; echo; echo two", LIMIT).unwrap();
        assert_eq!(
            outcome,
            Outcome {
                output: "one\n\ntwo\n".into(),
                code: 0
            }
        );
        let outcome = console.run("echo kernel >&3; echo one", LIMIT).unwrap();
        assert_eq!(
            outcome.output, "one\n",
            "not what the console says meanwhile"
        );
        assert!(console.run("false", LIMIT).unwrap().success().is_err());
        fs_err::remove_file(&console.log).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn ends_and_panics_are_not_waited_out() {
        let (mut child, mut console) = echoing_shell("fatal");
        console
            .send("printf 'Kernel %s\\n' 'panic - not syncing' >&2")
            .unwrap();
        let error = console.wait_for(&["ready"], LIMIT).unwrap_err().to_string();
        assert!(error.contains("cannot come any more"), "{error}");
        console.send("exit").unwrap();
        let error = console.wait_for(&["ready"], LIMIT).unwrap_err().to_string();
        assert!(error.contains("before the machine ended"), "{error}");
        fs_err::remove_file(&console.log).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn escapes_vanish() {
        let line = "\u{1b}[2J\u{1b}[01;01HGRUB \u{1b}(Bloading\u{1b}[6n\r\u{7}.";
        assert_eq!(without_escapes(line), "GRUB Bloading.");
        assert_eq!(without_escapes("\u{1b}["), "");
    }
}
