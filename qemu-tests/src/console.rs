//! The serial console of a machine: waits for lines, types commands, keeps a log.
//!
//! Everything that the machine prints goes to the log file, with the seconds since its start on
//! the host's clock (a guest's own clock is far off when the host is busy).

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
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

/// Gets every line that the machine prints.
pub type Watcher<'a> = Box<dyn FnMut(&str) + 'a>;

/// The host's end of a serial line with a shell, or a boot loader, on the other one.
pub struct Console<'a> {
    input: ChildStdin,
    lines: Receiver<String>,
    log: PathBuf,
    history: Vec<String>,
    watcher: Watcher<'a>,
    commands: u32,
    fatal: Vec<&'static str>,
}

impl<'a> Console<'a> {
    /// Reads `output` on a thread of its own until the machine ends.
    ///
    /// # Errors
    /// The log cannot be created.
    pub fn new(
        input: ChildStdin,
        output: ChildStdout,
        log: &Path,
        watcher: Watcher<'a>,
    ) -> Result<Self> {
        let (send, lines) = channel();
        let mut file = fs_err::File::create(log)?;
        std::thread::spawn(move || {
            let started = Instant::now();
            read_lines(output, |line| {
                let line = without_escapes(&line);
                // When the log cannot be written, the tests still can go on.
                let _ = writeln!(file, "{:8.2} {line}", started.elapsed().as_secs_f64());
                send.send(line).is_ok()
            });
        });
        Ok(Self {
            input,
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

    /// Waits for a line that contains one of `wanted`; returns that line.
    ///
    /// # Errors
    /// It does not come in time, the machine ends, or it says that it cannot go on.
    pub fn wait_for(&mut self, wanted: &[&str], limit: Duration) -> Result<String> {
        self.wait_until(&format!("{wanted:?}"), limit, |line| {
            wanted.iter().any(|text| line.contains(text))
        })
    }

    /// Types a command at the shell and waits for its end.
    ///
    /// # Errors
    /// It does not end in time, or the machine ends.
    pub fn run(&mut self, command: &str, limit: Duration) -> Result<Outcome> {
        self.commands += 1;
        let number = self.commands;
        let begin = format!("rig-begin {number}");
        let end = format!("rig-end {number} ");
        // The shell prints the typed line back. That must not look like the two lines which
        // frame the output: hence the words come apart here, and together in the shell only.
        self.send(&format!(
            "printf 'rig-%s {number}\\n' begin; {command}; printf '\\nrig-%s {number} %d\\n' end $?"
        ))?;
        let deadline = Instant::now() + limit;
        self.wait_until(command, limit, |line| line == begin)?;
        let mut lines = Vec::new();
        let last = self.wait_until(command, deadline - Instant::now(), |line| {
            lines.push(line.to_owned());
            line.starts_with(&end)
        })?;
        lines.pop();
        let code = last[end.len()..].trim().parse();
        let code = code.with_context(|| format!("no exit code in {last:?}"))?;
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
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            match self.next_line(deadline) {
                Ok(line) if wanted(&line) => return Ok(line),
                Ok(line) if self.fatal.iter().any(|text| line.contains(text)) => {
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

    fn next_line(&mut self, deadline: Instant) -> Result<String, RecvTimeoutError> {
        let line = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        (self.watcher)(&line);
        self.history.push(line.clone());
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
    use std::process::{Child, Command, Stdio};

    /// A shell that prints what is typed, as one on a terminal does.
    fn echoing_shell(log: &str) -> (Child, Console<'static>) {
        let mut child = Command::new("sh")
            .args([
                "-c",
                "while read -r line; do echo \"demo# $line\"; eval \"$line\"; done 2>&1",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = std::env::temp_dir().join(format!("slotmgr-{log}-{}", std::process::id()));
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let console = Console::new(input, output, &log, Box::new(|_| {})).unwrap();
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
        assert!(console.run("false", LIMIT).unwrap().success().is_err());
        fs_err::remove_file(&console.log).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn ends_and_panics_are_not_waited_out() {
        let (mut child, mut console) = echoing_shell("fatal");
        console
            .send("printf 'Kernel %s\\n' 'panic - not syncing'")
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
