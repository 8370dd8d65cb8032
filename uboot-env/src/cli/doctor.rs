//! `uboot-env doctor`: facts first, then [`super::render`] shows them.

use super::Console;
use super::args::DoctorArgs;
use super::render;
use super::session::{Purpose, Session, chain};
use crate::codec::{Ending, Image, Layout};
use crate::env::Env;
use crate::limits::{MAX_SCAN_ENV_SIZE, SECTOR};
use crate::scan::{self, Hit, Scan, Window};
use crate::select::{CopyId, Pick, Reader, Standing};
use crate::snapshot::{Shape, Snapshot};
use crate::storage::EnvStorage;
use crate::txn::Outcome;
use anyhow::{Context, Result};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How far the neighbourhood of a bad copy is searched for a better offset and size.
const SEARCH_AROUND: u64 = 8 * 1024 * 1024;

/// Everything that is shown.
pub(super) struct Report {
    pub(super) shape: Shape,
    pub(super) copies: Vec<CopyReport>,
    pub(super) picks: Vec<(Reader, Pick)>,
    pub(super) standing: Standing,
    /// One sector, which is written as a whole.
    pub(super) one_sector: bool,
    /// U-Boot rejects what is stored.
    pub(super) rejected: bool,
    pub(super) warnings: Vec<String>,
    /// Environments found where no configured copy is valid.
    pub(super) found: Vec<(PathBuf, Hit)>,
    pub(super) repaired: Option<String>,
}

pub(super) struct CopyReport {
    pub(super) id: CopyId,
    pub(super) place: String,
    pub(super) state: std::result::Result<Valid, String>,
    /// What the bytes would be valid as.
    pub(super) hint: Option<String>,
}

pub(super) struct Valid {
    pub(super) crc: u32,
    pub(super) flags: Option<u8>,
    pub(super) variables: usize,
    pub(super) used: u64,
    pub(super) room: u64,
}

impl Report {
    pub(super) fn is_healthy(&self) -> bool {
        match self.standing {
            _ if self.rejected => false,
            Standing::Sound { .. } => true,
            Standing::OneCopy { .. } => self.shape.layout == Layout::Single,
            _ => false,
        }
    }
}

pub(super) fn doctor(args: &DoctorArgs, console: &mut Console<'_>) -> Result<u8> {
    if let Some(path) = &args.scan {
        return scan_only(path, args, console);
    }
    let purpose = if args.repair {
        Purpose::Write
    } else {
        Purpose::Read
    };
    let mut session = Session::open(&args.place, args.endian.into(), purpose, console)?;
    let repaired = if args.repair {
        Some(repair(&mut session)?)
    } else {
        None
    };
    let mut report = examine(session.load().snapshot());
    report.repaired = repaired;
    complete(&mut report, &mut session);
    render::report(&report, args.json, console)?;
    Ok(u8::from(!report.is_healthy()))
}

fn scan_only(path: &Path, args: &DoctorArgs, console: &mut Console<'_>) -> Result<u8> {
    let window = Window {
        from: args.from,
        len: args.length,
    };
    let found =
        scan_path(path, window).with_context(|| format!("cannot scan {}", path.display()))?;
    render::scan(path, window, &found, args.json, console)?;
    Ok(u8::from(found.hits.is_empty()))
}

/// Adds what the snapshot does not know: places, hints, and what is really there.
fn complete(report: &mut Report, session: &mut Session) {
    report
        .warnings
        .extend(session.config.hints.iter().map(ToString::to_string));
    for copy in &mut report.copies {
        copy.place = session.devices.describe(copy.id);
        if copy.state.is_err() {
            let bytes = session.devices.read(copy.id).ok();
            copy.hint = bytes.and_then(|b| what_else(&b, report.shape));
        }
    }
    let aligned = |(_, at): &(PathBuf, u64)| at.is_multiple_of(SECTOR);
    report.one_sector = report.shape.layout == Layout::Single
        && report.shape.size <= SECTOR
        && session.devices.places().iter().all(aligned);
    if report.standing == Standing::Nothing {
        report.found = search(session);
    }
}

