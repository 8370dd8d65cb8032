//! A source that gives up when somebody asks for it.

use std::io;
use std::ops::Range;

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

    fn expect(&self, ranges: &[Range<u64>]) {
        self.inner.expect(ranges);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Remembers what it was told.
    #[derive(Default)]
    struct Told(Mutex<Vec<Range<u64>>>);

    impl ReadAt for Told {
        fn len(&self) -> u64 {
            10
        }

        fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Ok(())
        }

        fn expect(&self, ranges: &[Range<u64>]) {
            self.0.lock().unwrap().extend_from_slice(ranges);
        }
    }

    #[test]
    fn it_reads_ahead_and_gives_up() {
        let stop = Stop::default();
        let source = Stoppable::new(Told::default(), &stop);
        source.expect(&[0..4, 7..10]);
        assert_eq!(*source.inner.0.lock().unwrap(), [0..4, 7..10]);
        source.read_exact_at(&mut [0], 0).unwrap();
        stop.now();
        assert!(source.read_exact_at(&mut [0], 0).is_err());
    }
}
