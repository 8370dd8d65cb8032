//! What pieces are made with: contexts and memory that are used again.
//!
//! To compress a block again takes some MiB, and so does what it is decoded against. It is taken once for
//! each processor, however many threads want chunks: more at a time would take longer, not less.

use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, PoisonError};

use zstd::zstd_safe::CCtx;

/// One set.
pub(super) struct Tools {
    pub(super) packer: CCtx<'static>,
    /// What the base gives to decode against.
    pub(super) prefix: Vec<u8>,
    /// A frame of the base.
    pub(super) frame: Vec<u8>,
    /// What is compressed again.
    pub(super) content: Vec<u8>,
}

impl Default for Tools {
    fn default() -> Self {
        Self {
            packer: CCtx::create(),
            prefix: Vec::new(),
            frame: Vec::new(),
            content: Vec::new(),
        }
    }
}

/// Several sets. Who finds none waits for one.
pub(super) struct Toolbox {
    free: Mutex<Vec<Tools>>,
    returned: Condvar,
}

impl Toolbox {
    pub(super) fn new(sets: NonZeroUsize) -> Self {
        Self {
            free: Mutex::new((0..sets.get()).map(|_| Tools::default()).collect()),
            returned: Condvar::new(),
        }
    }

    /// Works with one of the sets.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Tools) -> T) -> T {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tools = loop {
            match free.pop() {
                Some(tools) => break tools,
                None => {
                    let woken = self.returned.wait(free);
                    free = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(free);
        let result = work(&mut tools);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(tools);
        self.returned.notify_one();
        result
    }
}
