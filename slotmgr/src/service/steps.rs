//! How far an installation is, in the words and percents of RAUC's clients.

use crate::install::{Message, MessageKind, Progress, Stage};

/// Percent, what is done, and how deep that is nested.
pub type Step = (i32, String, i32);

/// Turns bytes into steps: one for each percent, none twice.
pub struct Steps<F> {
    tell: F,
    told: i32,
}

impl<F: FnMut(Step)> Steps<F> {
    /// Steps go to `tell`.
    pub fn new(tell: F) -> Self {
        Self { tell, told: -1 }
    }

    /// The first one.
    pub fn begin(&mut self) {
        self.step(0, "Installing", 1);
    }

    /// The last one.
    pub fn end(&mut self, done: bool) {
        let text = if done {
            "Installing done."
        } else {
            "Installing failed."
        };
        self.step(100, text, 1);
    }

    fn step(&mut self, percent: i32, text: &str, depth: i32) {
        self.told = percent;
        (self.tell)((percent, text.to_owned(), depth));
    }
}

impl<F: FnMut(Step)> Progress for Steps<F> {
    fn at(&mut self, stage: Stage, done: u64, total: u64) {
        let (from, to, text) = match stage {
            Stage::Check => (1, 20, "Checking bundle"),
            Stage::Write => (20, 80, "Writing images"),
            Stage::Sync => (80, 81, "Waiting for the disk"),
            Stage::ReadBack => (81, 99, "Reading back"),
        };
        let share = done
            .saturating_mul(to - from)
            .checked_div(total)
            .unwrap_or(0);
        // At most 99: the whole is done only when the bootloader knows of it.
        let percent = i32::try_from(from.saturating_add(share).min(99)).unwrap_or(99);
        if percent > self.told {
            self.step(percent, text, 2);
        }
    }

    fn said(&mut self, message: &Message) {
        if message.kind != MessageKind::Debug {
            let percent = self.told.max(0);
            self.step(percent, &message.text, 3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_rise_and_end_at_a_hundred() {
        let mut told = Vec::new();
        let mut steps = Steps::new(|step: Step| told.push(step));
        steps.begin();
        for done in 0..=10_000 {
            steps.at(Stage::Check, done, 10_000);
        }
        steps.at(Stage::Write, 0, 0);
        steps.at(Stage::Sync, u64::MAX, u64::MAX);
        steps.at(Stage::ReadBack, u64::MAX, 1);
        steps.end(true);
        assert!(told.is_sorted_by_key(|step| step.0));
        assert_eq!(told.first().unwrap().0, 0);
        assert_eq!(told[told.len() - 2], (99, "Reading back".to_owned(), 2));
        assert_eq!(
            *told.last().unwrap(),
            (100, "Installing done.".to_owned(), 1)
        );
        assert!(told.len() < 30, "not a step for every byte");
    }
}
