//! Writes down every operation, so that the order of writes and barriers is a reviewed artefact.
//!
//! One golden list per verb stands in `slotmgr/tests/`: whoever changes the order sees it there.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Area, Disks, OpenError, Storage};

/// One operation, as it stands in a golden list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Bytes written (volatile).
    Write {
        /// Where.
        area: Area,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: usize,
    },
    /// A barrier.
    Sync(Area),
    /// Bytes read after a barrier on the same area, with nothing written in between: a read-back.
    ReadBack(Area),
}

/// The list that is being written; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Op>>>);

impl Log {
    /// The operations so far, runs of neighbouring writes and of read-backs folded into one.
    #[must_use]
    pub fn folded(&self) -> Vec<Op> {
        let ops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out: Vec<Op> = Vec::new();
        for op in ops.iter() {
            match (out.last_mut(), op) {
                (
                    Some(Op::Write { area, offset, len }),
                    Op::Write {
                        area: next_area,
                        offset: next,
                        len: more,
                    },
                ) if area == next_area && *offset + *len as u64 == *next => *len += more,
                (Some(Op::ReadBack(area)), Op::ReadBack(next)) if area == next => {}
                _ => out.push(op.clone()),
            }
        }
        out
    }

    /// The folded list, one operation a line.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for op in self.folded() {
            let line = match op {
                Op::Write { area, offset, len } => format!("write     {area} @{offset} +{len}"),
                Op::Sync(area) => format!("sync      {area}"),
                Op::ReadBack(area) => format!("read-back {area}"),
            };
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn push(&self, op: Op) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(op);
    }
}

/// Disks that write down what is done to them.
pub struct RecordingDisks<'d> {
    inner: &'d mut dyn Disks,
    log: Log,
}

impl<'d> RecordingDisks<'d> {
    /// Records what is done to `inner`.
    pub fn new(inner: &'d mut dyn Disks) -> Self {
        RecordingDisks {
            inner,
            log: Log::default(),
        }
    }

    /// The list; it goes on growing.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log.clone()
    }
}

impl Disks for RecordingDisks<'_> {
    fn open(&mut self, area: Area) -> Result<Box<dyn Storage>, OpenError> {
        let inner = self.inner.open(area)?;
        Ok(Box::new(Recorded {
            inner,
            area,
            log: self.log.clone(),
            state: Seen::Nothing,
        }))
    }
}

#[derive(PartialEq)]
enum Seen {
    Nothing,
    Written,
    Synced,
}

struct Recorded {
    inner: Box<dyn Storage>,
    area: Area,
    log: Log,
    state: Seen,
}

impl Storage for Recorded {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.state == Seen::Synced {
            self.log.push(Op::ReadBack(self.area));
        }
        self.inner.read_at(buf, offset)
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        self.log.push(Op::Write {
            area: self.area,
            offset,
            len: data.len(),
        });
        self.state = Seen::Written;
        self.inner.write_at(data, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.log.push(Op::Sync(self.area));
        self.state = Seen::Synced;
        self.inner.sync()
    }

    fn file(&self) -> Option<&File> {
        self.inner.file()
    }
}
