//! Little-endian fields of a structure that was read already.

use super::SquashfsError;

pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], SquashfsError> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(SquashfsError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn skip(&mut self, len: usize) -> Result<(), SquashfsError> {
        self.0 = self.0.get(len..).ok_or(SquashfsError::Short)?;
        Ok(())
    }

    pub(super) fn u16(&mut self) -> Result<u16, SquashfsError> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, SquashfsError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, SquashfsError> {
        self.take().map(u64::from_le_bytes)
    }
}
