//! Progress of an installation: bytes, rate, time left.

use std::io::{self, Write};
use std::time::Instant;

use bundle_format::VerifiedManifest;

use super::Output;
use crate::install::{Message, MessageKind, Progress, Stage};
#[cfg(feature = "dbus")]
use crate::service::JobStatus;
use crate::service::{Meter, Pace};
#[cfg(feature = "dbus")]
use crate::state::Release;

/// Shows how far an installation is; on stderr, so that an answer can be piped.
pub(crate) struct Bar<'o> {
    output: &'o Output,
    style: Style,
    meter: Meter,
    begun: Instant,
    /// The bundle was shown, or the other side showed it.
    accepted: bool,
    stage: Option<Stage>,
    tenth: u64,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// One line that changes.
    Terminal,
    /// A line at each tenth.
    Lines,
    /// For programs, nothing.
    Nothing,
}

/// Clears the line that the cursor is in.
const CLEAR: &str = "\r\u{1b}[K";

impl<'o> Bar<'o> {
    pub(super) fn new(output: &'o Output, style: Style) -> Self {
        Bar {
            output,
            style,
            meter: Meter::default(),
            begun: Instant::now(),
            accepted: false,
            stage: None,
            tenth: 0,
        }
    }

    /// How a job stands that somebody else does.
    #[cfg(feature = "dbus")]
    pub(crate) fn job(&mut self, job: &JobStatus) {
        if let (false, Some(release)) = (self.accepted, &job.release) {
            self.accepted = true;
            self.output.release_accepted(release);
        }
        if let Some(pace) = &job.pace {
            self.show(pace);
        }
    }

    /// Takes the line away.
    pub(crate) fn finish(self) {
        if self.style == Style::Terminal && self.stage.is_some() {
            print(CLEAR);
        }
    }

    fn show(&mut self, pace: &Pace) {
        let new = self.stage != Some(pace.stage);
        self.stage = Some(pace.stage);
        match self.style {
            Style::Nothing => {}
            Style::Terminal => print(&format!("{CLEAR}{}", line(pace))),
            Style::Lines => {
                let before = if new { 0 } else { self.tenth };
                self.tenth = tenth(pace);
                // Nothing but the beginning is known of a sync.
                let tell = match pace.stage {
                    Stage::Sync => new,
                    _ => self.tenth > before,
                };
                if tell {
                    print(&format!("{}\n", line(pace)));
                }
            }
        }
    }

    /// A line of its own, above the one that changes.
    fn say(&self, text: &str) {
        match self.style {
            Style::Nothing => {}
            Style::Lines => print(&format!("{text}\n")),
            Style::Terminal => print(&format!("{CLEAR}{text}\n")),
        }
    }
}

impl Progress for Bar<'_> {
    fn at(&mut self, stage: Stage, done: u64, total: u64) {
        if let Some(pace) = self.meter.at(self.begun.elapsed(), stage, done, total) {
            self.show(&pace);
        }
    }

    fn accepted(&mut self, manifest: &VerifiedManifest) {
        self.accepted = true;
        self.output.bundle_accepted(manifest);
    }

    fn said(&mut self, message: &Message) {
        if message.kind != MessageKind::Debug {
            self.say(&message.to_string());
        }
    }
}

/// A terminal that is gone is no reason to stop.
fn print(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

fn tenth(pace: &Pace) -> u64 {
    let done = pace.done.saturating_mul(10);
    done.checked_div(pace.total).unwrap_or(10)
}

/// `writing  40 %  160.0 of 400.0 MiB  52.1 MiB/s  0:04 left`
pub(super) fn line(pace: &Pace) -> String {
    let percent = pace.done.saturating_mul(100).checked_div(pace.total);
    let mut text = format!(
        "{}  {:>3} %  {} of {}",
        pace.stage.text(),
        percent.unwrap_or(100),
        bytes(pace.done),
        bytes(pace.total)
    );
    if pace.rate > 0 {
        text.push_str(&format!("  {}/s", bytes(pace.rate)));
    }
    if let Some(left) = pace.left.filter(|_| pace.done < pace.total) {
        text.push_str(&format!("  {}:{:02} left", left / 60, left % 60));
    }
    text
}

fn bytes(count: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = count.saturating_mul(10) / unit;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", tenths(1 << 10)),
        1_048_576..1_073_741_824 => format!("{} MiB", tenths(1 << 20)),
        _ => format!("{} GiB", tenths(1 << 30)),
    }
}

impl Output {
    /// What a bundle brings that somebody else has opened.
    #[cfg(feature = "dbus")]
    fn release_accepted(&self, release: &Release) {
        self.human(|| format!("bundle     {} {}", release.compatible, release.label()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_bytes_rate_and_time_left() {
        let mut pace = Pace {
            stage: Stage::Write,
            done: 160 << 20,
            total: 400 << 20,
            rate: 54_700_000,
            left: Some(64),
        };
        assert_eq!(
            line(&pace),
            "writing   40 %  160.0 MiB of 400.0 MiB  52.1 MiB/s  1:04 left"
        );
        pace.done = pace.total;
        pace.rate = 0;
        assert_eq!(line(&pace), "writing  100 %  400.0 MiB of 400.0 MiB");
        pace.total = 0;
        assert!(line(&pace).contains("100 %"));
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert!(bytes(u64::MAX).ends_with("GiB"));
    }
}
