//! Writing only what is not there already.

use std::io;

use crate::storage::Storage;
use crate::storage::direct::Aligned;

/// What is compared at once with what is there already. Smaller would save more writes, and make
/// more and smaller ones of them.
const GRAIN: usize = 64 * 1024;

/// The longest run of pieces that are written without a look after pieces in which nothing was equal.
const MAX_BLIND: u32 = 15;

/// A writer of differences, with the memory that it compares in.
pub(crate) struct Changes {
    there: Aligned,
    grain: usize,
    written: u64,
    looks: Looks,
}

/// Which pieces are compared with what is there.
#[derive(Clone, Copy)]
enum Looks {
    /// All.
    Always,
    /// Fewer and fewer while nothing is found to be equal.
    Less {
        /// Pieces that are written without a look from now on.
        blind: u32,
        /// As many were after the last look.
        run: u32,
    },
}

impl Looks {
    /// Whether the next piece is compared.
    fn next(&mut self) -> bool {
        match self {
            Looks::Less { blind, .. } if *blind > 0 => {
                *blind -= 1;
                false
            }
            _ => true,
        }
    }

    /// A piece was compared.
    fn found(&mut self, equal: Equal) {
        if let Looks::Less { blind, run } = self {
            *run = match equal {
                Equal::Nothing => (*run * 2 + 1).min(MAX_BLIND),
                Equal::Something => 0,
            };
            *blind = *run;
        }
    }
}

/// What a comparison found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Equal {
    Nothing,
    Something,
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
            there: Aligned::default(),
            grain,
            written: 0,
            looks: Looks::Always,
        }
    }

    /// The same, for a target that may hold something else altogether: where nothing is equal, up to
    /// fifteen of sixteen pieces are not read first. Reading takes its time of the medium too.
    pub fn looking_less_where_nothing_is_equal(self) -> Changes {
        Changes {
            looks: Looks::Less { blind: 0, run: 0 },
            ..self
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
        if !self.looks.next() {
            return self.put(storage, bytes, offset);
        }
        let before = self.written;
        self.there.resize(bytes.len());
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
        self.looks
            .found(match self.written - before == bytes.len() as u64 {
                true => Equal::Nothing,
                false => Equal::Something,
            });
        Ok(())
    }

    fn put(
        &mut self,
        storage: &mut dyn Storage,
        bytes: &[u8],
        offset: u64,
    ) -> Result<(), (u64, io::Error)> {
        storage
            .write_at(bytes, offset)
            .map_err(|error| (offset, error))?;
        self.written += bytes.len() as u64;
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
    fn where_nothing_is_equal_it_looks_less_often() {
        let mut looks = Looks::Less { blind: 0, run: 0 };
        let mut look = |equal| {
            let mut blind = 0;
            while !looks.next() {
                blind += 1;
            }
            looks.found(equal);
            blind
        };
        let runs: Vec<u32> = (0..7).map(|_| look(Equal::Nothing)).collect();
        assert_eq!(runs, [0, 1, 3, 7, 15, 15, 15]);
        assert_eq!(look(Equal::Something), 15);
        assert_eq!(look(Equal::Something), 0, "it looks at everything again");
        assert_eq!(look(Equal::Nothing), 0);
        assert_eq!(look(Equal::Nothing), 1);
    }

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
