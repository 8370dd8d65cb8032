//! The ordered writer of a GPT.
//!
//! A GPT stands on the disk twice. [`change`] first makes both copies whole and equal, and only
//! then writes: backup → barrier → read back → primary → barrier → read back. So at each moment at
//! least one copy is whole, and whoever takes the backup when the primary is torn finds the new
//! table. A reader that takes both when both are whole takes the primary: after a cut between the
//! two it finds the old table, and the next [`change`] makes the backup old again.
//!
//! What cannot be had: a reader that never looks at the backup (Linux without `gpt` on its command
//! line) finds no partitions if the power fails in the one moment in which the primary is torn. To
//! make that moment small, header and changed entries are one write wherever they lie in the same
//! 4,096 bytes, which nearly all flash writes as a whole.
//!
//! Refused, with nothing written: no valid copy, a hybrid or missing protective MBR, partitions
//! that overlap or leave their space, a backup that is not at the end of the disk, and a copy that
//! could be rebuilt only by guessing where its entries were.

use std::io;
use std::ops::Range;

use super::SectorSize;
pub use super::copy::Copy;
use super::copy::{Image, PRIMARY, read, read_copy, write};
use super::header::{Flaw, Header};
use super::mbr::{self, Protection};
use super::table::{Table, Unsound};
use crate::storage::Storage;

/// Farthest sector at which entries of a primary copy are looked for whose header is lost.
const SEARCH_END: u64 = 8192;

/// Why a table was not read or not written.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// The disk itself.
    #[error("while {doing} the partition table")]
    Io {
        /// reading, writing, syncing, reading back.
        doing: &'static str,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// Neither copy.
    #[error(
        "neither copy of the partition table is whole: primary: {primary}; backup: {backup}. \
         Nothing was written"
    )]
    NoTable {
        /// What is wrong with the primary.
        primary: Flaw,
        /// What is wrong with the backup.
        backup: Flaw,
    },
    /// Sector 0 does not protect the table.
    #[error(
        "sector 0 is not the protective MBR that a GPT disk must have ({found}). Nothing was \
         written; slotmgr changes only disks that have a GPT and nothing else"
    )]
    Unprotected {
        /// What it is.
        found: Protection,
    },
    /// Right checksums, wrong content.
    #[error("the partition table contradicts itself. Nothing was written")]
    Unsound(#[source] Unsound),
    /// A limit in the header that leaves no space for the copies.
    #[error(
        "the partition table says that partitions may use sectors {first} to {last}, where a copy \
         of the table itself stands. Nothing was written"
    )]
    NoRoom {
        /// First usable.
        first: u64,
        /// Last usable.
        last: u64,
    },
    /// The disk is larger than its table knows.
    #[error(
        "the backup of the partition table is in sector {found}, not in the last one of the disk \
         ({expected}), where bootloaders look for it. Nothing was written; `sgdisk -e` moves it"
    )]
    BackupNotAtEnd {
        /// Where the primary says that it is.
        found: u64,
        /// Where it has to be.
        expected: u64,
    },
    /// A copy whose entries might have been in several places.
    #[error(
        "the {copy} copy of the partition table is damaged ({flaw}), and it cannot be told where \
         its entries were. Nothing was written; repair it with a partitioning tool"
    )]
    CannotRebuild {
        /// The damaged copy.
        copy: Copy,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The disk did not keep what was written.
    #[error("the {0} copy of the partition table reads back differently from what was written")]
    ReadBack(Copy),
}

/// Both copies, as they are on the disk.
#[derive(Debug)]
pub struct Gpt {
    sector: SectorSize,
    last: u64,
    primary: Result<Image, Flaw>,
    backup: Result<Image, Flaw>,
    /// The copy that counts.
    table: Table,
}

/// What [`change`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// A copy that was damaged, or stale, and was made equal to the other first.
    pub repaired: Option<Copy>,
    /// Whether the table is another one now.
    pub written: bool,
}

