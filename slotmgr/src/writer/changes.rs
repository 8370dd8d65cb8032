//! Writing only what is not there already.

use std::io;

use crate::storage::Storage;

/// What is compared at once with what is there already. Smaller would save more writes, and make
/// more and smaller ones of them.
const GRAIN: usize = 64 * 1024;

/// A writer of differences, with the memory that it compares in.
pub(crate) struct Changes {
    there: Vec<u8>,
    grain: usize,
    written: u64,
}

impl Default for Changes {
    fn default() -> Self {
        Changes::with_grain(GRAIN)
    }
}

impl Changes {
    /// One that compares so many bytes at once.
    pub fn with_grain(grain: usize) -> Changes {
        Changes {
            there: Vec::new(),
            grain,
            written: 0,
        }
    }

    /// Bytes that were written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes the parts of `bytes` that are not at `offset` already. The error names its byte.
    pub fn write(
        &mut self,
        storage: &mut dyn Storage,
        bytes: &[u8],
        offset: u64,
    ) -> Result<(), (u64, io::Error)> {
        self.there.resize(bytes.len(), 0);
        // What cannot be read is worth a write: that is how a disk replaces a bad sector.
        let readable = storage.read_at(&mut self.there, offset).is_ok();
        let (there, grain) = (&self.there, self.grain);
        let differs = |start: usize| {
            let end = (start + grain).min(bytes.len());
            !readable || there[start..end] != bytes[start..end]
        };
        let mut start = 0;
        while start < bytes.len() {
            let end = run_end((start, bytes.len()), grain, differs(start), &differs);
            if differs(start) {
                let at = offset + start as u64;
                storage
                    .write_at(&bytes[start..end], at)
                    .map_err(|error| (at, error))?;
                self.written += (end - start) as u64;
            }
            start = end;
        }
        Ok(())
    }
}

/// The end of the run of grains that are like the one at `start`.
fn run_end(
    (start, len): (usize, usize),
    grain: usize,
    like: bool,
    differs: &dyn Fn(usize) -> bool,
) -> usize {
    let mut end = start + grain;
    while end < len && differs(end) == like {
        end += grain;
    }
    end.min(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_grains() {
        let different = [true, false, false, true];
        let differs = |start: usize| different[start / GRAIN];
        let len = 3 * GRAIN + 5;
        let ends: Vec<_> = [0, 1, 3]
            .map(|grain| run_end((grain * GRAIN, len), GRAIN, different[grain], &differs))
            .to_vec();
        assert_eq!(ends, [GRAIN, 3 * GRAIN, len]);
    }
}
