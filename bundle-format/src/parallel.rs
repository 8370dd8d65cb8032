//! Hashing and unpacking on all cores: ordered jobs, progress on the calling thread, the first error wins.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

use crate::limits::MAX_HASH_THREADS;

/// Runs `work` for every job; each thread brings its own buffer. `done` is called on this thread
/// with what each finished job returned. Jobs are started in order, and of several errors that of
/// the first job is returned, so the outcome does not depend on timing.
///
/// With one core, everything runs on this thread.
pub(crate) fn run<J: Send, E: Send>(
    jobs: impl Iterator<Item = J> + Send,
    work: impl Fn(&mut Vec<u8>, J) -> Result<u64, E> + Sync,
    done: &mut dyn FnMut(u64),
) -> Result<(), E> {
    if threads() == 1 {
        let mut buffer = Vec::new();
        return jobs
            .map(|job| work(&mut buffer, job))
            .try_for_each(|result| {
                done(result?);
                Ok(())
            });
    }
    let jobs = Mutex::new(jobs.enumerate());
    let stop = AtomicBool::new(false);
    let next = || {
        let mut jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.next().filter(|_| !stop.load(Ordering::Relaxed))
    };
    let (sender, results) = mpsc::channel();
    let mut failed: Option<(usize, E)> = None;
    let mut take = |(index, result)| match result {
        Ok(bytes) => done(bytes),
        Err(error) => {
            stop.store(true, Ordering::Relaxed);
            if failed.as_ref().is_none_or(|(first, _)| index < *first) {
                failed = Some((index, error));
            }
        }
    };
    std::thread::scope(|scope| {
        // This thread works too: starting one costs as much as unpacking a few blocks.
        for _ in 1..threads() {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                let mut buffer = Vec::new();
                while let Some((index, job)) = next() {
                    // The receiver lives until all threads have ended.
                    let _ = sender.send((index, work(&mut buffer, job)));
                }
            });
        }
        drop(sender);
        let mut buffer = Vec::new();
        while let Some((index, job)) = next() {
            take((index, work(&mut buffer, job)));
            results.try_iter().for_each(&mut take);
        }
        results.iter().for_each(&mut take);
    });
    failed.map_or(Ok(()), |(_, error)| Err(error))
}

/// Asking costs several reads of system files, so it is done once.
fn threads() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    *CORES.get_or_init(|| cores().min(MAX_HASH_THREADS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_once_and_the_first_error_is_returned() {
        let mut sum = 0;
        run(1..=100u64, |_, n| Ok::<_, ()>(n), &mut |n| sum += n).unwrap();
        assert_eq!(sum, 5050);
        for _ in 0..50 {
            let failing = |_: &mut Vec<u8>, n: u64| if n % 7 == 6 { Err(n) } else { Ok(n) };
            assert_eq!(run(0..1000u64, failing, &mut |_| {}), Err(6));
        }
    }
}
