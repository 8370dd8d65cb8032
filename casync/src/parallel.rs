//! Work on many things at the same time, results in order.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// The result of `work` for each item, in the items' order.
pub fn map<T: Sync, R: Send>(
    threads: NonZeroUsize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::default();
    let one = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else {
                return;
            };
            let result = work(item);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push((number, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.get() {
            scope.spawn(one);
        }
        one();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// What one thread sends and several take. Nothing is left to take once it is closed, and the sender
/// finds nobody who listens.
pub(crate) struct Jobs<T>(Mutex<Option<Receiver<T>>>);

impl<T> Jobs<T> {
    pub(crate) fn new(receiver: Receiver<T>) -> Self {
        Self(Mutex::new(Some(receiver)))
    }

    /// Waits for the next one. Others may take theirs while it is worked on.
    pub(crate) fn next(&self) -> Option<T> {
        self.lock().as_ref().and_then(|jobs| jobs.recv().ok())
    }

    pub(crate) fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Receiver<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread gave; its panic goes on here.
pub(crate) fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
