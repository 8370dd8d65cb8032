//! A bootloader's own program: what it prints on standard output is the answer; the last line of
//! what it prints on standard error goes into the message if it fails.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::program::{self, End, Stop, Streams, Terms};

/// Output that is kept, in bytes. An answer is one word.
const MAX_OUTPUT: usize = 4096;

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
    /// It did not end by itself, in time, with exit code 0.
    #[error("`{call}` {end}{said}")]
    Failed {
        /// Program and arguments.
        call: String,
        /// How it ended.
        end: End,
        /// The last line that it wrote, as the end of the sentence.
        said: String,
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
    /// When it cannot be started, fails, or takes too long: it has been ended then, with everything
    /// that it started.
    pub fn ask(&self, arguments: &[&str]) -> Result<String, ProgramError> {
        let mut command = Command::new(&self.path);
        command.args(arguments).env("SLOTMGR_PROTOCOL", "1");
        let terms = Terms {
            limit: self.limit,
            keep: MAX_OUTPUT,
            streams: Streams::Apart,
        };
        // Nobody stops in the middle of a change of what the bootloader remembers.
        let ran = program::run(&mut command, &terms, &Stop::default());
        if ran.end.is_success() {
            return Ok(ran.output.trim().to_owned());
        }
        let said = program::last_line(&ran.errors);
        Err(ProgramError::Failed {
            call: self.call(arguments),
            end: ran.end,
            said: if said.is_empty() {
                String::new()
            } else {
                format!(": {said}")
            },
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
