//! Progress of an installation.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Format;
use crate::install::{Progress, Stage};

/// Shows how far an installation is.
pub(crate) struct Bar {
    style: Style,
    stage: Option<Stage>,
    tenth: u64,
}

enum Style {
    Terminal(ProgressBar),
    /// A line at each tenth.
    Lines,
    Nothing,
}

const TEMPLATE: &str =
    "{msg:20} {bar:30} {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";

impl Bar {
    pub(super) fn new(format: Format, terminal: bool) -> Self {
        let style = match (format, terminal) {
            (Format::Json, _) => Style::Nothing,
            (Format::Human, false) => Style::Lines,
            (Format::Human, true) => {
                let bar =
                    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
                if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                    bar.set_style(style);
                }
                Style::Terminal(bar)
            }
        };
        Bar {
            style,
            stage: None,
            tenth: 0,
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Style::Terminal(bar) = self.style {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn at(&mut self, stage: Stage, done: u64, total: u64) {
        let new_stage = self.stage != Some(stage);
        self.stage = Some(stage);
        match &self.style {
            Style::Nothing => {}
            Style::Terminal(bar) => {
                if new_stage {
                    bar.reset();
                    bar.set_message(stage.text());
                    bar.set_length(total);
                }
                bar.set_position(done);
            }
            Style::Lines => {
                let tenth = done.saturating_mul(10).checked_div(total).unwrap_or(10);
                if (new_stage && stage == Stage::Sync) || tenth > self.tenth && !new_stage {
                    eprintln!("{} {} %", stage.text(), tenth * 10);
                }
                self.tenth = tenth;
            }
        }
    }
}
