//! Work that blocks, beside the thread that answers messages.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::failure::Failure;
use super::rest;
use crate::service::Service;

/// Asks the service on a thread of its own.
pub(super) async fn ask<T: Send + 'static>(
    service: &Arc<dyn Service>,
    question: impl FnOnce(&dyn Service) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let service = Arc::clone(service);
    let answer = offload(move || {
        let answer = question(service.as_ref());
        rest();
        answer
    })
    .await;
    let answer = answer.ok_or_else(|| {
        Failure::Failed("the machine is out of threads or memory; try again".to_owned())
    })?;
    Ok(answer?)
}

/// Runs `work` on a thread of its own; the future is ready when it is done, and gives nothing if
/// the thread could not be started or died.
pub(super) fn offload<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Option<T>> + Send {
    let shared = Arc::new(Mutex::new(Shared {
        result: None,
        gone: false,
        waker: None,
    }));
    let promise = Promise(Arc::clone(&shared));
    // When no thread can be started, the promise is dropped, which wakes the future.
    let _ = std::thread::Builder::new().spawn(move || {
        let result = work();
        promise.lock().result = Some(result);
    });
    Offloaded(shared)
}

struct Shared<T> {
    result: Option<T>,
    /// The thread has ended, or was never started.
    gone: bool,
    waker: Option<Waker>,
}

/// The side of the thread: wakes the future when it goes, whichever way.
struct Promise<T>(Arc<Mutex<Shared<T>>>);

impl<T> Promise<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Shared<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let waker = {
            let mut shared = self.lock();
            shared.gone = true;
            shared.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Offloaded<T>(Arc<Mutex<Shared<T>>>);

impl<T> Future for Offloaded<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.gone {
            return Poll::Ready(shared.result.take());
        }
        shared.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_comes_or_its_absence_does() {
        assert_eq!(zbus::block_on(offload(|| 7)), Some(7));
        let slow = || std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(zbus::block_on(offload(slow)), Some(()));
        let dies = || -> u8 { std::panic::resume_unwind(Box::new(())) };
        assert_eq!(zbus::block_on(offload(dies)), None);
    }
}
