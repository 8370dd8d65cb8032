//! What the user sees: results on standard output, everything else on standard error.

use std::io::Write as _;
use std::process::ExitCode;

use bundle_tool::observer::Observer;

use crate::arguments::Global;

/// Where messages go.
pub(crate) struct Output {
    debug: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            debug: global.debug,
        }
    }

    /// A line for standard output, where RAUC has it too.
    pub(crate) fn line(&self, text: &str) {
        print(&format!("{text}\n"));
    }

    /// A message for standard error.
    pub(crate) fn message(&self, text: &str) {
        eprintln!("rauc: {text}");
    }
}

impl Observer for Output {
    fn step(&mut self, what: &str) {
        if self.debug {
            self.message(what);
        }
    }

    fn progress(&mut self, _done: u64, _total: u64) {}

    fn warn(&mut self, what: &str) {
        self.message(&format!("warning: {what}"));
    }
}

/// Prints a result. A closed pipe is not an error worth a message.
pub(crate) fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints an error and what caused it in one line, as RAUC does.
pub(crate) fn print_error(error: &anyhow::Error) {
    eprintln!("{error:#}");
}
