//! Files with holes, as the PAX format of tar has them: the archive keeps only what lies between the
//! holes, and in front of it a list of where that belongs.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use tar::Entry;

/// The list ends where one of these ends.
const BLOCK: usize = 512;

/// Most pieces between holes.
const MAX_PIECES: u64 = 1 << 20;

/// What a header says of a file with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holes {
    /// The file's name: the header has a made-up one.
    pub path: PathBuf,
    /// Its size with all holes.
    size: u64,
}

/// Bytes of the file from `begin` to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    begin: u64,
    end: u64,
}

/// The file with its holes filled by zeros.
pub(super) struct Filled<R> {
    inner: R,
    /// Those that were not read to their end, the next one last.
    pieces: Vec<Piece>,
    at: u64,
    size: u64,
}

fn bad(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a file with holes {why}"),
    )
}

impl Holes {
    /// `None` for a file without holes.
    pub fn of<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Option<Holes>> {
        let (mut version, mut path, mut size) = ([None, None], None, None);
        let mut is_sparse = false;
        let Some(extensions) = entry.pax_extensions()? else {
            return Ok(None);
        };
        for extension in extensions {
            let extension = extension?;
            let Some(key) = extension.key_bytes().strip_prefix(b"GNU.sparse.") else {
                continue;
            };
            is_sparse = true;
            let value = extension.value_bytes();
            match key {
                b"major" => version[0] = Some(value.to_vec()),
                b"minor" => version[1] = Some(value.to_vec()),
                b"name" => path = Some(PathBuf::from(OsStr::from_bytes(value))),
                b"realsize" => size = number(value),
                _ => {}
            }
        }
        if !is_sparse {
            return Ok(None);
        }
        if version != [Some(b"1".to_vec()), Some(b"0".to_vec())] {
            let why = "is in an old form: make the archive with `tar --sparse-version=1.0`";
            return Err(bad(why));
        }
        match (path, size) {
            (Some(path), Some(size)) => Ok(Some(Holes { path, size })),
            _ => Err(bad("has no name or no size")),
        }
    }

    /// Reads the list of pieces; the rest of `inner` is what is in them.
    pub fn fill<R: Read>(self, inner: R) -> io::Result<Filled<R>> {
        let mut list = List {
            inner,
            block: Vec::new(),
        };
        let count = list.number()?;
        if count > MAX_PIECES {
            return Err(bad("has too many of them"));
        }
        let (mut pieces, mut last) = (Vec::new(), 0);
        for _ in 0..count {
            let begin = list.number()?;
            let end = begin.checked_add(list.number()?);
            let end = end.filter(|end| begin >= last && *end <= self.size);
            let end = end.ok_or_else(|| bad("has them out of order, or behind its end"))?;
            pieces.push(Piece { begin, end });
            last = end;
        }
        pieces.reverse();
        Ok(Filled {
            inner: list.inner,
            pieces,
            at: 0,
            size: self.size,
        })
    }
}

/// Numbers, one a line, in whole blocks.
struct List<R> {
    inner: R,
    /// What is left of the last one.
    block: Vec<u8>,
}

impl<R: Read> List<R> {
    fn number(&mut self) -> io::Result<u64> {
        loop {
            if let Some(end) = self.block.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.block.drain(..=end).collect();
                let digits = line.strip_suffix(b"\n").unwrap_or(&line);
                return number(digits).ok_or_else(|| bad("has a list that is none"));
            }
            if self.block.len() >= BLOCK {
                return Err(bad("has a list that is none"));
            }
            let mut block = [0; BLOCK];
            self.inner.read_exact(&mut block)?;
            self.block.extend_from_slice(&block);
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl<R: Read> Read for Filled<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.pieces.last().is_some_and(|piece| piece.end <= self.at) {
            self.pieces.pop();
        }
        let (until, is_hole) = match self.pieces.last() {
            Some(piece) if piece.begin <= self.at => (piece.end, false),
            Some(piece) => (piece.begin, true),
            None => (self.size, true),
        };
        let left = usize::try_from(until.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        let part = &mut buf[..len];
        let count = if is_hole {
            part.fill(0);
            len
        } else {
            self.inner.read(part)?
        };
        if count == 0 && len > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}
