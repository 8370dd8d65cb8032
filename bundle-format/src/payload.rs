//! The payload of a verified bundle, whatever its format: reading gives only what was signed.

use std::io;
use std::ops::Range;

use crate::crypt::CryptReader;
use crate::payload_error::PayloadError;
use crate::pinned::PinnedReader;
use crate::read_at::ReadAt;
use crate::verity::VerityReader;

/// The payload of a verified bundle. Everything that is read from it was checked, on this read.
pub struct Payload<R>(Inner<R>);

enum Inner<R> {
    Verity(VerityReader<R>),
    Plain(PinnedReader<R>),
    Crypt(CryptReader<VerityReader<R>>),
}

impl<R: ReadAt> Payload<R> {
    pub(crate) fn verity(reader: VerityReader<R>) -> Self {
        Self(Inner::Verity(reader))
    }

    pub(crate) fn crypt(reader: CryptReader<VerityReader<R>>) -> Self {
        Self(Inner::Crypt(reader))
    }

    pub(crate) fn plain(reader: PinnedReader<R>) -> Self {
        Self(Inner::Plain(reader))
    }

    /// Checks everything. `progress` gets the bytes that are done and the bytes that there are.
    ///
    /// # Errors
    /// The first block that does not match, or what the source reports.
    pub fn verify_all(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), PayloadError> {
        match &self.0 {
            Inner::Verity(reader) => reader.verify_all(progress),
            // The check of the signature has read all of it, and every read is held against that.
            Inner::Plain(reader) => {
                progress(reader.len(), reader.len());
                Ok(())
            }
            Inner::Crypt(reader) => reader.source().verify_all(progress),
        }
    }
}

impl<R: ReadAt> ReadAt for Payload<R> {
    fn len(&self) -> u64 {
        match &self.0 {
            Inner::Verity(reader) => reader.len(),
            Inner::Plain(reader) => reader.len(),
            Inner::Crypt(reader) => reader.len(),
        }
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.0 {
            Inner::Verity(reader) => reader.read_exact_at(buf, offset),
            Inner::Plain(reader) => reader.read_exact_at(buf, offset),
            Inner::Crypt(reader) => reader.read_exact_at(buf, offset),
        }
    }

    fn expect(&self, ranges: &[Range<u64>]) {
        match &self.0 {
            Inner::Verity(reader) => reader.expect(ranges),
            Inner::Plain(reader) => reader.expect(ranges),
            Inner::Crypt(reader) => reader.expect(ranges),
        }
    }
}
