//! The wish that something ends early.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Ends the runs that look at it; shared by all threads.
#[derive(Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Default)]
struct Shared {
    wanted: AtomicBool,
    /// For those who cannot look, since they wait.
    actions: Mutex<Vec<Box<Action>>>,
}

type Action = dyn FnOnce() + Send;

impl Stop {
    /// From now on nobody waits for a program, or a server, any more.
    pub fn now(&self) {
        self.0.wanted.store(true, Ordering::Release);
        let mut actions = self
            .0
            .actions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for action in std::mem::take(&mut *actions) {
            action();
        }
    }

    /// Whether somebody said so.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.wanted.load(Ordering::Acquire)
    }

    /// For whoever reads: an error as soon as somebody said so.
    ///
    /// # Errors
    /// Not `Interrupted`: whoever gets that tries again.
    pub fn check(&self) -> io::Result<()> {
        match self.is_wanted() {
            true => Err(io::Error::other("it was asked to stop")),
            false => Ok(()),
        }
    }

    /// Does this as well, once, as soon as somebody says so. It must not take long.
    pub fn also(&self, action: impl FnOnce() + Send + 'static) {
        let mut actions = self
            .0
            .actions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Under the lock: either we see the wish, or who wishes sees the action.
        match self.is_wanted() {
            true => action(),
            false => actions.push(Box::new(action)),
        }
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.is_wanted()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn actions_are_done_once_whether_they_come_before_or_after() {
        let (stop, done) = (Stop::default(), Arc::new(AtomicU32::new(0)));
        let count = |by: u32| {
            let done = Arc::clone(&done);
            move || {
                done.fetch_add(by, Ordering::Relaxed);
            }
        };
        stop.also(count(1));
        assert!(!stop.is_wanted());
        assert_eq!(done.load(Ordering::Relaxed), 0);
        stop.clone().now();
        stop.now();
        assert!(stop.is_wanted());
        assert_eq!(done.load(Ordering::Relaxed), 1);
        stop.also(count(10));
        assert_eq!(done.load(Ordering::Relaxed), 11);
    }
}
