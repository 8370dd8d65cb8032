//! Disks that break: from a chosen operation on, an area gives errors.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slotmgr::storage::{Area, Disks, OpenError, Storage};

/// How a disk breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Bad sectors, or a cable that came off.
    Io,
    /// It is gone: it cannot even be opened any more.
    Gone,
    /// Nothing more goes onto it.
    Full,
    /// It forgets what it was told, and says that all is well.
    Forgets,
}

/// Disks of which the slots break at the operation with this number (reads, writes and syncs of slots
/// are counted).
pub struct BreakingDisks<'d> {
    pub inner: &'d mut dyn Disks,
    pub how: Break,
    pub at: u64,
    pub seen: Arc<AtomicU64>,
}

impl BreakingDisks<'_> {
    fn broken(&self) -> bool {
        self.seen.load(Ordering::Relaxed) > self.at
    }
}

impl Disks for BreakingDisks<'_> {
    fn open(&mut self, area: Area) -> Result<Box<dyn Storage>, OpenError> {
        let slot = matches!(area, Area::Slot(_));
        if slot && self.how == Break::Gone && self.broken() {
            return Err(OpenError::Absent(area.to_string()));
        }
        let inner = self.inner.open(area)?;
        if !slot {
            return Ok(inner);
        }
        Ok(Box::new(Breaking {
            inner,
            how: self.how,
            at: self.at,
            seen: Arc::clone(&self.seen),
        }))
    }
}

struct Breaking {
    inner: Box<dyn Storage>,
    how: Break,
    at: u64,
    seen: Arc<AtomicU64>,
}

impl Breaking {
    fn works(&self) -> bool {
        self.seen.fetch_add(1, Ordering::Relaxed) < self.at
    }

    fn error(&self) -> io::Error {
        match self.how {
            Break::Full => io::ErrorKind::StorageFull.into(),
            _ => io::Error::from_raw_os_error(5),
        }
    }
}

impl Storage for Breaking {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self.works() || matches!(self.how, Break::Full | Break::Forgets) {
            true => self.inner.read_at(buf, offset),
            false => Err(self.error()),
        }
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        match (self.works(), self.how) {
            (true, _) => self.inner.write_at(data, offset),
            (false, Break::Forgets) => Ok(()),
            (false, _) => Err(self.error()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.works() || matches!(self.how, Break::Full | Break::Forgets) {
            true => self.inner.sync(),
            false => Err(self.error()),
        }
    }
}
