//! How fast an installation is, and how long it still takes. Knows no clock: the time comes in.

use std::collections::VecDeque;
use std::time::Duration;

use crate::install::Stage;

/// How far a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// What is being done.
    pub stage: Stage,
    /// Bytes that are through.
    pub done: u64,
    /// Bytes of this stage.
    pub total: u64,
    /// Bytes per second, over the last seconds; 0 as long as nobody can tell.
    pub rate: u64,
    /// How long this stage still takes, in seconds, if it goes on like this.
    pub left: Option<u64>,
}

/// Between two tellings of one stage.
const PAUSE: Duration = Duration::from_millis(250);

/// Tellings that the rate is taken over: the last five seconds.
const WINDOW: usize = 20;

/// Measures, and says when there is something new to tell.
#[derive(Debug, Default)]
pub struct Meter {
    stage: Option<Stage>,
    told: VecDeque<(Duration, u64)>,
}

impl Meter {
    /// `done` of `total` bytes are through at the time `now`, counted from any moment. Gives what
    /// is worth telling: the beginning and the end of a stage, and at most four paces a second.
    pub fn at(&mut self, now: Duration, stage: Stage, done: u64, total: u64) -> Option<Pace> {
        if self.stage != Some(stage) {
            self.stage = Some(stage);
            self.told.clear();
        }
        let (last, last_done) = self.told.back().copied().unzip();
        let recent = last.is_some_and(|last| now.saturating_sub(last) < PAUSE);
        let ends = done >= total && last_done.is_none_or(|before| before < total);
        if recent && !ends {
            return None;
        }
        if self.told.len() == WINDOW {
            self.told.pop_front();
        }
        self.told.push_back((now, done));
        let rate = self.rate();
        Some(Pace {
            stage,
            done,
            total,
            rate,
            left: total.saturating_sub(done).checked_div(rate),
        })
    }

    fn rate(&self) -> u64 {
        let (Some((from, before)), Some((to, after))) = (self.told.front(), self.told.back())
        else {
            return 0;
        };
        let bytes = u128::from(after.saturating_sub(*before));
        let rate = (bytes * 1_000_000).checked_div(to.saturating_sub(*from).as_micros());
        rate.and_then(|rate| u64::try_from(rate).ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(meter: &mut Meter, milliseconds: u64, stage: Stage, done: u64) -> Option<Pace> {
        meter.at(Duration::from_millis(milliseconds), stage, done, 10_000)
    }

    #[test]
    fn bytes_a_second_and_what_is_left() {
        let mut meter = Meter::default();
        let first = at(&mut meter, 0, Stage::Write, 0).unwrap();
        assert_eq!((first.rate, first.left), (0, None));
        assert_eq!(at(&mut meter, 249, Stage::Write, 900), None);
        let later = at(&mut meter, 1_000, Stage::Write, 2_000).unwrap();
        assert_eq!((later.rate, later.left), (2_000, Some(4)));
        // A rate of the last five seconds, not of all the time.
        for tick in 1..=40 {
            at(
                &mut meter,
                1_000 + tick * 250,
                Stage::Write,
                2_000 + tick * 25,
            );
        }
        let slow = at(&mut meter, 11_250, Stage::Write, 3_025).unwrap();
        assert_eq!((slow.rate, slow.left), (100, Some(69)));
    }

    #[test]
    fn ends_and_beginnings_are_always_told_and_once() {
        let mut meter = Meter::default();
        assert!(at(&mut meter, 0, Stage::Check, 0).is_some());
        assert!(at(&mut meter, 1, Stage::Check, 10_000).is_some());
        assert!(at(&mut meter, 2, Stage::Check, 10_000).is_none());
        assert!(at(&mut meter, 3, Stage::Write, 0).is_some());
        // A clock that goes back, and a stage without bytes.
        assert!(at(&mut meter, 0, Stage::Write, 5).is_none());
        let empty = meter.at(Duration::ZERO, Stage::Sync, 0, 0).unwrap();
        assert_eq!(empty.left, None);
    }
}
