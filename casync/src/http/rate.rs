//! How much may come in a second.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::halt::Halt;
use super::patience::Wait;

/// Counts what comes, and makes those who take too much wait.
pub(super) struct Meter {
    rate: Option<NonZeroU64>,
    wait: Arc<dyn Wait>,
    halt: Arc<Halt>,
    total: AtomicU64,
    /// When what has come would have come at the rate.
    due: Mutex<Option<Instant>>,
}

impl Meter {
    /// `wait` lets the time pass, as long as `halt` is not wanted.
    pub(super) fn new(rate: Option<NonZeroU64>, (wait, halt): (Arc<dyn Wait>, Arc<Halt>)) -> Self {
        Self {
            rate,
            wait,
            halt,
            total: AtomicU64::new(0),
            due: Mutex::new(None),
        }
    }

    /// Bytes so far.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// So many bytes have come; comes back when it is time for more. Nobody who waits holds up
    /// another: each waits for its own share.
    pub(super) fn took(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        if let Some(rate) = self.rate {
            let pause = self.share(bytes, rate, Instant::now());
            if !pause.is_zero() {
                self.wait.pause(pause, &self.halt);
            }
        }
    }

    /// Time that was not used is lost: a pause of the server is not made up for by a burst.
    fn share(&self, bytes: u64, rate: NonZeroU64, now: Instant) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let from = due.map_or(now, |due| due.max(now));
        let until = from.checked_add(cost).unwrap_or(from);
        *due = Some(until);
        until.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::patience::SystemWait;
    use super::*;

    #[test]
    fn bytes_come_at_the_rate_and_no_faster() {
        let rate = NonZeroU64::new(1_000).unwrap();
        let meter = Meter::new(Some(rate), (Arc::new(SystemWait), Arc::default()));
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let waits = |bytes, now| meter.share(bytes, rate, now).as_millis();
        assert_eq!(waits(500, start), 500);
        assert_eq!(waits(500, start), 1_000, "a second thread at the same time");
        assert_eq!(waits(100, after(1_000)), 100);
        assert_eq!(waits(100, after(9_000)), 100, "nothing is saved up");
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let meter = Meter::new(None, (Arc::new(SystemWait), Arc::default()));
        meter.took(u64::MAX / 2);
        assert_eq!(meter.total(), u64::MAX / 2);
    }
}
