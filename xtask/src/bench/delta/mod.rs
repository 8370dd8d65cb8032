//! Updates in pieces: bytes to fetch, time, memory and bytes written, beside casync, RAUC's blocks,
//! bita and xdelta3, on pairs of images made of Debian packages.

mod bytes;
mod images;
mod peers;
mod speed;
mod trees;

use std::path::Path;

use anyhow::Result;

use super::Bench;
use bytes::{Counter, Fetched, table};
pub use images::Format;
pub use trees::Change;

use images::Images;
use speed::Contests;
use trees::Trees;

/// Which pairs of images are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    /// What the images are.
    pub formats: Vec<Format>,
    /// What changes; the contests take the security update if it is among them.
    pub changes: Vec<Change>,
    /// The peer that Debian does not have.
    pub bita: Bita,
}

/// Whether bita takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bita {
    /// It is built if need be, once: that takes minutes.
    Built,
    /// It is left out.
    LeftOut,
}

impl Default for Pairs {
    fn default() -> Self {
        Self {
            formats: Format::ALL.to_vec(),
            changes: Change::ALL.to_vec(),
            bita: Bita::Built,
        }
    }
}

impl Pairs {
    fn raced(&self) -> Change {
        let first = self.changes.first().copied();
        let raced = Some(Change::Security).filter(|change| self.changes.contains(change));
        raced.or(first).unwrap_or(Change::Security)
    }
}

/// Measures every change in every format, one format after another: their images are large.
///
/// # Errors
/// A package cannot be had, or a program fails.
pub fn measure(bench: &Bench<'_>, place: &Path) -> Result<()> {
    let bita = match bench.pairs.bita {
        Bita::Built => peers::bita(bench)?,
        Bita::LeftOut => None,
    };
    let place = place.join("delta");
    let trees = Trees::make(bench, &place)?;
    for &format in &bench.pairs.formats {
        let images = make(bench, &trees, format, &place)?;
        let counter = Counter {
            bench,
            images: &images,
            bita: bita.as_deref(),
        };
        println!("\n{}", table(&count(&counter, format)?));
        let contests = Contests {
            bench,
            images: &images,
            format,
            change: bench.pairs.raced(),
        };
        if format == Format::SquashfsOurs {
            contests.image(&trees.old())?;
        }
        contests.index()?;
        contests.apply()?;
        fs_err::remove_dir_all(&images.folder)?;
    }
    Ok(())
}

fn make(bench: &Bench<'_>, trees: &Trees, format: Format, place: &Path) -> Result<Images> {
    let folder = place.join("images");
    fs_err::create_dir_all(&folder)?;
    let images = Images { folder };
    let what = format!("making the images: {}", format.name());
    bench.progress.step(&what, || {
        format.make(bench, &trees.old(), &images.image("old"))?;
        for &change in &bench.pairs.changes {
            format.make(bench, &trees.after(change), &images.image(change.word()))?;
        }
        Ok(())
    })?;
    Ok(images)
}

fn count(counter: &Counter<'_>, format: Format) -> Result<Vec<(Change, Format, Fetched)>> {
    let progress = counter.bench.progress;
    let what = format!("indices and chunks: {}", format.name());
    progress.step(&what, || {
        counter.publish("old")?;
        let changes = &counter.bench.pairs.changes;
        changes
            .iter()
            .try_for_each(|change| counter.publish(change.word()))
    })?;
    let mut rows = Vec::new();
    for &change in &counter.bench.pairs.changes {
        let what = format!("counting: {}, {}", change.name(), format.name());
        let fetched = progress.step(&what, || counter.count(change))?;
        rows.push((change, format, fetched));
    }
    Ok(rows)
}
