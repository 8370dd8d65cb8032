//! Making an index, and putting an image together, beside casync.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::super::race::Contestant;
use super::super::{Bench, word};
use super::images::{Format, Images};
use super::trees::Change;

/// Bytes that are compared at once: a page, which is what is written at least.
const PAGE: usize = 4096;

/// Contests on the images of one format. The indices and stores are there already.
pub struct Contests<'a> {
    /// Where programs and logs are.
    pub bench: &'a Bench<'a>,
    /// What is worked on.
    pub images: &'a Images,
    /// Of which kind.
    pub format: Format,
    /// The update that is applied.
    pub change: Change,
}

impl Contests<'_> {
    /// mksquashfs and we make the image of `tree`.
    ///
    /// # Errors
    /// A program fails.
    pub fn image(&self, tree: &Path) -> Result<()> {
        let out = self.at("race.sqfs");
        let (tree, out_word) = (word(tree)?, word(&out)?);
        let theirs = |level| {
            let ends = ["-quiet", "-no-progress", "-noappend", "-all-root"];
            let zstd = ["-comp", "zstd", "-Xcompression-level", level];
            let words = [&[tree, out_word][..], &ends, &zstd].concat();
            Contestant::new(&format!("mksquashfs, level {level}"), "mksquashfs", &words)
        };
        let ours = |level| {
            let words = ["image", "--level", level, tree, out_word, "--", "-all-root"];
            self.tool(&format!("bundle-tool image, level {level}"), &words)
        };
        let contestants = [theirs("15"), ours("15"), theirs("9"), ours("9")];
        let contestants = contestants.map(|one| one.makes(&out));
        self.bench
            .race("make a squashfs of the old tree", &contestants)
    }

    /// Each makes the old image's index with a new store, and we the index alone.
    ///
    /// # Errors
    /// A program fails.
    pub fn index(&self) -> Result<()> {
        let image = self.images.image("old");
        let len = fs_err::metadata(&image)?.len();
        let (index, store) = (self.at("race.caibx"), self.at("race.castr"));
        let (index_word, store_word) = (word(&index)?, word(&store)?);
        let casync = ["make", "--store", store_word, index_word, word(&image)?];
        let with_store = ["--store", store_word];
        let unsynced = ["--no-sync", "--store", store_word];
        let ours = |threads: &'static str, what: &str, store: &[&str]| -> Result<Contestant> {
            let words = [
                &["index", "--threads", threads][..],
                store,
                &[word(&image)?, index_word],
            ];
            let name = format!("bundle-tool index, {threads} threads{what}");
            Ok(self.tool(&name, &words.concat()))
        };
        // Ours waits until the store is on the disk, unless it is told not to; casync never does.
        let words = casync.join(" ");
        let synced = format!("casync {words} && sync --file-system {store_word}");
        let contestants = [
            Contestant::new("casync make", "casync", &casync),
            Contestant::new("casync make, then sync", "sh", &["-c", &synced]),
            ours("1", "", &with_store)?,
            ours("2", "", &with_store)?,
            ours("1", ", no sync", &unsynced)?,
            ours("2", ", no sync", &unsynced)?,
            ours("1", ", no store", &[])?,
            ours("2", ", no store", &[])?,
        ];
        let contestants = contestants.map(|one| one.makes(&index).makes(&store).handles(len));
        let title = format!("make index and chunks of {}", self.title(len));
        self.bench.race(&title, &contestants)
    }

    /// Each makes the image of the update, with the old one at hand.
    ///
    /// # Errors
    /// A program fails.
    pub fn apply(&self) -> Result<()> {
        let name = self.change.word();
        let [old, new] = ["old", name].map(|name| self.images.image(name));
        let (out, delta) = (self.at("race.img"), self.at("race.delta"));
        let [store, theirs] = [self.at("ours.castr"), self.at("65536.castr")];
        let (index, pack) = (
            self.at(&format!("{name}.caibx")),
            self.at(&format!("{name}.pack")),
        );
        let [old_word, out_word, index] = [word(&old)?, word(&out)?, word(&index)?];
        let casync_index = self.at(&format!("{name}.65536.caibx"));
        let casync = [
            "extract",
            "--store",
            word(&theirs)?,
            "--seed",
            old_word,
            word(&casync_index)?,
            out_word,
        ];
        let assemble = |threads| -> Result<Vec<&str>> {
            let store = word(&store)?;
            Ok(vec![
                "assemble",
                "--threads",
                threads,
                "--store",
                store,
                "--seed",
                old_word,
            ])
        };
        let ends = [index, out_word];
        let new_file =
            |threads| -> Result<Vec<&str>> { Ok([&assemble(threads)?[..], &ends].concat()) };
        let in_place = [&assemble("2")?[..], &["--in-place"], &ends].concat();
        let packed = [
            &["assemble", "--pack", word(&pack)?, "--seed", old_word][..],
            &ends,
        ];
        let decoded = [
            "delta",
            "apply",
            "--from",
            old_word,
            word(&delta)?,
            out_word,
        ];
        let make_delta = ["delta", "create", "--force", "--from", old_word, "--to"];
        let make_delta = [&make_delta[..], &[word(&new)?, word(&delta)?]].concat();
        self.bench.tool(&make_delta)?;
        let title = format!(
            "apply the update ({}) to {}, of which {:.1} MB are in pages that change",
            self.change.name(),
            self.title(fs_err::metadata(&new)?.len()),
            megabytes(changed(&old, &new)?),
        );
        let contestants = [
            Contestant::new("casync extract --seed", "casync", &casync).makes(&out),
            self.tool("bundle-tool assemble, 1 threads", &new_file("1")?)
                .makes(&out),
            self.tool("bundle-tool assemble, 2 threads", &new_file("2")?)
                .makes(&out),
            self.tool("the same out of a pack", &packed.concat())
                .makes(&out),
            self.tool("bundle-tool delta apply", &decoded).makes(&out),
            self.tool("bundle-tool assemble --in-place", &in_place)
                .begins_as(&old, &out),
        ];
        self.bench.race(&title, &contestants)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.images.folder.join(name)
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Contestant {
        Contestant::new(name, self.bench.program("bundle-tool"), arguments)
    }

    fn title(&self, len: u64) -> String {
        format!("{}, {:.1} MB", self.format.name(), megabytes(len))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people to read")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Bytes of `new` in pages that `old` has not in the same place.
fn changed(old: &Path, new: &Path) -> Result<u64> {
    use std::io::Read as _;
    let mut old = fs_err::File::open(old)?;
    let mut new = fs_err::File::open(new)?;
    let (mut before, mut after, mut changed) = (Vec::new(), Vec::new(), 0);
    loop {
        before.clear();
        after.clear();
        old.by_ref().take(PAGE as u64).read_to_end(&mut before)?;
        let len = new.by_ref().take(PAGE as u64).read_to_end(&mut after)?;
        if len == 0 {
            return Ok(changed);
        }
        if before != after {
            changed += len as u64;
        }
    }
}
