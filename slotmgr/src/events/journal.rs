//! `journal.jsonl` beside the record: a line for everything that happened.
//!
//! Lines are appended under a lock, and the file is synced. Power may fail at any byte: a torn line at
//! the end is cut off by who writes next, and skipped by who reads. A file that is full is renamed,
//! and the oldest one goes.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::line::{Decoded, Line, decode, encode};
use super::{Entry, Listener};
use crate::config::EventKind;
use crate::storage::durable::create_directory;

/// Bytes of one file; then the next one is begun.
pub const MAX_FILE: u64 = 256 * 1024;

/// Files, with the one that is written.
pub const FILES: usize = 4;

/// Bytes of a reason, or of an address. Lines stay far below [`TAIL`].
const MAX_TEXT: usize = 1_000;

/// Bytes at the end in which the last whole line is looked for.
const TAIL: u64 = 64 * 1024;

/// How long another program may keep the journal: tries, and the time between two.
const PATIENCE: (u32, Duration) = (50, Duration::from_millis(20));

/// The journal in a directory.
#[derive(Debug, Clone)]
pub struct Journal {
    directory: PathBuf,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// With their numbers, the oldest first.
    pub entries: Vec<(u64, Entry)>,
    /// Lines that are damaged, and places at which lines are missing.
    pub broken: usize,
}

