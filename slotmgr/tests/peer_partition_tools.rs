//! What `sgdisk` and `sfdisk` write we read, what we write they read, and find nothing wrong with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use slotmgr::partition::gpt::{self, Copy, Gpt, GptError};
use slotmgr::partition::live::{LiveError, with_disk};
use slotmgr::partition::priority::{Priority, Scheme};
use slotmgr::partition::{Guid, SectorSize, mbr};
use slotmgr::storage::device::FileStorage;

const MIB: u64 = 1 << 20;
const S512: SectorSize = SectorSize::S512;

struct Disk {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn empty() -> Disk {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    File::create(&path).unwrap().set_len(16 * MIB).unwrap();
    Disk { _dir: dir, path }
}

fn sgdisk(path: &Path, arguments: &[&str]) -> String {
    let output = Command::new("sgdisk")
        .args(arguments)
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn sfdisk(path: &Path, script: &str) {
    let mut child = Command::new("sfdisk")
        .args(["--no-reread", "--no-tell-kernel", "--quiet"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

fn assert_sound(path: &Path) {
    let verdict = sgdisk(path, &["-v"]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let output = Command::new("sfdisk")
        .arg("--verify")
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

enum Failed {
    Live(LiveError),
    Gpt(GptError),
}

impl std::fmt::Debug for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Live(error) => write!(f, "{error}"),
            Failed::Gpt(error) => write!(f, "{error}"),
        }
    }
}

impl From<LiveError> for Failed {
    fn from(error: LiveError) -> Self {
        Failed::Live(error)
    }
}

impl From<GptError> for Failed {
    fn from(error: GptError) -> Self {
        Failed::Gpt(error)
    }
}

fn change(
    path: &Path,
    edit: impl FnOnce(&mut slotmgr::partition::table::Table),
) -> Result<gpt::Changed, Failed> {
    with_disk(path, |disk, sector| {
        gpt::change(disk, sector, |table| {
            edit(table);
            Ok(())
        })
    })
}

fn four_partitions(disk: &Disk, more: &[&str]) {
    let mut arguments = more.to_vec();
    arguments.extend([
        "-n",
        "1:2048:+1M",
        "-c",
        "1:boot",
        "-n",
        "3:6144:+2M",
        "-c",
        "3:root A",
        "-t",
        "3:fe3a2a5d-4f32-41a7-b725-accc3285a309",
        "-n",
        "5:12288:+2M",
        "-c",
        "5:Zürich",
        "-A",
        "5:set:60",
        "-n",
        "128:20480:+1M",
    ]);
    sgdisk(&disk.path, &arguments);
}

#[test]
fn what_sgdisk_wrote_is_read_in_full() {
    let disk = empty();
    four_partitions(&disk, &[]);
    let mut storage = FileStorage::new(File::open(&disk.path).unwrap()).unwrap();
    let gpt = Gpt::load(&mut storage, S512).unwrap();
    assert_eq!(gpt.stale(), None);
    let names: Vec<_> = gpt
        .table()
        .entries()
        .map(|e| (e.number, e.name, e.first, e.last))
        .collect();
    assert_eq!(
        names,
        [
            (1, "boot".to_owned(), 2048, 4095),
            (3, "root A".to_owned(), 6144, 10239),
            (5, "Zürich".to_owned(), 12288, 16383),
            (128, String::new(), 20480, 22527),
        ]
    );
    let table = gpt.table();
    assert_eq!(table.entry(5).unwrap().attributes, 1 << 60);
    assert_eq!(table.named("root A").unwrap().kind, Scheme::ChromeOs.kind());
    assert!(
        sgdisk(&disk.path, &["-p"])
            .to_lowercase()
            .contains(&table.disk().to_string())
    );
    // The crate `gpt` only reads here.
    let peer = ::gpt::GptConfig::new()
        .writable(false)
        .open(&disk.path)
        .unwrap();
    assert_eq!(peer.partitions().len(), 4);
}

#[test]
fn sgdisk_finds_nothing_wrong_and_the_same_bytes_when_it_changes_the_same() {
    for more in [&[][..], &["-j", "64"][..]] {
        let (ours, theirs) = (empty(), empty());
        four_partitions(&ours, more);
        std::fs::copy(&ours.path, &theirs.path).unwrap();
        let before = std::fs::read(&ours.path).unwrap();
        change(&ours.path, |_| {}).unwrap();
        assert!(
            std::fs::read(&ours.path).unwrap() == before,
            "nothing asked, nothing written"
        );
        let bits = Priority {
            priority: 2,
            tries: 3,
            successful: false,
        };
        change(&ours.path, |table| {
            let old = table.entry(128).unwrap().attributes;
            table.set_attributes(128, bits.put_into(old)).unwrap();
        })
        .unwrap();
        sgdisk(
            &theirs.path,
            &["-A", "128:set:49", "-A", "128:set:52", "-A", "128:set:53"],
        );
        assert_sound(&ours.path);
        assert!(
            std::fs::read(&ours.path).unwrap() == std::fs::read(&theirs.path).unwrap(),
            "{more:?}: byte for byte what sgdisk makes of it"
        );
        let kind = "0fc63daf-8483-4772-8e79-3d69d8477de4";
        change(&ours.path, |table| {
            table.set_kind(3, Guid::parse(kind).unwrap()).unwrap();
            table.set_place(1, (4096, 6143)).unwrap();
        })
        .unwrap();
        assert_sound(&ours.path);
        let info = sgdisk(&ours.path, &["-i", "1"]);
        assert!(
            info.contains("First sector: 4096") && info.contains("Last sector: 6143"),
            "{info}"
        );
        assert!(
            sgdisk(&ours.path, &["-i", "3"])
                .to_lowercase()
                .contains(kind)
        );
    }
}

#[test]
fn what_sfdisk_wrote_is_changed_and_still_verified() {
    let disk = empty();
    sfdisk(
        &disk.path,
        "label: gpt\nstart=2048, size=2048\nstart=8192, size=2048, name=\"b\"\n",
    );
    change(&disk.path, |table| {
        table.set_place(2, (10240, 12287)).unwrap();
    })
    .unwrap();
    assert_sound(&disk.path);
    let output = Command::new("sfdisk")
        .arg("--dump")
        .arg(&disk.path)
        .output()
        .unwrap();
    let dump = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        dump.contains("start=       10240, size=        2048"),
        "{dump}"
    );
}

#[test]
fn a_damaged_copy_is_repaired_to_what_sgdisk_had() {
    for (copy, at) in [
        (Copy::Primary, 512),
        (Copy::Primary, 1024),
        (Copy::Backup, 16 * MIB - 512),
        (Copy::Backup, 16 * MIB - 33 * 512),
    ] {
        let disk = empty();
        four_partitions(&disk, &[]);
        let good = std::fs::read(&disk.path).unwrap();
        let mut bad = good.clone();
        let at = usize::try_from(at).unwrap();
        bad[at..at + 40].fill(0x5a);
        fs_err::write(&disk.path, &bad).unwrap();
        assert_eq!(change(&disk.path, |_| {}).unwrap().repaired, Some(copy));
        assert_sound(&disk.path);
        assert!(std::fs::read(&disk.path).unwrap() == good);
    }
}

#[test]
fn a_hybrid_mbr_and_a_disk_that_grew_are_refused() {
    let disk = empty();
    four_partitions(&disk, &[]);
    File::options()
        .write(true)
        .open(&disk.path)
        .unwrap()
        .set_len(17 * MIB)
        .unwrap();
    let refused = change(&disk.path, |_| {});
    assert!(matches!(
        refused,
        Err(Failed::Gpt(GptError::BackupNotAtEnd { .. }))
    ));
    sgdisk(&disk.path, &["-e"]);
    change(&disk.path, |_| {}).unwrap();
    sgdisk(&disk.path, &["-h", "1"]);
    let before = std::fs::read(&disk.path).unwrap();
    let refused = change(&disk.path, |table| table.set_attributes(1, 1).unwrap());
    assert!(matches!(
        refused,
        Err(Failed::Gpt(GptError::Unprotected { .. }))
    ));
    assert!(std::fs::read(&disk.path).unwrap() == before);
}

#[test]
fn a_disk_that_somebody_else_has_locked_is_waited_for() {
    let disk = empty();
    four_partitions(&disk, &[]);
    let other = File::open(&disk.path).unwrap();
    other.lock().unwrap();
    let path = disk.path.clone();
    let change = std::thread::spawn(move || change(&path, |_| {}).is_ok());
    drop(other);
    assert!(change.join().unwrap());
}

#[test]
fn sfdisk_reads_the_mbr_that_we_switched() {
    let disk = empty();
    sfdisk(
        &disk.path,
        "label: dos\nstart=2048, size=4096, type=c, bootable\nstart=16384, size=4096\n",
    );
    let switch = |first| {
        with_disk(&disk.path, |storage, sector| -> Result<(), Failed> {
            mbr::set_place(storage, sector, 1, (first, 4096)).unwrap();
            Ok(())
        })
        .unwrap();
    };
    let before = std::fs::read(&disk.path).unwrap();
    switch(8192);
    let output = Command::new("sfdisk")
        .arg("--dump")
        .arg(&disk.path)
        .output()
        .unwrap();
    let dump = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        dump.contains("start=        8192, size=        4096, type=c, bootable"),
        "{dump}"
    );
    assert!(
        dump.contains("start=       16384, size=        4096"),
        "{dump}"
    );
    switch(2048);
    assert!(
        std::fs::read(&disk.path).unwrap() == before,
        "there and back, byte for byte"
    );
}
