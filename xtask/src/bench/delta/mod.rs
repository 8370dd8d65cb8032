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
use images::{Format, Images};
use speed::Contests;
use trees::{Change, Trees};

/// Measures every change in every format, one format after another: their images are large.
///
/// # Errors
/// A package cannot be had, or a program fails.
pub fn measure(bench: &Bench<'_>, place: &Path) -> Result<()> {
    let bita = peers::bita(bench)?;
    let place = place.join("delta");
    let trees = Trees::make(bench, &place)?;
    for format in Format::ALL {
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
        };
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
        let log = bench.log();
        format.make(&trees.old(), &images.image("old"), &log)?;
        for change in Change::ALL {
            format.make(&trees.after(change), &images.image(change.word()), &log)?;
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
        Change::ALL
            .iter()
            .try_for_each(|change| counter.publish(change.word()))
    })?;
    let mut rows = Vec::new();
    for change in Change::ALL {
        let what = format!("counting: {}, {}", change.name(), format.name());
        let fetched = progress.step(&what, || counter.count(change))?;
        rows.push((change, format, fetched));
    }
    Ok(rows)
}
