//! Bytes that an update fetches, by everybody's way.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::{Bench, word};
use super::images::{Format, Images};
use super::trees::Change;
use crate::command::{captured, logged};

/// Chunk sizes of casync, its own first.
const SIZES: [u64; 2] = [64 * 1024, 16 * 1024];

/// What one update fetches, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// casync, with chunks of 64 and of 16 KiB: chunks and index.
    pub casync: [u64; 2],
    /// RAUC's adaptive mode: blocks as if compressed, and their index.
    pub rauc: u64,
    /// bita's chunks without what describes them, if it is there.
    pub bita: Option<u64>,
    /// xdelta3, which needs the whole old image in memory.
    pub xdelta: u64,
    /// Our chunks one by one, with the index.
    pub chunks: u64,
    /// The same out of a pack.
    pub pack: u64,
    /// Our delta, with all that describes it.
    pub delta: u64,
}

/// Counts for images of one format.
pub struct Counter<'a> {
    /// Where programs and logs are.
    pub bench: &'a Bench<'a>,
    /// What is counted.
    pub images: &'a Images,
    /// The program, if it is there.
    pub bita: Option<&'a Path>,
}

impl Counter<'_> {
    /// Has casync and us make indices and chunks of the image `name`.
    ///
    /// # Errors
    /// A program fails.
    pub fn publish(&self, name: &str) -> Result<()> {
        let image = self.images.image(name);
        for size in SIZES {
            let mut casync = Command::new("casync");
            casync.arg("make").arg(format!("--chunk-size={size}"));
            casync.arg("--store").arg(self.at(&format!("{size}.castr")));
            casync.arg(self.at(&format!("{name}.{size}.caibx")));
            logged(casync.arg(&image), &self.bench.log())?;
        }
        let mut index = Command::new(self.bench.program("bundle-tool"));
        index.arg("index").arg("--store").arg(self.at("ours.castr"));
        index.arg(&image).arg(self.at(&format!("{name}.caibx")));
        logged(&mut index, &self.bench.log())
    }

    /// What the update fetches. Its images were published before.
    ///
    /// # Errors
    /// A program fails.
    pub fn count(&self, change: Change) -> Result<Fetched> {
        let name = change.word();
        let casync = |size: u64| {
            let [old, new] = ["old", name].map(|name| self.at(&format!("{name}.{size}.caibx")));
            self.chunks(&old, &new, &self.at(&format!("{size}.castr")))
        };
        let [old, new] = ["old", name].map(|name| self.at(&format!("{name}.caibx")));
        // Only bytes count here, and xdelta3 knows no threads: these three run side by side.
        let (ways, bita, xdelta) = std::thread::scope(|scope| {
            let ways = scope.spawn(|| self.ways(name));
            let bita = |program| self.bita(program, name);
            let bita = scope.spawn(move || self.bita.map(bita).transpose());
            let xdelta = self.xdelta(name);
            (ended(ways.join()), ended(bita.join()), xdelta)
        });
        let ways = ways?;
        Ok(Fetched {
            casync: [casync(SIZES[0])?, casync(SIZES[1])?],
            rauc: way(&ways, "RAUC")?,
            bita: bita?,
            xdelta: xdelta?,
            chunks: self.chunks(&old, &new, &self.at("ours.castr"))?,
            pack: self.pack(name)?,
            delta: way(&ways, "delta")?,
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.images.folder.join(name)
    }

    /// The index, and the chunks as they are stored.
    fn chunks(&self, old: &Path, new: &Path, store: &Path) -> Result<u64> {
        let mut stats = self.stats(old, new)?;
        let found = json(stats.arg("--store").arg(store))?;
        Ok(number(&found, "/store/fetch_bytes")? + fs_err::metadata(new)?.len())
    }

    fn pack(&self, name: &str) -> Result<u64> {
        let [old, new] = ["old", name].map(|name| self.at(&format!("{name}.caibx")));
        let pack = self.at(&format!("{name}.pack"));
        let mut make = Command::new(self.bench.program("bundle-tool"));
        make.arg("pack").arg("--store").arg(self.at("ours.castr"));
        logged(make.arg(&new).arg(&pack), &self.bench.log())?;
        let mut stats = self.stats(&old, &new)?;
        number(&json(stats.arg("--pack").arg(&pack))?, "/pack/fetch_bytes")
    }

    fn stats(&self, old: &Path, new: &Path) -> Result<Command> {
        let mut stats = Command::new(self.bench.program("bundle-tool"));
        stats.args(["stats", "--json", "--from", word(old)?]);
        stats.arg(new);
        Ok(stats)
    }

    /// What `delta stats` finds.
    fn ways(&self, name: &str) -> Result<Value> {
        let mut stats = Command::new(self.bench.program("bundle-tool"));
        stats.args(["delta", "stats", "--json", "--from"]);
        stats.arg(self.images.image("old")).arg("--to");
        json(stats.arg(self.images.image(name)))
    }

    fn xdelta(&self, name: &str) -> Result<u64> {
        let out = self.at("xdelta");
        let mut encode = Command::new("xdelta3");
        encode.args(["-e", "-f", "-9", "-S", "lzma", "-B", "1073741824", "-s"]);
        encode.arg(self.images.image("old"));
        encode.arg(self.images.image(name)).arg(&out);
        logged(&mut encode, &self.bench.log())?;
        let len = fs_err::metadata(&out)?.len();
        fs_err::remove_file(&out)?;
        Ok(len)
    }

    /// What bita fetches of its archive, by its own account.
    fn bita(&self, program: &Path, name: &str) -> Result<u64> {
        let (archive, out) = (self.at("bita.cba"), self.at("bita.out"));
        let mut compress = Command::new(program);
        compress.args(["compress", "--force-create", "-i"]);
        compress.arg(self.images.image(name)).arg(&archive);
        logged(&mut compress, &self.bench.log())?;
        let mut clone = Command::new(program);
        clone.args(["clone", "--force-create", "--seed"]);
        clone.arg(self.images.image("old"));
        let said = captured(clone.arg(&archive).arg(&out))?;
        fs_err::remove_file(&archive)?;
        fs_err::remove_file(&out)?;
        bita_fetched(&said)
    }
}

/// What a thread gave.
fn ended<T>(joined: std::thread::Result<Result<T>>) -> Result<T> {
    joined.unwrap_or_else(|_| bail!("a part of the count panicked"))
}

/// Reads `Fetched 9.8 KiB (10000 bytes) from archive …`; below 1 KiB the first part is not there.
fn bita_fetched(said: &str) -> Result<u64> {
    let fetched = said.lines().find_map(|line| {
        let (before, _) = line
            .split_once(" bytes) from archive")
            .or(line.split_once(" bytes from archive"))?;
        before.rsplit([' ', '(']).next()
    });
    let fetched = fetched.with_context(|| format!("bita tells no bytes: {said}"))?;
    Ok(fetched.parse()?)
}

fn json(command: &mut Command) -> Result<Value> {
    Ok(serde_json::from_str(&captured(command)?)?)
}

fn number(found: &Value, place: &str) -> Result<u64> {
    let number = found.pointer(place).and_then(Value::as_u64);
    number.with_context(|| format!("there is no number at {place} in {found}"))
}

/// The bytes of the way whose name begins so.
fn way(found: &Value, name: &str) -> Result<u64> {
    let ways = found["ways"].as_array().map_or(&[][..], Vec::as_slice);
    let is = |way: &&Value| way["name"].as_str().is_some_and(|n| n.starts_with(name));
    let way = ways.iter().find(is);
    number(
        way.with_context(|| format!("no {name} in {found}"))?,
        "/bytes",
    )
}

/// The table: one line for each pair of images, the first column what the others are compared with.
pub fn table(rows: &[(Change, Format, Fetched)]) -> String {
    let mut text = format!(
        "bytes to fetch, in MB (and as a part of casync's with its own chunks of 64 KiB)\n  {:<42}",
        ""
    );
    let names = [
        "casync 64K",
        "casync 16K",
        "RAUC 4K",
        "bita",
        "xdelta3",
        "chunks",
        "pack",
        "delta",
    ];
    for name in names {
        let _ = write!(text, " {name:>14}");
    }
    text.push('\n');
    for (change, format, fetched) in rows {
        let name = format!("{}, {}", change.name(), format.name());
        let _ = write!(text, "  {name:<42}");
        let [base, fine] = fetched.casync;
        let all = [
            Some(base),
            Some(fine),
            Some(fetched.rauc),
            fetched.bita,
            Some(fetched.xdelta),
            Some(fetched.chunks),
            Some(fetched.pack),
            Some(fetched.delta),
        ];
        for bytes in all {
            let shown = bytes.map_or("-".to_owned(), |bytes| shown(bytes, base));
            let _ = write!(text, " {shown:>14}");
        }
        text.push('\n');
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "figures for people to read")]
fn shown(bytes: u64, base: u64) -> String {
    format!(
        "{:.3} ({:.2})",
        bytes as f64 / 1e6,
        bytes as f64 / base as f64
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_compares_with_casync() {
        let fetched = Fetched {
            casync: [10_000_000, 8_000_000],
            rauc: 90_000_000,
            bita: None,
            xdelta: 2_500_000,
            chunks: 10_000_000,
            pack: 10_100_000,
            delta: 1_900_000,
        };
        let text = table(&[(Change::Security, Format::Ext4, fetched)]);
        let row = text.lines().nth(2).unwrap();
        assert!(row.starts_with("  security update, ext4 "), "{row}");
        let words: Vec<&str> = row.split_whitespace().skip(3).collect();
        assert_eq!(words[..4], ["10.000", "(1.00)", "8.000", "(0.80)"]);
        assert_eq!(words[6], "-");
        assert_eq!(words[words.len() - 2..], ["1.900", "(0.19)"]);
    }

    #[test]
    fn what_the_tools_print_is_read() {
        let found: Value =
            serde_json::from_str(r#"{"ways":[{"name":"RAUC, blocks","bytes":7}],"pack":null}"#)
                .unwrap();
        assert_eq!(way(&found, "RAUC").unwrap(), 7);
        let said =
            |size| format!("Scanning\nFetched {size} from archive and decompressed to 1 bytes.\n");
        assert_eq!(bita_fetched(&said("9.8 KiB (10000 bytes)")).unwrap(), 10000);
        assert_eq!(bita_fetched(&said("100 bytes")).unwrap(), 100);
        assert!(bita_fetched("Fetched nothing").is_err());
        assert!(way(&found, "delta").is_err());
        assert!(number(&found, "/pack/fetch_bytes").is_err());
    }
}
