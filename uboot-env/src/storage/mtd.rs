//! What is needed of a raw flash device, so that the same code runs on a real one and on a
//! simulated one.

use std::io;

/// The kinds of raw flash that can hold an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MtdKind {
    /// NOR: bits can be cleared one by one, blocks do not go bad.
    Nor,
    /// NAND: pages, bad blocks, ECC.
    Nand,
    /// DataFlash: pages are erased by the write itself.
    DataFlash,
}

/// Size and shape of a flash device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// What it is.
    pub kind: MtdKind,
    /// Bytes in all.
    pub size: u64,
    /// Bytes of an erase block.
    pub erase_size: u64,
    /// Bytes of a page, the smallest unit of a write (1 on NOR).
    pub write_size: u64,
}

/// A raw flash device. Offsets and lengths in bytes; blocks are named by their first byte.
pub trait Mtd {
    /// Size and shape.
    fn geometry(&self) -> Geometry;

    /// Reads exactly `buf.len()` bytes.
    ///
    /// # Errors
    /// `EBADMSG` for data that ECC cannot correct.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Programs bytes into an erased place: bits can only go from 1 to 0. On NAND, whole pages.
    ///
    /// # Errors
    /// What the device says.
    fn program(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Erases one block to 0xFF.
    ///
    /// # Errors
    /// What the device says; on NAND the block may have gone bad.
    fn erase(&mut self, block: u64) -> io::Result<()>;

    /// Whether a block is marked bad. Always `false` on NOR.
    ///
    /// # Errors
    /// What the device says.
    fn is_bad(&mut self, block: u64) -> io::Result<bool>;

    /// Marks a block bad, for ever.
    ///
    /// # Errors
    /// What the device says.
    fn mark_bad(&mut self, block: u64) -> io::Result<()>;

    /// Whether a block is write-protected. `false` where that cannot be asked.
    ///
    /// # Errors
    /// What the device says.
    fn is_locked(&mut self, block: u64) -> io::Result<bool>;

    /// Protects a block, or lifts the protection.
    ///
    /// # Errors
    /// What the device says.
    fn set_lock(&mut self, block: u64, lock: Protection) -> io::Result<()>;
}

/// Whether a flash block can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It cannot.
    Locked,
    /// It can.
    Unlocked,
}