impl Journal {
    /// `directory` need not be there yet.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Journal {
        Journal {
            directory: directory.to_owned(),
        }
    }

    /// The file that is written; older ones have a number behind.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join("journal.jsonl")
    }

    /// Bytes of the file that is written: it changes when something was appended.
    #[must_use]
    pub fn len(&self) -> u64 {
        std::fs::metadata(self.path()).map_or(0, |found| found.len())
    }

    /// Whether nothing was written since the file was begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn numbered(&self, number: usize) -> PathBuf {
        match number {
            0 => self.path(),
            number => self.directory.join(format!("journal.jsonl.{number}")),
        }
    }

    /// Appends one line, and waits until it is on the medium.
    ///
    /// # Errors
    /// The disk is full or broken; what was there before is there still.
    pub fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut file = self.lock()?;
        let last = cut_torn_tail(&mut file)?;
        let (seq, prev) = match last {
            Some(last) => last,
            None => self.last_of_all().unwrap_or_default(),
        };
        let line = Line {
            seq: seq + 1,
            prev,
            entry: shortened(entry),
        };
        let text = encode(&line).map_err(io::Error::other)?;
        let mut len = file.seek(SeekFrom::End(0))?;
        if len + text.len() as u64 > MAX_FILE {
            file = self.rotate()?;
            len = 0;
        }
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_data());
        if written.is_err() {
            // Half a line is no line; if even this fails, the next one cuts it off.
            let _ = file.set_len(len);
        }
        written
    }

    /// Everything that is there. What cannot be read is counted, not fatal.
    #[must_use]
    pub fn read(&self) -> Reading {
        self.scan().0
    }

    /// The same, with number and checksum of the last line, if that one is whole.
    fn scan(&self) -> (Reading, Option<(u64, String)>) {
        let mut reading = Reading::default();
        let mut last: Option<(u64, String)> = None;
        for number in (0..FILES).rev() {
            let Ok(bytes) = read_file(&self.numbered(number)) else {
                continue;
            };
            for text in whole_lines(&bytes) {
                match decode(&text) {
                    Decoded::Whole(line, crc) => {
                        let follows = last
                            .as_ref()
                            .is_none_or(|(seq, prev)| line.seq == seq + 1 && line.prev == *prev);
                        reading.broken += usize::from(!follows);
                        last = Some((line.seq, crc));
                        reading.entries.push((line.seq, line.entry));
                    }
                    // What is not understood breaks the chain as well, and that is no damage.
                    Decoded::Unknown => last = None,
                    Decoded::Broken => {
                        reading.broken += 1;
                        last = None;
                    }
                }
            }
        }
        (reading, last)
    }

    /// What the first line of a file goes on from.
    fn last_of_all(&self) -> Option<(u64, String)> {
        let (mut reading, last) = self.scan();
        // Behind a damaged line, the chain begins anew.
        let begun_anew = || Some((reading.entries.pop()?.0, String::new()));
        last.or_else(begun_anew)
    }

    /// The file, ours alone for as long as it is open. Who renamed it meanwhile is followed.
    fn lock(&self) -> io::Result<File> {
        create_directory(&self.directory)?;
        let path = self.path();
        let (tries, pause) = PATIENCE;
        for _ in 0..tries {
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Ok(file),
                Ok(()) | Err(TryLockError::WouldBlock) => thread::sleep(pause),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Power may go between any two names: then a number is missing, and nothing is lost.
    fn rotate(&self) -> io::Result<File> {
        for number in (1..FILES).rev() {
            match std::fs::rename(self.numbered(number - 1), self.numbered(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let file = open(&self.path())?;
        file.try_lock()?;
        File::open(&self.directory)?.sync_all()?;
        Ok(file)
    }
}

impl Listener for Journal {
    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn tell(&mut self, entry: &Entry) -> io::Result<()> {
        // Starts of the machine and of the service write nothing to the disk.
        match entry.what.kind() {
            Some(EventKind::Boot | EventKind::Service) => Ok(()),
            _ => self.append(entry),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    only_a_file(file)
}

/// What is not a file could be read without an end.
fn only_a_file(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A file grows by a line at most after it was found to have room.
    let most = MAX_FILE.saturating_add(TAIL);
    only_a_file(File::open(path)?)?
        .take(most)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = |one: &std::fs::Metadata, other: &std::fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => same(&open, &named),
        _ => false,
    }
}

/// Cuts off what stands behind the last line feed; gives number and checksum of the last whole
/// line, if there is one near the end.
fn cut_torn_tail(file: &mut File) -> io::Result<Option<(u64, String)>> {
    let len = file.seek(SeekFrom::End(0))?;
    let from = len.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let end = tail.iter().rposition(|byte| *byte == b'\n');
    let whole = end.map_or(0, |end| end + 1);
    if end.is_none() && from > 0 {
        // No line is so long: noise, which ends here.
        file.write_all(b"\n")?;
    } else if whole < tail.len() {
        file.set_len(from + whole as u64)?;
    }
    let lines = whole_lines(&tail).rev();
    let last = lines
        .map(|text| decode(&text))
        .find_map(|decoded| match decoded {
            Decoded::Whole(line, crc) => Some((line.seq, crc)),
            Decoded::Unknown | Decoded::Broken => None,
        });
    Ok(last)
}

/// Lines with a line feed.
fn whole_lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = String> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let lines = bytes[..end].split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| String::from_utf8_lossy(line).into_owned())
}

fn shortened(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    let texts = [
        &mut entry.facts.why,
        &mut entry.facts.source,
        &mut entry.facts.transaction,
    ];
    for text in texts.into_iter().flatten() {
        *text = crate::state::tail(text, MAX_TEXT);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::super::{Facts, Moment, What};
    use super::*;

    fn entry(number: i64) -> Entry {
        Entry {
            moment: Moment {
                at: number,
                ..Moment::default()
            },
            what: What::MarkedGood,
            facts: Facts::default(),
        }
    }

    fn times(journal: &Journal) -> Vec<i64> {
        let entries = journal.read().entries;
        entries.iter().map(|(_, entry)| entry.moment.at).collect()
    }

    #[test]
    fn cut_at_every_byte_the_next_one_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::in_directory(dir.path());
        for number in 0..3 {
            journal.append(&entry(number)).unwrap();
        }
        assert_eq!(journal.read().broken, 0);
        let whole = fs_err::read(journal.path()).unwrap();
        for length in 0..=whole.len() {
            fs_err::write(journal.path(), &whole[..length]).unwrap();
            let before = times(&journal);
            let complete = whole[..length].iter().filter(|b| **b == b'\n').count();
            assert_eq!(before.len(), complete);
            journal.append(&entry(9)).unwrap();
            let reading = journal.read();
            assert_eq!(reading.broken, 0, "cut at {length}");
            assert_eq!(times(&journal), [&before[..], &[9]].concat());
        }
    }

    #[test]
    fn a_damaged_line_is_skipped_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::in_directory(dir.path());
        for number in 0..4 {
            journal.append(&entry(number)).unwrap();
        }
        let text = fs_err::read_to_string(journal.path()).unwrap();
        fs_err::write(journal.path(), text.replace("\"at\":2", "\"at\":7")).unwrap();
        assert_eq!(times(&journal), [0, 1, 3]);
        assert_eq!(journal.read().broken, 1);
        // A line that somebody took out.
        let without: Vec<&str> = text
            .lines()
            .filter(|line| !line.contains("\"at\":1"))
            .collect();
        fs_err::write(journal.path(), without.join("\n") + "\n").unwrap();
        assert_eq!(times(&journal), [0, 2, 3]);
        assert_eq!(journal.read().broken, 1);
        // Nothing but noise.
        fs_err::write(journal.path(), vec![0xff; 100_000]).unwrap();
        journal.append(&entry(5)).unwrap();
        assert_eq!(times(&journal), [5]);
    }

    #[test]
    fn it_never_grows_beyond_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::in_directory(dir.path());
        let mut long = entry(0);
        long.facts.why = Some("x".repeat(100_000));
        journal.append(&long).unwrap();
        let line = fs_err::metadata(journal.path()).unwrap().len();
        assert!(line < 2_000, "a reason is cut");
        let enough = MAX_FILE / line * (FILES as u64 + 1);
        let full = vec![b'\n'; usize::try_from(MAX_FILE).unwrap()];
        for number in 1..=i64::try_from(enough / 50).unwrap() {
            // Files that are full, without writing so much.
            fs_err::OpenOptions::new()
                .append(true)
                .open(journal.path())
                .unwrap()
                .write_all(&full[..usize::try_from(MAX_FILE - line).unwrap()])
                .unwrap();
            long.moment.at = number;
            journal.append(&long).unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), FILES);
        assert!(
            journal
                .read()
                .entries
                .windows(2)
                .all(|two| two[0].0 + 1 == two[1].0)
        );
    }

    #[test]
    fn cut_off_while_the_next_file_is_begun_the_chain_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::in_directory(dir.path());
        for number in 0..3 {
            journal.append(&entry(number)).unwrap();
        }
        fs_err::rename(journal.path(), journal.numbered(1)).unwrap();
        journal.append(&entry(3)).unwrap();
        assert_eq!(times(&journal), [0, 1, 2, 3]);
        assert_eq!(journal.read().broken, 0);
    }

    #[test]
    fn who_holds_it_is_not_waited_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::in_directory(dir.path());
        journal.append(&entry(0)).unwrap();
        let held = open(&journal.path()).unwrap();
        held.lock().unwrap();
        let error = journal.append(&entry(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        journal.append(&entry(1)).unwrap();
        assert_eq!(times(&journal), [0, 1]);
    }
}
