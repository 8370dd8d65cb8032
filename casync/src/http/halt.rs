//! The end of everything, told to those who wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whether everything is to end. Who waits for time to pass waits here.
#[derive(Debug, Default)]
pub struct Halt {
    wanted: Mutex<bool>,
    told: Condvar,
}

impl Halt {
    /// From now on nobody waits any more.
    pub(super) fn now(&self) {
        *self.lock() = true;
        self.told.notify_all();
    }

    /// Whether somebody said so.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        *self.lock()
    }

    /// Lets so much time pass, or less if everything is to end.
    pub fn wait(&self, time: Duration) {
        let waited = self
            .told
            .wait_timeout_while(self.lock(), time, |wanted| !*wanted);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn who_waits_is_woken_and_nobody_waits_afterwards() {
        let halt = Arc::new(Halt::default());
        let long = Duration::from_secs(3600);
        let waiting = {
            let halt = Arc::clone(&halt);
            thread::spawn(move || halt.wait(long))
        };
        assert!(!halt.is_wanted());
        halt.now();
        waiting.join().unwrap();
        halt.wait(long);
        assert!(halt.is_wanted());
    }
}
