//! Tells people how far a long piece of work is: one line for each step, with its seconds.
//!
//! On a terminal the line of the running step counts up in place; otherwise (a log, CI) there is
//! a line at the start, a sign of life twice a minute, and a line at the end.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How often the line on a terminal is drawn anew.
const REDRAW: Duration = Duration::from_millis(200);
/// How often a step that is not on a terminal says that it still runs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Where a step writes its progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A line that is drawn anew as time passes.
    Terminal,
    /// Whole lines only.
    Plain,
    /// Nothing at all; times are still kept.
    Silent,
}

impl Style {
    /// The style that suits standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Terminal
        } else {
            Self::Plain
        }
    }
}

/// A list of steps, done one after the other, and their wall times.
#[derive(Debug)]
pub struct Progress {
    style: Style,
    times: Mutex<Vec<(String, Duration)>>,
}

impl Progress {
    /// An empty list of steps.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self {
            style,
            times: Mutex::new(Vec::new()),
        }
    }

    /// Does `work`, whose output goes elsewhere, and shows `what` with its seconds meanwhile.
    ///
    /// # Errors
    /// Those of `work`, with `what` as their context.
    pub fn step<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let (end, ended) = channel::<()>();
        let result = std::thread::scope(|scope| {
            scope.spawn(move || self.show_while_running(what, started, &ended));
            let result = work();
            drop(end);
            result
        });
        let took = started.elapsed();
        self.keep(what, took);
        let sign = if result.is_ok() { "done" } else { "FAILED" };
        self.last_line(&format!("{what}: {sign} ({})", seconds(took)));
        result.with_context(|| format!("{what} failed"))
    }

    /// Does `work`, which prints by itself, below a heading; shows the time at the end.
    ///
    /// # Errors
    /// Those of `work`, with `what` as their context.
    pub fn section<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        self.say(&format!("\n== {what}"));
        let result = work();
        let took = started.elapsed();
        self.keep(what, took);
        let sign = if result.is_ok() { "done" } else { "FAILED" };
        self.say(&format!("== {what}: {sign} ({})", seconds(took)));
        result.with_context(|| format!("{what} failed"))
    }

    /// Prints a line of its own.
    pub fn say(&self, text: &str) {
        if self.style != Style::Silent {
            write_out(&format!("{text}\n"));
        }
    }

    /// The steps and their times so far, one line each, the sum at the end.
    #[must_use]
    pub fn table(&self) -> String {
        let times = self
            .times
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let width = times
            .iter()
            .map(|(what, _)| what.chars().count())
            .max()
            .unwrap_or(0)
            .max(5);
        let mut table = String::new();
        for (what, took) in times.iter() {
            table.push_str(&format!("  {what:<width$}  {:>8}\n", seconds(*took)));
        }
        let sum: Duration = times.iter().map(|(_, took)| *took).sum();
        table.push_str(&format!("  {:<width$}  {:>8}\n", "total", seconds(sum)));
        table
    }

    fn keep(&self, what: &str, took: Duration) {
        let mut times = self
            .times
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        times.push((what.to_owned(), took));
    }

    /// Runs on a thread of its own until `ended` is closed.
    fn show_while_running(&self, what: &str, started: Instant, ended: &Receiver<()>) {
        let pause = match self.style {
            Style::Terminal => REDRAW,
            Style::Plain => SIGN_OF_LIFE,
            Style::Silent => return,
        };
        if self.style == Style::Plain {
            write_out(&format!("{what} …\n"));
        }
        while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            let took = seconds(started.elapsed());
            match self.style {
                Style::Terminal => write_out(&format!("\r\x1b[K{what} … {took}")),
                _ => write_out(&format!("{what}: still running ({took})\n")),
            }
        }
    }

    fn last_line(&self, text: &str) {
        match self.style {
            Style::Terminal => write_out(&format!("\r\x1b[K{text}\n")),
            Style::Plain => write_out(&format!("{text}\n")),
            Style::Silent => {}
        }
    }
}

/// A time as people read it: tenths of seconds below a minute, minutes and seconds above.
#[must_use]
pub fn seconds(took: Duration) -> String {
    if took < Duration::from_secs(60) {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {:02} s", took.as_secs() / 60, took.as_secs() % 60)
    }
}

/// Writes to standard output at once.
fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that went away must not end the work that it watched.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(seconds(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn a_failing_step_is_kept_and_named() {
        let progress = Progress::new(Style::Silent);
        progress.step("first", || Ok(())).unwrap();
        let error = progress
            .step("second", || anyhow::bail!("no disk") as Result<()>)
            .unwrap_err();
        assert_eq!(format!("{error:#}"), "second failed: no disk");
        let table = progress.table();
        let names: Vec<&str> = table
            .lines()
            .filter_map(|l| l.split_whitespace().next())
            .collect();
        assert_eq!(names, ["first", "second", "total"]);
    }
}
