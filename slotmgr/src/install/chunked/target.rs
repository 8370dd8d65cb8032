//! A slot that an image is put together in.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use casync::{Blob, BlobMut};

use crate::program::Stop;
use crate::storage::Storage;
use crate::writer::Changes;

/// What is compared at once with what is there already: a block of a file system. Chunks are often
/// almost what is there.
const GRAIN: usize = 4096;

/// A slot, readable and writable at any place.
pub(super) struct SlotBlob<'s> {
    len: u64,
    state: Mutex<State<'s>>,
    stop: &'s Stop,
    /// Bytes that were handed over so far.
    done: &'s AtomicU64,
    /// Neighbouring chunks are written together, up to so many bytes. If the process is killed, they are
    /// lost.
    together: usize,
}

struct State<'s> {
    storage: &'s mut dyn Storage,
    changes: Changes,
    /// Not written yet, and where it belongs.
    pending: Vec<u8>,
    at: u64,
}

impl<'s> SlotBlob<'s> {
    pub(super) fn new(
        storage: &'s mut dyn Storage,
        (stop, done): (&'s Stop, &'s AtomicU64),
        together: usize,
    ) -> Self {
        Self {
            len: storage.len(),
            state: Mutex::new(State {
                storage,
                changes: Changes::with_grain(GRAIN),
                pending: Vec::new(),
                at: 0,
            }),
            stop,
            done,
            together,
        }
    }

    fn state(&self) -> io::Result<MutexGuard<'_, State<'s>>> {
        if self.stop.is_wanted() {
            return Err(io::Error::other("it was asked to stop"));
        }
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes what is still pending; gives the bytes that were really written in all.
    pub(super) fn finish(&self) -> io::Result<u64> {
        let mut state = self.state()?;
        state.flush()?;
        Ok(state.changes.written())
    }
}

impl State<'_> {
    fn flush(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.changes
            .write(self.storage, &pending, self.at)
            .map_err(|(_, error)| error)?;
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }

    fn end(&self) -> u64 {
        self.at + self.pending.len() as u64
    }
}

impl Blob for SlotBlob<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.state()?;
        if offset < state.end() && state.at < offset.saturating_add(buffer.len() as u64) {
            state.flush()?;
        }
        state.storage.read_at(buffer, offset)
    }
}

impl BlobMut for SlotBlob<'_> {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        if offset != state.end() || state.pending.len() + bytes.len() > self.together {
            state.flush()?;
            state.at = offset;
        }
        state.pending.extend_from_slice(bytes);
        self.done.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Memory(Vec<u8>, Vec<(u64, usize)>);

    impl Storage for Memory {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.read_exact_at(offset, buf)
        }

        fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
            self.1.push((offset, data.len()));
            self.0.write_all_at(offset, data)
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn neighbours_are_written_together_and_only_where_something_changes() {
        let mut disk = Memory(vec![1; 100_000], Vec::new());
        let (stop, done) = (Stop::default(), AtomicU64::new(0));
        let mut slot = SlotBlob::new(&mut disk, (&stop, &done), 1 << 20);
        slot.write_all_at(4096, &[2; 4096]).unwrap();
        slot.write_all_at(8192, &[3; 4096]).unwrap();
        let mut seen = [0; 2];
        slot.read_exact_at(8191, &mut seen).unwrap();
        assert_eq!(seen, [2, 3], "what is pending is what is there");
        slot.write_all_at(20_480, &[1; 8192]).unwrap();
        slot.write_all_at(28_672, &[9; 10]).unwrap();
        assert_eq!(slot.finish().unwrap(), 2 * 4096 + 10);
        drop(slot);
        assert_eq!(disk.1, [(4096, 8192), (28_672, 10)]);
        assert_eq!(done.into_inner(), 4 * 4096 + 10);
    }

    #[test]
    fn it_stops_when_asked() {
        let mut disk = Memory(vec![1; 10], Vec::new());
        let (stop, done) = (Stop::default(), AtomicU64::new(0));
        let mut slot = SlotBlob::new(&mut disk, (&stop, &done), 1 << 20);
        stop.now();
        assert!(slot.write_all_at(0, &[2]).is_err());
        assert!(slot.finish().is_err());
    }
}