fn repair(session: &mut Session) -> Result<String> {
    Ok(match session.load().repair()? {
        Outcome::Unchanged => "there was nothing to repair".to_owned(),
        Outcome::Written {
            not_repaired: Some(e),
            ..
        } => format!("not repaired: {}", chain(&e)),
        Outcome::Written { .. } => "repaired: written anew, read back and found right".to_owned(),
    })
}

fn examine(snapshot: &Snapshot) -> Report {
    let shape = snapshot.shape();
    let copies = shape
        .copies()
        .iter()
        .map(|&id| copy_report(snapshot, id))
        .collect();
    let (first, second) = (
        snapshot.state(CopyId::First),
        snapshot.state(CopyId::Second),
    );
    let picks = match shape.layout {
        Layout::Single => Vec::new(),
        Layout::Redundant => {
            let readers = Reader::all(shape.scheme).iter();
            readers
                .map(|&r| (r, r.pick(shape.scheme, first, second)))
                .collect()
        }
    };
    let warnings = content_warnings(snapshot);
    let standing = snapshot.standing();
    Report {
        shape,
        copies,
        picks,
        standing,
        one_sector: false,
        rejected: snapshot.env().is_some_and(Env::is_rejected),
        warnings,
        found: Vec::new(),
        repaired: None,
    }
}

fn content_warnings(snapshot: &Snapshot) -> Vec<String> {
    let Some(image) = snapshot.image() else {
        return Vec::new();
    };
    let found = image.env.warnings(snapshot.shape().size);
    let mut warnings: Vec<String> = found.iter().map(ToString::to_string).collect();
    if image.ending == Ending::Unterminated {
        warnings.push("the closing NUL is missing: U-Boot's fw_printenv refuses this copy".into());
    }
    warnings
}

fn copy_report(snapshot: &Snapshot, id: CopyId) -> CopyReport {
    let Shape { layout, size, .. } = snapshot.shape();
    let state = match snapshot.copy(id) {
        Some(Ok(image)) => Ok(Valid {
            crc: image.crc,
            flags: image.flags,
            variables: image.env.iter().count(),
            used: image.env.stored_len(),
            room: layout.capacity(size),
        }),
        Some(Err(problem)) => Err(chain(problem)),
        None => Err("does not exist".to_owned()),
    };
    CopyReport {
        id,
        place: String::new(),
        state,
        hint: None,
    }
}

/// What the bytes of an invalid copy would be valid as: another layout, byte order or size.
fn what_else(bytes: &[u8], shape: Shape) -> Option<String> {
    for layout in [Layout::Single, Layout::Redundant] {
        for endian in [shape.endian, shape.endian.swapped()] {
            if Image::parse(bytes, layout, endian).is_ok() {
                let layout = render::layout(layout);
                return Some(format!(
                    "these bytes are a valid {layout}, {} environment",
                    render::endian(endian)
                ));
            }
        }
    }
    let source = |at: u64, buf: &mut [u8]| {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let rest = bytes.get(start..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(n)
    };
    let window = Window {
        from: 0,
        len: bytes.len() as u64,
    };
    let found = scan::scan(source, window).ok()?;
    let first = found.hits.first();
    first.map(|h| format!("at {:#x} of it there is {}", h.offset, render::hit(h)))
}

/// Looks around the configured places for what is really there.
fn search(session: &Session) -> Vec<(PathBuf, Hit)> {
    let mut out: Vec<(PathBuf, Hit)> = Vec::new();
    for (node, offset) in session.devices.places() {
        let len = SEARCH_AROUND + MAX_SCAN_ENV_SIZE as u64;
        let near = offset.saturating_sub(SEARCH_AROUND / 2);
        for from in [0, near] {
            // A diagnosis goes on when one of its searches cannot be made.
            let found = scan_path(&node, Window { from, len }).map(|found| found.hits);
            for hit in found.unwrap_or_default() {
                let pair = (node.clone(), hit);
                if !out.contains(&pair) {
                    out.push(pair);
                }
            }
        }
    }
    out
}

fn scan_path(path: &Path, window: Window) -> io::Result<Scan> {
    let file = devio::block::open_for_reading(path)?;
    scan::scan(|at, buf| file.read_at(buf, at), window)
}
