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
    /// Bytes that were given as lines.
    told: usize,
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

    /// The lines that are complete by now and were not given before.
    pub(super) fn new_lines(&mut self) -> Vec<String> {
        let bytes = lock(&self.bytes);
        let fresh = bytes.get(self.told..).unwrap_or_default();
        let Some(end) = fresh.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        self.told += end + 1;
        let text = String::from_utf8_lossy(&fresh[..end]);
        text.lines().map(str::to_owned).collect()
    }

    /// What came of it, and whatever of it was not given as lines before.
    pub(super) fn take(self) -> (String, Vec<String>) {
        let deadline = Instant::now() + DRAIN;
        let reads = || self.collector.as_ref().is_some_and(|c| !c.is_finished());
        while reads() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        self.over.now();
        let bytes = lock(&self.bytes);
        let rest = String::from_utf8_lossy(bytes.get(self.told..).unwrap_or_default());
        let rest = rest.lines().map(str::to_owned).collect();
        (String::from_utf8_lossy(&bytes).into_owned(), rest)
    }
}

fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}
