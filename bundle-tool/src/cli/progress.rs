//! Progress on standard error: a bar on a terminal, one line per step elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Environment;
use crate::observer::Observer;

/// What the user sees while waiting.
pub(super) struct Terminal {
    bar: Option<ProgressBar>,
}

impl Terminal {
    pub(super) fn new(environment: &Environment) -> Self {
        let bar = environment.terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style(environment));
            bar
        });
        Self { bar }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(environment: &Environment) -> ProgressStyle {
    let template = if environment.no_color {
        "{msg:38} {bar:24} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}"
    } else {
        "{msg:38} {bar:24.cyan} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}"
    };
    // The template is a constant; should it ever be wrong, a plain bar is good enough.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Observer for Terminal {
    fn step(&mut self, what: &str) {
        match &self.bar {
            Some(bar) => {
                bar.reset();
                bar.set_length(0);
                bar.set_message(what.to_owned());
                bar.tick();
            }
            None => eprintln!("{what}"),
        }
    }

    fn progress(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    fn warn(&mut self, what: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("warning: {what}")),
            None => eprintln!("warning: {what}"),
        }
    }
}