impl Gpt {
    /// Reads and checks both copies. Writes nothing.
    ///
    /// # Errors
    /// When no copy can be used, or the disk is not one that may be changed.
    pub fn load(disk: &mut dyn Storage, sector: SectorSize) -> Result<Gpt, GptError> {
        let io = |source| GptError::Io {
            doing: "reading",
            source,
        };
        let sectors = disk.len() / u64::from(sector.0);
        let Some(last) = sectors.checked_sub(1).filter(|last| *last > PRIMARY) else {
            return Err(GptError::NoTable {
                primary: Flaw::NoHeader,
                backup: Flaw::NoHeader,
            });
        };
        let protective = read(disk, sector, 0, 1).map_err(io)?;
        match mbr::protection(&protective) {
            Protection::Protective => {}
            found => return Err(GptError::Unprotected { found }),
        }
        let primary = read_copy(disk, sector, (PRIMARY, last)).map_err(io)?;
        let backup = read_copy(disk, sector, (last, PRIMARY)).map_err(io)?;
        let table = match (&primary, &backup) {
            (Ok(image), _) | (Err(_), Ok(image)) => image.table(),
            (Err(primary), Err(backup)) => {
                return Err(GptError::NoTable {
                    primary: *primary,
                    backup: *backup,
                });
            }
        };
        let gpt = Gpt {
            sector,
            last,
            primary,
            backup,
            table,
        };
        gpt.check()?;
        Ok(gpt)
    }

    /// The table that counts: the primary one, unless it is damaged.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The copy that has to be made equal to the other before anything is changed, and what is
    /// wrong with it; no flaw: it is whole, and says something else.
    #[must_use]
    pub fn stale(&self) -> Option<(Copy, Option<Flaw>)> {
        match (&self.primary, &self.backup) {
            (Err(flaw), _) => Some((Copy::Primary, Some(*flaw))),
            (_, Err(flaw)) => Some((Copy::Backup, Some(*flaw))),
            (Ok(primary), Ok(backup)) if !primary.agrees(backup) => Some((Copy::Backup, None)),
            _ => None,
        }
    }

    /// The sectors that the copies themselves stand in, and sector 0.
    #[must_use]
    pub fn own_sectors(&self) -> Vec<Range<u64>> {
        let images = [&self.primary, &self.backup].into_iter().flatten();
        let copies = images.flat_map(|image| {
            let fields = image.header.fields();
            let end = fields.array_end(self.sector).unwrap_or(u64::MAX);
            [fields.own..fields.own + 1, fields.array..end]
        });
        std::iter::once(0..1).chain(copies).collect()
    }

    /// Whether [`change`] could write: a damaged copy can be rebuilt.
    ///
    /// # Errors
    /// [`GptError::CannotRebuild`], or what the disk says.
    pub fn check_rebuild(&self, disk: &mut dyn Storage) -> Result<(), GptError> {
        self.whole(disk).map(|_| ())
    }

    fn check(&self) -> Result<(), GptError> {
        if let Ok(primary) = &self.primary {
            let found = primary.header.fields().other;
            if found != self.last {
                return Err(GptError::BackupNotAtEnd {
                    found,
                    expected: self.last,
                });
            }
        }
        for image in [&self.primary, &self.backup].into_iter().flatten() {
            let fields = image.header.fields();
            let end = fields.array_end(self.sector);
            let room = match fields.own {
                PRIMARY => end.is_some_and(|end| end <= fields.first_usable),
                _ => fields.array > fields.last_usable,
            };
            if !room || fields.first_usable > fields.last_usable {
                return Err(GptError::NoRoom {
                    first: fields.first_usable,
                    last: fields.last_usable,
                });
            }
        }
        self.table.check().map_err(GptError::Unsound)
    }

    /// Both copies as they have to be for the table that counts.
    fn whole(&self, disk: &mut dyn Storage) -> Result<(Image, Image), GptError> {
        let twin = |from: &Image, array| Image {
            header: from.header.twin(array),
            array: from.array.clone(),
        };
        match (&self.primary, &self.backup) {
            (Ok(primary), Ok(backup)) if primary.agrees(backup) => {
                Ok((primary.clone(), backup.clone()))
            }
            (Ok(primary), backup) => {
                let array = self.backup_array(primary, backup.as_ref().err())?;
                Ok((primary.clone(), twin(primary, array)))
            }
            (Err(flaw), Ok(backup)) => {
                let array = self.primary_array(disk, backup, *flaw)?;
                Ok((twin(backup, array), backup.clone()))
            }
            (Err(primary), Err(backup)) => Err(GptError::NoTable {
                primary: *primary,
                backup: *backup,
            }),
        }
    }

