//! What a program writes, collected by a thread that nobody waits for longer than [`DRAIN`].

use std::io::{PipeReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::{DRAIN, POLL, Stop};

/// One stream; nothing by default.
#[derive(Default)]
pub(super) struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// The run is over: who left a process behind that goes on writing has its pipe closed.
    over: Stop,
    collector: Option<JoinHandle<()>>,
}

impl Output {
    /// Reads to the end, and keeps the first `keep` bytes.
    pub(super) fn collect(mut reader: PipeReader, keep: usize) -> Output {
        let mut output = Output::default();
        let (bytes, over) = (Arc::clone(&output.bytes), output.over.clone());
        output.collector = Some(thread::spawn(move || {
            let mut buffer = [0; 4096];
            // What comes after the cap is read all the same, so that the program does not block.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut kept = lock(&bytes);
                let room = keep.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..count.min(room)]);
                if over.is_wanted() {
                    return;
                }
            }
        }));
        output
    }

    /// What came of it.
    pub(super) fn take(self) -> String {
        let deadline = Instant::now() + DRAIN;
        let reads = || self.collector.as_ref().is_some_and(|c| !c.is_finished());
        while reads() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        self.over.now();
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }
}

fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}
