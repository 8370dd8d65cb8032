//! Deltas as text and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use casync::delta::Totals;
use serde::Serialize;

use super::json::SCHEMA;
use super::{Text, count, size};
use crate::delta::{AppliedDelta, Comparison, CreatedDelta};

pub(in crate::cli) fn delta_created(created: &CreatedDelta) -> String {
    let mut text = Text::default();
    text.line("Delta", created.path.display());
    let percent = percent(created.len, created.image);
    let line = format!(
        "{} ({} bytes), {percent} of the image",
        size(created.len),
        created.len
    );
    text.line("Size", line);
    text.pieces(&created.totals);
    text.0
}

pub(in crate::cli) fn delta_applied(path: &Path, applied: &AppliedDelta) -> String {
    let mut text = Text::default();
    text.line("Image", path.display());
    text.line("Size", size(applied.len));
    text.line("From the base", size(applied.from.copied));
    text.line("Made anew", size(applied.from.fetched));
    text.line("Index", applied.index);
    if applied.other_encoder {
        text.line("Note", "the delta was made with another version of zstd");
    }
    text.0
        .push_str("Every chunk is the one that the delta's index names.\n");
    text.0
}

pub(in crate::cli) fn delta_stats(comparison: &Comparison) -> String {
    let mut text = Text::default();
    let _ = writeln!(
        text.0,
        "{:42} {:>14} {:>9} {:>9}",
        "Way to update", "bytes", "of image", "requests"
    );
    for way in &comparison.ways {
        let percent = percent(way.bytes, comparison.image);
        let _ = writeln!(
            text.0,
            "{:42} {:>14} {percent:>9} {:>9}",
            way.name, way.bytes, way.requests
        );
    }
    text.pieces(&comparison.totals);
    text.0
}

impl Text {
    fn pieces(&mut self, totals: &Totals) {
        let chunks = count(totals.missing_chunks, "chunk");
        self.line(
            "New content",
            format!("{} in {chunks}", size(totals.missing_bytes)),
        );
        for (label, (number, bytes)) in [
            ("As it is", totals.raw),
            ("Against base", totals.packed),
            ("Blocks again", totals.frames),
        ] {
            if number > 0 {
                self.line(
                    label,
                    format!("{} for {}", size(bytes), count(number, "piece")),
                );
            }
        }
        if totals.foreign_frames > 0 {
            let line = format!(
                "{} of another zstd, made again and mended",
                count(totals.foreign_frames, "compressed block")
            );
            self.line("Note", line);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.2} %", part as f64 * 100.0 / whole as f64)
}

pub(in crate::cli) fn delta_stats_json(comparison: &Comparison) -> Result<String> {
    let totals = &comparison.totals;
    let shown = StatsJson {
        schema: SCHEMA,
        image_size: comparison.image,
        ways: comparison
            .ways
            .iter()
            .map(|way| WayJson {
                name: way.name,
                bytes: way.bytes,
                requests: way.requests,
            })
            .collect(),
        missing_chunks: totals.missing_chunks,
        missing_bytes: totals.missing_bytes,
        raw_pieces: totals.raw.0,
        packed_pieces: totals.packed.0,
        frame_pieces: totals.frames.0,
        foreign_frames: totals.foreign_frames,
    };
    let mut text = serde_json::to_string_pretty(&shown)?;
    text.push('\n');
    Ok(text)
}

#[derive(Serialize)]
struct StatsJson {
    schema: u32,
    image_size: u64,
    ways: Vec<WayJson>,
    missing_chunks: usize,
    missing_bytes: u64,
    raw_pieces: usize,
    packed_pieces: usize,
    frame_pieces: usize,
    foreign_frames: usize,
}

#[derive(Serialize)]
struct WayJson {
    name: &'static str,
    bytes: u64,
    requests: usize,
}
