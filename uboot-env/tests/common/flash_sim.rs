//! A flash device in memory that can lose its power at any step.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use uboot_env::storage::mtd::{Geometry, Mtd, MtdKind, Protection};

const EIO: i32 = 5;
const EROFS: i32 = 30;
const EBADMSG: i32 = 74;

/// What an operation leaves behind when the power fails during it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Torn {
    /// Nothing happened yet.
    Untouched,
    /// The first half is done.
    Half,
    /// All done, but nobody heard of it.
    Done,
    /// Neither old nor new bytes.
    Garbage,
}

pub const TORN: [Torn; 4] = [Torn::Untouched, Torn::Half, Torn::Done, Torn::Garbage];

#[derive(Debug, Clone)]
pub struct Chip {
    pub geometry: Geometry,
    pub cells: Vec<u8>,
    pub bad: Vec<u64>,
    pub locked: Vec<u64>,
    /// Blocks whose next erase fails, as a block that wears out does.
    pub wearing: Vec<u64>,
    /// Pages that cannot be read (NAND).
    pub broken_pages: Vec<u64>,
    /// Steps until the power fails.
    pub fuel: Option<u64>,
    pub torn: Torn,
    pub steps: u64,
    pub log: Vec<String>,
}

/// A handle to a chip; several handles may share it.
#[derive(Debug, Clone)]
pub struct Sim(pub Rc<RefCell<Chip>>);

impl Sim {
    pub fn new(kind: MtdKind, blocks: u64) -> Self {
        let (erase_size, write_size) = match kind {
            MtdKind::Nand => (2048, 512),
            _ => (4096, 1),
        };
        let geometry = Geometry {
            kind,
            size: blocks * erase_size,
            erase_size,
            write_size,
        };
        let cells = vec![0xFF; usize::try_from(geometry.size).unwrap()];
        Self(Rc::new(RefCell::new(Chip {
            geometry,
            cells,
            bad: Vec::new(),
            locked: Vec::new(),
            wearing: Vec::new(),
            broken_pages: Vec::new(),
            fuel: None,
            torn: Torn::Untouched,
            steps: 0,
            log: Vec::new(),
        })))
    }

    pub fn boxed(&self) -> Box<dyn Mtd> {
        Box::new(self.clone())
    }

    /// A copy of the chip as it is, with power.
    pub fn snapshot(&self) -> Self {
        let mut chip = self.0.borrow().clone();
        chip.fuel = None;
        chip.steps = 0;
        chip.log.clear();
        Self(Rc::new(RefCell::new(chip)))
    }

    /// The power fails after so many more steps.
    pub fn cut_after(&self, steps: u64, torn: Torn) {
        let mut chip = self.0.borrow_mut();
        chip.fuel = Some(steps);
        chip.torn = torn;
    }
}

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Chip {
    /// One elementary step on `[at, at + want.len())`. `Err` once the power is gone.
    fn step(&mut self, at: usize, want: &[u8]) -> io::Result<()> {
        self.steps += 1;
        let page = self.geometry.write_size.max(1);
        let cut = match &mut self.fuel {
            None => false,
            Some(0) => return Err(os(EIO)),
            Some(left) => {
                *left -= 1;
                *left == 0
            }
        };
        let cells = &mut self.cells[at..at + want.len()];
        if !cut {
            cells.copy_from_slice(want);
            self.broken_pages
                .retain(|p| *p < at as u64 || *p >= (at + want.len()) as u64);
            return Ok(());
        }
        match self.torn {
            Torn::Untouched => {}
            Torn::Half => cells[..want.len() / 2].copy_from_slice(&want[..want.len() / 2]),
            Torn::Done => cells.copy_from_slice(want),
            Torn::Garbage => {
                for (i, cell) in cells.iter_mut().enumerate() {
                    *cell ^= u8::try_from(i % 251).unwrap() | 1;
                }
            }
        }
        if self.geometry.kind == MtdKind::Nand && matches!(self.torn, Torn::Half | Torn::Garbage) {
            let first = at as u64 / page * page;
            self.broken_pages
                .extend((first..(at + want.len()) as u64).step_by(usize::try_from(page).unwrap()));
        }
        Err(os(EIO))
    }

    fn alive(&self) -> io::Result<()> {
        if self.fuel == Some(0) {
            Err(os(EIO))
        } else {
            Ok(())
        }
    }
}

