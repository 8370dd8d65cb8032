//! What a program writes, collected by a thread that nobody waits for longer than [`DRAIN`].

use std::collections::VecDeque;
use std::io::{PipeReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::{DRAIN, POLL, Stop};

/// The part of what is kept that is kept of the end: there a program says why it failed.
const OF_THE_END: usize = 4;

/// One stream; nothing by default.
#[derive(Default)]
pub(super) struct Output {
    kept: Arc<Mutex<Kept>>,
    /// The run is over: who left a process behind that goes on writing has its pipe closed.
    over: Stop,
    collector: Option<JoinHandle<()>>,
}

/// The beginning and the end of a stream, and what of it nobody was told yet.
#[derive(Default)]
struct Kept {
    beginning: Vec<u8>,
    end: VecDeque<u8>,
    /// Bytes between the two that were let go.
    lost: u64,
    /// Whole lines, and the beginning of one.
    untold: Vec<u8>,
    /// What comes next is the rest of a line whose beginning was let go.
    inside_lost_line: bool,
    /// Bytes that are kept, and bytes that wait to be told, at most.
    cap: usize,
}

impl Output {
    /// Reads to the end, and keeps `keep` bytes of it.
    pub(super) fn collect(mut reader: PipeReader, keep: usize) -> Output {
        let mut output = Output::default();
        lock(&output.kept).cap = keep;
        let (kept, over) = (Arc::clone(&output.kept), output.over.clone());
        output.collector = Some(thread::spawn(move || {
            let mut buffer = [0; 4096];
            // What is not kept is read all the same, so that the program does not block.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                lock(&kept).add(&buffer[..count]);
                if over.is_wanted() {
                    return;
                }
            }
        }));
        output
    }

    /// The lines that are complete by now and were not given before. Of a flood, some are left out.
    pub(super) fn new_lines(&mut self) -> Vec<String> {
        lock(&self.kept).new_lines()
    }

    /// What came of it, and whatever of it was not given as lines before.
    pub(super) fn take(self) -> (String, Vec<String>) {
        let deadline = Instant::now() + DRAIN;
        let reads = || self.collector.as_ref().is_some_and(|c| !c.is_finished());
        while reads() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        self.over.now();
        let mut kept = lock(&self.kept);
        let mut rest = kept.new_lines();
        // The last line may have no end.
        if !kept.untold.is_empty() {
            rest.push(String::from_utf8_lossy(&kept.untold).into_owned());
        }
        (kept.text(), rest)
    }
}

impl Kept {
    fn add(&mut self, bytes: &[u8]) {
        self.hear(bytes);
        let for_the_end = self.cap / OF_THE_END;
        let room = (self.cap - for_the_end).saturating_sub(self.beginning.len());
        let (first, last) = bytes.split_at(bytes.len().min(room));
        self.beginning.extend_from_slice(first);
        self.end.extend(last);
        let too_many = self.end.len().saturating_sub(for_the_end);
        self.end.drain(..too_many);
        self.lost += too_many as u64;
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        let newline = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n');
        if self.inside_lost_line {
            let Some(end) = newline(bytes) else { return };
            bytes = &bytes[end + 1..];
            self.inside_lost_line = false;
        }
        if self.untold.len() + bytes.len() <= self.cap {
            self.untold.extend_from_slice(bytes);
        } else {
            self.untold.truncate(self.whole_lines());
            self.inside_lost_line = true;
        }
    }

    /// Bytes of `untold` that are whole lines.
    fn whole_lines(&self) -> usize {
        let last = self.untold.iter().rposition(|byte| *byte == b'\n');
        last.map_or(0, |at| at + 1)
    }

    fn new_lines(&mut self) -> Vec<String> {
        let told: Vec<u8> = self.untold.drain(..self.whole_lines()).collect();
        let text = String::from_utf8_lossy(&told);
        text.lines().map(str::to_owned).collect()
    }

    fn text(&mut self) -> String {
        let mut text = String::from_utf8_lossy(&self.beginning).into_owned();
        if self.lost > 0 {
            text += &format!("\n[{} bytes are left out here]\n", self.lost);
        }
        text += &String::from_utf8_lossy(self.end.make_contiguous());
        text
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
