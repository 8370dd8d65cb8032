//! The last few things that were costly to get, shared by threads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Keeps the results of the last few numbers. Several threads that want the same one wait for the
/// first of them.
pub(crate) struct Recent<T, E> {
    kept: usize,
    slots: Mutex<VecDeque<(usize, Slot<T, E>)>>,
}

type Slot<T, E> = Arc<OnceLock<Result<Arc<T>, Arc<E>>>>;

impl<T, E> Recent<T, E> {
    /// Keeps this many.
    pub(crate) fn new(kept: usize) -> Self {
        Self {
            kept,
            slots: Mutex::default(),
        }
    }

    /// The result for `number`: a kept one, or what `make` gives.
    pub(crate) fn get_or_make(
        &self,
        number: usize,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, Arc<E>> {
        let slot = self.slot(number);
        slot.get_or_init(|| make().map(Arc::new).map_err(Arc::new))
            .clone()
    }

    fn slot(&self, number: usize) -> Slot<T, E> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = slots.iter().find(|(kept, _)| *kept == number) {
            return Arc::clone(slot);
        }
        let slot = Slot::default();
        slots.push_back((number, Arc::clone(&slot)));
        if slots.len() > self.kept {
            slots.pop_front();
        }
        slot
    }
}