impl Mtd for Sim {
    fn geometry(&self) -> Geometry {
        self.0.borrow().geometry
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let chip = self.0.borrow();
        chip.alive()?;
        let end = offset + buf.len() as u64;
        let page = chip.geometry.write_size;
        if chip
            .broken_pages
            .iter()
            .any(|&p| p < end && p + page > offset)
        {
            return Err(os(EBADMSG));
        }
        let at = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&chip.cells[at..at + buf.len()]);
        Ok(())
    }

    fn program(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut chip = self.0.borrow_mut();
        chip.alive()?;
        let Geometry {
            kind,
            erase_size,
            write_size,
            ..
        } = chip.geometry;
        let block = offset / erase_size * erase_size;
        assert!(
            offset + data.len() as u64 <= block + erase_size,
            "a write across two blocks"
        );
        assert_eq!(offset % write_size, 0, "unaligned write");
        assert_eq!(data.len() as u64 % write_size, 0, "half a page");
        if chip.locked.contains(&block) {
            return Err(os(EROFS));
        }
        chip.log
            .push(format!("program {offset:#x}+{:#x}", data.len()));
        let unit = if kind == MtdKind::Nand {
            write_size
        } else {
            256
        };
        let unit = usize::try_from(unit).unwrap();
        for (i, piece) in data.chunks(unit).enumerate() {
            let at = usize::try_from(offset).unwrap() + i * unit;
            let old = &chip.cells[at..at + piece.len()];
            if kind == MtdKind::Nand {
                assert!(
                    old.iter().all(|&b| b == 0xFF),
                    "a page is written twice without an erase"
                );
            }
            // Programming clears bits, it never sets one.
            let want: Vec<u8> = match kind {
                MtdKind::DataFlash => piece.to_vec(),
                _ => old.iter().zip(piece).map(|(a, b)| a & b).collect(),
            };
            chip.step(at, &want)?;
        }
        Ok(())
    }

    fn erase(&mut self, block: u64) -> io::Result<()> {
        let mut chip = self.0.borrow_mut();
        chip.alive()?;
        assert_eq!(block % chip.geometry.erase_size, 0);
        assert!(!chip.bad.contains(&block), "a bad block is erased");
        if chip.locked.contains(&block) {
            return Err(os(EROFS));
        }
        if chip.wearing.contains(&block) {
            return Err(os(EIO));
        }
        chip.log.push(format!("erase {block:#x}"));
        let blank = vec![0xFF; usize::try_from(chip.geometry.erase_size).unwrap()];
        chip.step(usize::try_from(block).unwrap(), &blank)
    }

    fn is_bad(&mut self, block: u64) -> io::Result<bool> {
        let chip = self.0.borrow();
        chip.alive()?;
        Ok(chip.bad.contains(&block))
    }

    fn mark_bad(&mut self, block: u64) -> io::Result<()> {
        let mut chip = self.0.borrow_mut();
        chip.alive()?;
        chip.log.push(format!("mark {block:#x} bad"));
        chip.bad.push(block);
        Ok(())
    }

    fn is_locked(&mut self, block: u64) -> io::Result<bool> {
        let chip = self.0.borrow();
        chip.alive()?;
        Ok(chip.locked.contains(&block))
    }

    fn set_lock(&mut self, block: u64, lock: Protection) -> io::Result<()> {
        let mut chip = self.0.borrow_mut();
        chip.alive()?;
        chip.log.push(format!("{lock:?} {block:#x}"));
        match lock {
            Protection::Locked => chip.locked.push(block),
            Protection::Unlocked => chip.locked.retain(|b| *b != block),
        }
        Ok(())
    }
}
