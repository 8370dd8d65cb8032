//! How long to wait for what.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::halt::Halt;

/// How long to wait for what, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection stands.
    pub connect: Duration,
    /// Without a single byte coming.
    pub stall: Duration,
    /// For one whole answer, however it trickles.
    pub answer: Duration,
    /// Tries for one request.
    pub tries: u32,
    /// Before the second try; twice as long before each further one.
    pub first_pause: Duration,
    /// Longest pause, and longest `Retry-After` that is obeyed: beyond it the request fails.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(30),
            answer: Duration::from_secs(600),
            tries: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// Lets time pass: a test counts instead.
pub trait Wait: Send + Sync {
    /// Waits, until `halt` at the longest.
    fn pause(&self, time: Duration, halt: &Halt);

    /// Seconds since 1970, for servers that name a date.
    fn now(&self) -> u64;

    /// Any number, so that a fleet that failed together does not come back together.
    fn chance(&self) -> u32;
}

/// The clock of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemWait;

impl Wait for SystemWait {
    fn pause(&self, time: Duration, halt: &Halt) {
        halt.wait(time);
    }

    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |time| time.as_secs())
    }

    fn chance(&self) -> u32 {
        // Each `RandomState` has keys of its own; nothing here needs better numbers.
        let [a, b, c, d, ..] = RandomState::new().hash_one(0).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

impl Patience {
    /// The pause after try number `tried` (from 1): between half and all of the grown pause, or what
    /// the server wants if that is longer. `None` if it is not worth waiting.
    pub(super) fn pause(
        &self,
        tried: u32,
        retry_after: Option<Duration>,
        chance: u32,
    ) -> Option<Duration> {
        if tried >= self.tries {
            return None;
        }
        let grown = self
            .first_pause
            .saturating_mul(2_u32.saturating_pow(tried.saturating_sub(1)))
            .min(self.longest_pause);
        let half = grown / 2;
        let some = half.mul_f64(f64::from(chance) / f64::from(u32::MAX));
        match retry_after {
            Some(wanted) if wanted > self.longest_pause => None,
            Some(wanted) => Some((half + some).max(wanted)),
            None => Some(half + some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_obey_the_server() {
        let patience = Patience {
            tries: 10,
            ..Patience::default()
        };
        let millis = |tried, after: Option<u64>, chance| {
            let after = after.map(Duration::from_secs);
            patience.pause(tried, after, chance).map(|p| p.as_millis())
        };
        assert_eq!(millis(1, None, 0), Some(250));
        assert_eq!(millis(1, None, u32::MAX), Some(500));
        assert_eq!(millis(3, None, u32::MAX), Some(2_000));
        assert_eq!(millis(9, None, u32::MAX), Some(60_000));
        assert_eq!(millis(10, None, 0), None);
        assert_eq!(millis(1, Some(7), 0), Some(7_000));
        assert_eq!(millis(1, Some(0), 0), Some(250));
        assert_eq!(millis(1, Some(3_600), 0), None, "longer than anybody waits");
    }
}
