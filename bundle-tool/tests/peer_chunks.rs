//! `index`, `chop`, `assemble`, `verify-index` and `stats`, beside Debian's casync.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use casync::index::Index;
use support::{Workshop, noise, write};

struct Bench {
    shop: Workshop,
}

impl Bench {
    /// Two images of which the second has something inserted, changed, moved and repeated.
    fn new() -> Self {
        let shop = Workshop::new();
        let old = noise(3_000_000);
        let mut new = old.clone();
        new.splice(700_000..700_000, b"inserted".iter().copied());
        new[1_500_000..1_500_100].fill(7);
        new.extend_from_slice(&old[..400_000]);
        write(&shop.path("old.img"), &old);
        write(&shop.path("new.img"), &new);
        Self { shop }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shop.path(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs_err::read(self.path(name)).unwrap()
    }

    fn start(&self, program: &Path, line: &str) -> Output {
        Command::new(program)
            .args(line.split_whitespace())
            .current_dir(self.shop.dir.path())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
    }

    fn ok(&self, program: &str, line: &str) -> String {
        let output = self.start(Path::new(program), line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn ours(&self, line: &str) -> String {
        self.ok(env!("CARGO_BIN_EXE_bundle-tool"), line)
    }

    fn fails(&self, line: &str) -> String {
        let output = self.start(Path::new(env!("CARGO_BIN_EXE_bundle-tool")), line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn files(&self, store: &str) -> BTreeSet<PathBuf> {
        let root = self.path(store);
        let mut found = BTreeSet::new();
        for directory in fs_err::read_dir(&root).unwrap() {
            for file in fs_err::read_dir(directory.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                found.insert(path.strip_prefix(&root).unwrap().to_owned());
            }
        }
        found
    }
}

#[test]
fn an_index_is_casyncs_to_the_byte_and_so_are_the_names_in_the_store() {
    let bench = Bench::new();
    let cases = [
        ("64K", "65536", "sha512-256"),
        ("16K", "16384", "sha256"),
        ("8K:16K:64K", "8192:16384:65536", "sha512-256"),
        ("1M", "1048576", "sha256"),
    ];
    for (ours, theirs, digest) in cases {
        bench.ok(
            "casync",
            &format!(
                "make --chunk-size={theirs} --digest={digest} --store=c.castr c.caibx new.img"
            ),
        );
        for threads in [1, 2] {
            bench.ours(&format!(
                "index --force --threads {threads} --chunk-size {ours} --digest {digest} --store o.castr new.img o.caibx"
            ));
            assert_eq!(
                bench.read("o.caibx"),
                bench.read("c.caibx"),
                "{ours} {digest}"
            );
            assert_eq!(
                bench.files("o.castr"),
                bench.files("c.castr"),
                "{ours} {digest}"
            );
        }
    }
}

#[test]
fn each_reads_what_the_other_stored() {
    let bench = Bench::new();
    for compression in ["zstd", "zstd:19", "xz", "gzip"] {
        let store = format!("o-{}.castr", compression.replace(':', "-"));
        bench.ours(&format!(
            "index --force --compression {compression} --store {store} new.img o.caibx"
        ));
        // An output that is there would be a seed for casync.
        let _ = fs_err::remove_file(bench.path("theirs.img"));
        bench.ok(
            "casync",
            &format!("extract --store={store} o.caibx theirs.img"),
        );
        assert_eq!(
            bench.read("theirs.img"),
            bench.read("new.img"),
            "{compression}"
        );
    }
    bench.ok("casync", "make --store=c.castr c.caibx new.img");
    let said = bench.ours("assemble --store c.castr c.caibx ours.img");
    assert!(
        said.contains("Every chunk is the one that the index names"),
        "{said}"
    );
    assert_eq!(bench.read("ours.img"), bench.read("new.img"));
    assert!(
        bench
            .fails("assemble --store c.castr c.caibx ours.img")
            .contains("--force")
    );
    bench.ours("assemble --force --store c.castr c.caibx ours.img");
}

#[test]
fn a_store_is_made_of_an_image_and_casyncs_index() {
    let bench = Bench::new();
    bench.ok("casync", "make --store=c.castr c.caibx new.img");
    bench.ours("chop --store o.castr c.caibx new.img");
    assert_eq!(bench.files("o.castr"), bench.files("c.castr"));
    let error = bench.fails("chop --store p.castr c.caibx old.img");
    assert!(error.contains("the image has 3000000 bytes"), "{error}");
}

#[test]
fn an_image_that_differs_is_told_by_its_first_wrong_chunk() {
    let bench = Bench::new();
    bench.ours("index new.img o.caibx");
    let said = bench.ours("verify-index o.caibx new.img");
    assert!(said.starts_with("Good: all "), "{said}");
    let mut other = bench.read("new.img");
    other[2_000_000] ^= 1;
    write(&bench.path("other.img"), &other);
    let error = bench.fails("verify-index o.caibx other.img");
    assert!(error.contains("1 of "), "{error}");
    assert!(
        error.contains("differ from the index, the first at byte 1"),
        "{error}"
    );
    // What is right goes into the store all the same.
    let error = bench.fails("chop --store o.castr o.caibx other.img");
    assert!(error.contains("1 of "), "{error}");
    bench.ours("chop --store o.castr o.caibx new.img");
    bench.ours("assemble --store o.castr o.caibx again.img");
    assert_eq!(bench.read("again.img"), bench.read("new.img"));
}

#[test]
fn seeds_and_old_content_save_fetching() {
    let bench = Bench::new();
    bench.ours("index old.img old.caibx");
    bench.ours("index --store n.castr new.img new.caibx");
    let stats: serde_json::Value = serde_json::from_str(
        &bench.ours("stats --json --from old.caibx --store n.castr new.caibx"),
    )
    .unwrap();
    let fetch = stats["update"]["fetch"].as_u64().unwrap();
    assert!(fetch > 0 && fetch < 1_500_000, "{stats}");
    assert_eq!(stats["store"]["missing_chunks"], 0);
    assert!(
        stats["store"]["fetch_bytes"].as_u64().unwrap() > 0,
        "{stats}"
    );
    let said = bench.ours("stats --from old.caibx --store n.castr new.caibx");
    assert!(said.contains("Over the air: "), "{said}");

    let said = bench.ours("assemble --store n.castr --seed old.img new.caibx a.img");
    assert!(said.contains("Copied:"), "{said}");
    assert_eq!(bench.read("a.img"), bench.read("new.img"));

    // In place over the old image, which is all the seed there is, and over garbage of any length.
    for (name, content) in [
        ("b.img", bench.read("old.img")),
        ("c.img", noise(5_000_000)),
        ("d.img", Vec::new()),
    ] {
        write(&bench.path(name), &content);
        bench.ours(&format!(
            "assemble --in-place --store n.castr new.caibx {name}"
        ));
        assert_eq!(bench.read(name), bench.read("new.img"), "{name}");
    }
}

#[test]
fn a_run_that_failed_goes_on_where_it_was() {
    let bench = Bench::new();
    bench.ours("index --store n.castr new.img new.caibx");
    let index = Index::read_from(&bench.read("new.caibx")[..]).unwrap();
    let id = index.get(index.len() / 2).unwrap().id.to_string();
    let lost = bench.path(&format!("n.castr/{}/{id}.cacnk", &id[..4]));
    let content = fs_err::read(&lost).unwrap();
    fs_err::remove_file(&lost).unwrap();
    write(&bench.path("t.img"), b"");
    let error = bench.fails("assemble --in-place --store n.castr new.caibx t.img");
    assert!(
        error.contains(&id) && error.contains("n.castr: the chunk is not in the store"),
        "{error}"
    );
    assert!(
        bench
            .fails("assemble --store n.castr new.caibx u.img")
            .contains(&id)
    );
    assert!(
        !bench.path("u.img").exists(),
        "nothing half done has the final name"
    );
    write(&lost, &content);
    let said = bench.ours("assemble --in-place --store n.castr new.caibx t.img");
    assert!(!said.contains("In place:      0 B"), "{said}");
    assert_eq!(bench.read("t.img"), bench.read("new.img"));
}

#[test]
fn an_image_inside_a_bundle() {
    let bench = Bench::new();
    bench.ours(
        "create --cert pki/signer.cert.pem --key pki/signer.key.pem --compatible board \
         --image rootfs=rootfs.ext4 --image boot=boot.vfat b.raucb",
    );
    bench.ok("casync", "make --store=c.castr c.caibx rootfs.ext4");
    let bundle = "--keyring pki/keyring.pem --image rootfs b.raucb";
    bench.ours(&format!("index --store o.castr {bundle} o.caibx"));
    assert_eq!(bench.read("o.caibx"), bench.read("c.caibx"));
    assert_eq!(bench.files("o.castr"), bench.files("c.castr"));
    bench.ours(&format!("verify-index c.caibx {bundle}"));
    bench.ours(&format!("chop --store p.castr c.caibx {bundle}"));
    assert_eq!(bench.files("p.castr"), bench.files("c.castr"));
    let error = bench.fails("index --keyring pki/keyring.pem b.raucb x.caibx");
    assert!(error.contains("rootfs.ext4, boot.vfat"), "{error}");
    assert!(!bench.path("x.caibx").exists());
}

#[test]
fn bad_indices_and_sizes_are_refused() {
    let bench = Bench::new();
    bench.ours("index new.img o.caibx");
    let good = bench.read("o.caibx");
    write(&bench.path("short.caibx"), &good[..good.len() - 1]);
    let error = bench.fails("stats short.caibx");
    assert!(
        error.contains("short.caibx is not a good index") && error.contains("cut short"),
        "{error}"
    );
    let error = bench.fails("assemble --store x new.img y.img");
    assert!(error.contains("not a casync index"), "{error}");
    for size in [
        "0",
        "8M:4M:1M",
        "16K:64K",
        "300M",
        "x",
        "18446744073709551615M",
    ] {
        let line = format!("index --chunk-size {size} new.img x.caibx");
        let output = bench.start(Path::new(env!("CARGO_BIN_EXE_bundle-tool")), &line);
        assert_eq!(output.status.code(), Some(2), "{size}");
    }
}

#[test]
fn a_pack_gives_what_its_store_has() {
    let bench = Bench::new();
    bench.ours("index --store n.castr new.img new.caibx");
    bench.ours("pack --store n.castr new.caibx new.pack");
    bench.ours("assemble --pack new.pack new.caibx a.img");
    bench.ours("assemble --pack new.pack --seed old.img new.caibx b.img");
    assert_eq!(bench.read("a.img"), bench.read("new.img"));
    assert_eq!(bench.read("b.img"), bench.read("new.img"));
    bench.ours("index old.img old.caibx");
    let shown = bench.ours("stats --json --from old.caibx --pack new.pack new.caibx");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let len = fs_err::metadata(bench.path("new.pack")).unwrap().len();
    let fetched = shown["pack"]["fetch_bytes"].as_u64().unwrap();
    assert!(0 < fetched && fetched < len, "{fetched} of {len}");
    assert!(shown["pack"]["requests"].as_u64().unwrap() > 0);
    let error = bench.fails("assemble --pack new.pack old.caibx c.img");
    assert!(
        error.contains("new.pack is the pack of another image"),
        "{error}"
    );
    let error = bench.fails("pack --store n.castr old.caibx old.pack");
    assert!(error.contains("the chunk is not in the store"), "{error}");
    assert!(!bench.path("old.pack").exists());
}

#[test]
fn a_delta_makes_the_new_image_of_the_old_one() {
    let bench = Bench::new();
    bench.ours("delta create --from old.img --to new.img d.delta");
    bench.ours("delta apply --from old.img d.delta a.img");
    assert_eq!(bench.read("a.img"), bench.read("new.img"));
    let error = bench.fails("delta apply --from new.img d.delta b.img");
    assert!(
        error.contains("the delta is for a base whose index"),
        "{error}"
    );
    let table = bench.ours("delta stats --from old.img --to new.img");
    assert!(table.contains("casync, chunks of 64 KiB"), "{table}");
    let json = bench.ours("delta stats --json --from old.img --to new.img");
    let shown: serde_json::Value = serde_json::from_str(&json).unwrap();
    let ways = shown["ways"].as_array().unwrap();
    let last = ways.last().unwrap();
    assert_eq!(last["name"], "delta", "{shown}");
    let delta = fs_err::metadata(bench.path("d.delta")).unwrap().len();
    assert_eq!(last["bytes"], delta);

    // Spoilt, it needs the store; named by a directory, it tells its indices.
    let mut bytes = bench.read("d.delta");
    let len = bytes.len();
    bytes[len - 20] ^= 0xff;
    write(&bench.path("bad.delta"), &bytes);
    let error = bench.fails("delta apply --from old.img bad.delta c.img");
    assert!(error.contains("piece"), "{error}");
    bench.ours("index --store n.castr new.img new.caibx");
    bench.ours("delta apply --from old.img --store n.castr bad.delta c.img");
    assert_eq!(bench.read("c.img"), bench.read("new.img"));
    fs_err::create_dir(bench.path("deltas")).unwrap();
    bench.ours("delta create --from old.img --to new.img deltas");
    let name = fs_err::read_dir(bench.path("deltas"))
        .unwrap()
        .next()
        .unwrap();
    let name = name.unwrap().file_name().into_string().unwrap();
    assert_eq!(name.len(), 64 + 1 + 64 + ".delta".len(), "{name}");
}

#[test]
fn an_input_is_neither_waited_for_nor_lost() {
    let bench = Bench::new();
    let refused = |line: &str, reason: &str| {
        let said = bench.fails(line);
        assert!(said.contains(reason), "{line}: {said}");
    };
    let pipe = bench.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    refused("index pipe x.caibx", "neither a file nor a block device");
    let old = bench.read("old.img");
    fs_err::os::unix::fs::symlink("old.img", bench.path("link")).unwrap();
    for output in ["old.img", "link"] {
        refused(
            &format!("index --force old.img {output}"),
            "an input as well",
        );
        refused(
            &format!("delta create --force --from old.img --to new.img {output}"),
            "an input as well",
        );
    }
    assert!(bench.read("old.img") == old);
}
