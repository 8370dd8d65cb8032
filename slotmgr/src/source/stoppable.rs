//! A source that gives up when somebody asks for it.

use std::io;

use bundle_format::ReadAt;

use crate::program::Stop;

/// Reads on until it is asked to stop.
pub struct Stoppable<R> {
    inner: R,
    stop: Stop,
}

impl<R> Stoppable<R> {
    /// From now on `stop` counts.
    pub fn new(inner: R, stop: &Stop) -> Self {
        Self {
            inner,
            stop: stop.clone(),
        }
    }
}

impl<R: ReadAt> ReadAt for Stoppable<R> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.stop.check()?;
        self.inner.read_exact_at(buf, offset)
    }
}
