//! What of an image was written by an installation that did not come to its end.
//!
//! While an image comes over a network, the digest of each block that was written is noted in a file.
//! The next run hashes the blocks of the target and compares: what is as noted need not be fetched
//! again. Nothing is believed because it is noted: a block that was lost in a power cut has another
//! digest, and the whole image is compared with the signed digest before it is armed. If that fails,
//! the notes are thrown away.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bundle_format::Digest;

use crate::program::Stop;

/// Bytes of one noted block.
const BLOCK: u64 = BLOCK_LEN as u64;

/// The same, of what is in memory.
const BLOCK_LEN: usize = 64 * 1024;

/// Name of the directory of the notes.
const DIRECTORY: &str = "unfinished";

/// Bytes of a digest.
const DIGEST: usize = 32;

/// The notes of one image.
pub(super) struct Notes {
    file: File,
    size: u64,
    /// Noted by an earlier run.
    known: Vec<Digest>,
}

impl Notes {
    /// The notes of the image that is called `name`, in the directory `home`; begins new ones if there
    /// are none. `None` where nothing can be noted: then a cut costs more, and nothing else.
    pub fn open(home: &Path, name: &str, size: u64) -> Option<Notes> {
        Notes::try_open(home, name, size)
            .inspect_err(|error| tracing::warn!("cannot note what is written: {error}"))
            .ok()
    }

    fn try_open(home: &Path, name: &str, size: u64) -> io::Result<Notes> {
        let directory = home.join(DIRECTORY);
        fs_err::create_dir_all(&directory)?;
        let mut options = fs_err::OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file: File = options.open(directory.join(name))?.into();
        let blocks = usize::try_from(size.div_ceil(BLOCK)).map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        (&file)
            .take((blocks * DIGEST) as u64)
            .read_to_end(&mut bytes)?;
        let known = bytes.as_chunks::<DIGEST>().0.iter();
        Ok(Notes {
            file,
            size,
            known: known.map(|bytes| Digest::from_bytes(*bytes)).collect(),
        })
    }

    /// Throws away all notes below `home`.
    pub fn forget(home: &Path) {
        match fs_err::remove_dir_all(home.join(DIRECTORY)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("cannot remove what was noted: {error}");
            }
            _ => {}
        }
    }

    /// The parts of the image that still have to be fetched: those whose blocks in the target are not
    /// as noted.
    pub fn missing(
        &self,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<()>,
        stop: &Stop,
    ) -> Vec<Range<u64>> {
        let mut missing: Vec<Range<u64>> = Vec::new();
        let mut buffer = Vec::new();
        for number in 0..self.size.div_ceil(BLOCK) {
            let range = number * BLOCK..self.size.min((number + 1) * BLOCK);
            // At most BLOCK.
            buffer.resize(usize::try_from(range.end - range.start).unwrap_or(0), 0);
            let noted = usize::try_from(number).ok();
            let noted = noted.and_then(|number| self.known.get(number));
            let holds = noted.filter(|_| !stop.is_wanted()).is_some_and(|digest| {
                read(&mut buffer, range.start).is_ok() && Digest::of(&buffer) == *digest
            });
            match missing.last_mut() {
                _ if holds => {}
                Some(last) if last.end == range.start => last.end = range.end,
                _ => missing.push(range),
            }
        }
        missing
    }

    /// Notes what was written. It may be lost in a power cut; then it is fetched again.
    pub fn note(&self, offset: u64, bytes: &[u8]) {
        let whole = |block: &&[u8], at: u64| block.len() as u64 == BLOCK.min(self.size - at);
        for (at, block) in (offset..).step_by(BLOCK_LEN).zip(bytes.chunks(BLOCK_LEN)) {
            if !at.is_multiple_of(BLOCK) || at >= self.size || !whole(&block, at) {
                continue;
            }
            let place = at / BLOCK * DIGEST as u64;
            if let Err(error) = self.file.write_all_at(Digest::of(block).as_bytes(), place) {
                tracing::debug!("cannot note what was written: {error}");
            }
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    reason = "lists of ranges, some with one"
)]
mod tests {
    use super::*;

    fn all(notes: &Notes, target: &[u8]) -> Vec<Range<u64>> {
        let mut read = |buf: &mut [u8], offset: u64| {
            let at = usize::try_from(offset).unwrap();
            buf.copy_from_slice(&target[at..at + buf.len()]);
            Ok(())
        };
        notes.missing(&mut read, &Stop::default())
    }

    #[test]
    fn only_what_is_noted_and_there_is_not_fetched_again() {
        let home = tempfile::tempdir().unwrap();
        let image: Vec<u8> = (0..=250).cycle().take(300_000).collect();
        let block = 64 * 1024;
        let notes = Notes::open(home.path(), "x", 300_000).unwrap();
        assert_eq!(
            all(&notes, &image),
            [0..300_000],
            "it is there, but not noted"
        );
        notes.note(0, &image[..2 * block]);
        notes.note(4 * BLOCK, &image[4 * block..]);

        let notes = Notes::open(home.path(), "x", 300_000).unwrap();
        assert_eq!(all(&notes, &image), [2 * BLOCK..4 * BLOCK]);
        let mut torn = image.clone();
        torn[block + 5] ^= 1;
        assert_eq!(all(&notes, &torn), [BLOCK..4 * BLOCK]);

        Notes::forget(home.path());
        let notes = Notes::open(home.path(), "x", 300_000).unwrap();
        assert_eq!(all(&notes, &image), [0..300_000]);
    }

    #[test]
    fn garbage_in_the_notes_is_a_block_that_is_not_there() {
        let home = tempfile::tempdir().unwrap();
        let image = vec![7; 300_000];
        drop(Notes::open(home.path(), "x", 300_000).unwrap());
        let directory = home.path().join(DIRECTORY);
        let file = fs_err::read_dir(directory)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        fs_err::write(file.path(), vec![0xff; 1_000_000]).unwrap();
        let notes = Notes::open(home.path(), "x", 300_000).unwrap();
        assert_eq!(all(&notes, &image), [0..300_000]);
    }
}