    /// Where the entries of a backup belong: right before its header, as everybody has them.
    fn backup_array(&self, primary: &Image, flaw: Option<&Flaw>) -> Result<u64, GptError> {
        let fields = primary.header.fields();
        let sectors = self.sector.sectors(fields.array_bytes());
        let array = self.last.checked_sub(sectors);
        array
            .filter(|array| *array > fields.last_usable)
            .ok_or(GptError::CannotRebuild {
                copy: Copy::Backup,
                flaw: flaw.copied().unwrap_or(Flaw::Array),
            })
    }

    /// Where the entries of a damaged primary are. A table may have been moved away from sector 2,
    /// because something that the board's ROM starts stands there: so this is never guessed.
    fn primary_array(
        &self,
        disk: &mut dyn Storage,
        backup: &Image,
        flaw: Flaw,
    ) -> Result<u64, GptError> {
        let fields = backup.header.fields();
        let sectors = self.sector.sectors(fields.array_bytes());
        let cannot = || GptError::CannotRebuild {
            copy: Copy::Primary,
            flaw,
        };
        let fits = |array: u64| {
            let end = array.checked_add(sectors);
            array > PRIMARY && end.is_some_and(|end| end <= fields.first_usable)
        };
        let io = |source| GptError::Io {
            doing: "reading",
            source,
        };
        // The header may be whole, and only the entries torn.
        let own = read(disk, self.sector, PRIMARY, 1).map_err(io)?;
        if let Ok(header) = Header::parse(own) {
            let array = header.fields().array;
            return if fits(array) {
                Ok(array)
            } else {
                Err(cannot())
            };
        }
        // There may be only one place.
        if !fits(PRIMARY + 2) {
            return if fits(PRIMARY + 1) {
                Ok(PRIMARY + 1)
            } else {
                Err(cannot())
            };
        }
        // The entries may still be there.
        let end = fields.first_usable.min(SEARCH_END).min(self.last);
        let area = read(disk, self.sector, 0, end).map_err(io)?;
        let step = self.sector.bytes();
        let covered = backup.covered();
        let found = (PRIMARY + 1..end).zip(1..).find(|(array, number)| {
            let at = (number + 1) * step;
            fits(*array) && area.get(at..).is_some_and(|rest| rest.starts_with(covered))
        });
        found.map(|(array, _)| array).ok_or_else(cannot)
    }
}

/// Repairs what has to be repaired, lets `edit` change the table, and writes it: the backup first.
/// Equal content writes nothing.
///
/// # Errors
/// Before the first write nothing has changed. After it at least one copy is whole, and the table
/// is the old one or the new one.
pub fn change<E: From<GptError>>(
    disk: &mut dyn Storage,
    sector: SectorSize,
    edit: impl FnOnce(&mut Table) -> Result<(), E>,
) -> Result<Changed, E> {
    let gpt = Gpt::load(disk, sector)?;
    let mut wanted = gpt.table.clone();
    edit(&mut wanted)?;
    wanted.check().map_err(GptError::Unsound)?;
    let written = wanted != gpt.table;
    let (primary, backup) = gpt.whole(disk)?;
    // Safe to stop until here: nothing has been written.
    let repaired = gpt.stale().map(|(copy, _)| copy);
    match repaired {
        Some(Copy::Primary) => write(disk, sector, Copy::Primary, (None, &primary))?,
        Some(Copy::Backup) => write(disk, sector, Copy::Backup, (None, &backup))?,
        None => {}
    }
    // Safe to stop: both copies are whole, and have the old table.
    if written {
        let (old, new) = (&backup, backup.with(&wanted));
        write(disk, sector, Copy::Backup, (Some(old), &new))?;
        // Safe to stop: the backup is whole and new, the primary whole and old.
        let (old, new) = (&primary, primary.with(&wanted));
        write(disk, sector, Copy::Primary, (Some(old), &new))?;
    }
    Ok(Changed { repaired, written })
}
