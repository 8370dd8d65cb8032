//! A bootloader's own program, run to its end or its limit.
//!
//! What it prints on standard output is the answer; what it prints on standard error goes into the
//! message if it fails. Of both only the first part is kept, and nobody waits for a pipe that a
//! grandchild keeps open.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Output that is kept, in bytes. An answer is one word.
const MAX_OUTPUT: u64 = 4096;

/// How long output that is still on its way is waited for once the program has ended.
const DRAIN: Duration = Duration::from_millis(500);

/// How often the program is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A program that is called with a verb and more.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// How long it may take.
    pub limit: Duration,
}

/// What became of a call.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Not to be started or watched.
    #[error("{} cannot be run", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another exit code than 0, or a signal.
    #[error("`{call}` failed ({status}){said}")]
    Failed {
        /// Program and arguments.
        call: String,
        /// How it ended.
        status: ExitStatus,
        /// The last line that it wrote, as the end of the sentence.
        said: String,
    },
    /// Longer than its limit.
    #[error("`{call}` did not end within {} s and was ended", limit.as_secs())]
    TooLong {
        /// Program and arguments.
        call: String,
        /// The limit.
        limit: Duration,
    },
    /// Not an answer of the protocol.
    #[error("`{call}` answered `{answer}`, and must answer {expected}")]
    Answer {
        /// Program and arguments.
        call: String,
        /// What it said.
        answer: String,
        /// What it may say.
        expected: &'static str,
    },
}

impl Program {
    /// Runs it; its trimmed standard output.
    ///
    /// # Errors
    /// When it cannot be started, fails, or takes too long: it has been killed then, with everything
    /// that it started.
    pub fn ask(&self, arguments: &[&str]) -> Result<String, ProgramError> {
        let start = |source| ProgramError::Start {
            path: self.path.clone(),
            source,
        };
        let mut child = Command::new(&self.path)
            .args(arguments)
            .env("SLOTMGR_PROTOCOL", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(start)?;
        let group = i32::try_from(child.id()).map(Pid::from_raw).ok();
        let (output, errors) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let deadline = Instant::now() + self.limit;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(start)? {
                break status;
            }
            if Instant::now() >= deadline {
                // ESRCH: the group is gone, which is what is wanted.
                let _ = group.map(|group| killpg(group, Signal::SIGKILL));
                child.wait().map_err(start)?;
                return Err(ProgramError::TooLong {
                    call: self.call(arguments),
                    limit: self.limit,
                });
            }
            thread::sleep(POLL);
        };
        let (output, errors) = (taken(&output), taken(&errors));
        if status.success() {
            return Ok(output.trim().to_owned());
        }
        let last = errors.lines().rfind(|line| !line.trim().is_empty());
        Err(ProgramError::Failed {
            call: self.call(arguments),
            status,
            said: last.map_or(String::new(), |line| format!(": {}", line.trim())),
        })
    }

    /// Program and arguments, for people.
    #[must_use]
    pub fn call(&self, arguments: &[&str]) -> String {
        let mut call: OsString = self.path.clone().into();
        for argument in arguments {
            call.push(" ");
            call.push(argument);
        }
        call.to_string_lossy().into_owned()
    }

    /// For an answer that the protocol does not know.
    pub(super) fn bad_answer(
        &self,
        arguments: &[&str],
        answer: &str,
        expected: &'static str,
    ) -> ProgramError {
        ProgramError::Answer {
            call: self.call(arguments),
            answer: answer.to_owned(),
            expected,
        }
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut kept = Vec::new();
        // An error ends the output; what came before it counts.
        let _ = pipe.by_ref().take(MAX_OUTPUT).read_to_end(&mut kept);
        let _ = sender.send(kept);
        // What comes after the cap is read all the same, so that the program does not block.
        let _ = io::copy(&mut pipe, &mut io::sink());
    });
    receiver
}

fn taken(receiver: &Receiver<Vec<u8>>) -> String {
    match receiver.recv_timeout(DRAIN) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => String::new(),
    }
}
