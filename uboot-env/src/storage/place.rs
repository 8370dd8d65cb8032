//! Where exactly a copy lies on its device.

use super::flash::Range;
use super::media::Backend;
use super::mtd::{Geometry, MtdKind};
use super::open::{OpenError, unreachable};
use crate::config::CopyConfig;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A negative offset counts from the end.
pub(super) fn absolute_offset(copy: &CopyConfig, size: u64, real: &Path) -> Result<u64, OpenError> {
    if let Ok(offset) = u64::try_from(copy.offset) {
        return Ok(offset);
    }
    let file = fs::File::open(real).map_err(|e| unreachable(copy, e))?;
    let len = devio::block::device_len(&file).map_err(|e| unreachable(copy, e))?;
    let back = copy.offset.unsigned_abs();
    let misplaced = |what| OpenError::Misplaced {
        path: copy.path.clone(),
        line: copy.line,
        what,
    };
    if back < size {
        let what = format!("{back:#x} bytes from the end there is no room for {size:#x}");
        return Err(misplaced(what));
    }
    len.checked_sub(back).ok_or_else(|| {
        misplaced(format!(
            "offset -{back:#x} is before the start, the device has {len:#x} bytes"
        ))
    })
}

/// Two copies on one device must not share anything that is written as a whole.
pub(super) fn check_apart(first: &Backend, second: &Backend, size: u64) -> Result<(), OpenError> {
    let (a, b) = (extent(first, size), extent(second, size));
    let one = is_one(first.path(), second.path());
    if one && a.0 < b.1 && b.0 < a.1 {
        let flash = matches!(first, Backend::Flash { .. });
        let unit = if flash { "erase block" } else { "bytes" };
        return Err(OpenError::Shared {
            path: first.path().to_path_buf(),
            unit,
        });
    }
    Ok(())
}

/// Whether two paths lead to one file or device: also as hard links, or as two nodes of a device.
fn is_one(first: &Path, second: &Path) -> bool {
    let identity = |path| {
        let meta = fs::metadata(path).ok()?;
        Some(match meta.file_type().is_file() {
            true => (meta.dev(), meta.ino()),
            false => (0, meta.rdev()),
        })
    };
    first == second || identity(first).is_some_and(|id| identity(second) == Some(id))
}

fn extent(backend: &Backend, size: u64) -> (u64, u64) {
    match backend {
        Backend::File(c) | Backend::EmmcBoot { copy: c, .. } => {
            (c.offset(), c.offset().saturating_add(size))
        }
        Backend::Flash { copy, .. } => (copy.range().start, copy.range().end),
        Backend::Ubi(_) => (0, size),
        Backend::Absent(_) => (0, 0),
    }
}

/// The erase blocks that a copy owns.
///
/// Without a stated number of sectors a copy on NAND owns the rest of the device, up to the other
/// copy: the spare blocks in it stand in for bad ones. Elsewhere it owns what it needs.
pub(super) fn flash_range(
    copy: &CopyConfig,
    other: Option<&CopyConfig>,
    geometry: Geometry,
    size: u64,
) -> Result<Range, OpenError> {
    let block = geometry.erase_size.max(1);
    let misplaced = |what| OpenError::Misplaced {
        path: copy.path.clone(),
        line: copy.line,
        what,
    };
    let start = flash_start(copy, geometry).ok_or_else(|| {
        let size = geometry.size;
        misplaced(format!(
            "the offset is before the start, the device has {size:#x} bytes"
        ))
    })?;
    if !start.is_multiple_of(block) {
        return Err(misplaced(format!(
            "offset {start:#x} is not on a boundary of its erase blocks, {block:#x} bytes"
        )));
    }
    let sector = copy.sector_size.unwrap_or(block);
    if !sector.is_multiple_of(block) {
        return Err(misplaced(format!(
            "sector size {sector:#x} is not a multiple of the erase block size {block:#x}"
        )));
    }
    let len = match (copy.sectors, geometry.kind) {
        (Some(sectors), _) => sectors.checked_mul(sector),
        (None, MtdKind::Nand) if copy.sector_size.is_none() => {
            Some(rest_of_device(start, (copy, other), geometry))
        }
        (None, _) => size.checked_next_multiple_of(sector),
    };
    match len.and_then(|len| start.checked_add(len)) {
        Some(end) if end <= geometry.size && end - start >= size => Ok(Range { start, end }),
        _ => Err(misplaced(format!(
            "the range from {start:#x} does not fit, the device has {:#x} bytes",
            geometry.size
        ))),
    }
}

/// The first byte of a copy, `None` if it were before the start of the device.
fn flash_start(copy: &CopyConfig, geometry: Geometry) -> Option<u64> {
    let back = || geometry.size.checked_sub(copy.offset.unsigned_abs());
    u64::try_from(copy.offset).ok().or_else(back)
}

/// Bytes up to the other copy on the same device, or to the end.
fn rest_of_device(
    start: u64,
    (copy, other): (&CopyConfig, Option<&CopyConfig>),
    geometry: Geometry,
) -> u64 {
    let next = other
        .filter(|o| o.path == copy.path)
        .and_then(|o| u64::try_from(o.offset).ok());
    let end = next.filter(|&at| at > start).unwrap_or(geometry.size);
    end.saturating_sub(start) / geometry.erase_size.max(1) * geometry.erase_size.max(1)
}
