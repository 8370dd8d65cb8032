//! What a boot loader sees on ext4 the moment a write returned: GRUB's own file system code
//! (`grub-fstest`) reads a copy of the disk, taken without unmounting.
//!
//! Needs root, for mounting a loop device, and grub-common and e2fsprogs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use grub_env::file::create;
use grub_env::placement::{Finding, Place, Sources, survey};
use grub_env::{Block, EnvFile, FileError, Placement, Written};

fn run(program: &str, args: &[&str]) -> Output {
    let out = Command::new(program).args(args).output();
    let out = out.unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {text}");
    out
}

/// An ext4 file system in a file, mounted through a loop device.
struct Ext4 {
    dir: tempfile::TempDir,
}

impl Ext4 {
    fn new(features: &[&str], mount_options: &str) -> Self {
        let this = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        File::create(this.image())
            .unwrap()
            .set_len(32 << 20)
            .unwrap();
        fs::create_dir(this.root()).unwrap();
        let image = this.image();
        let mut args = vec!["-q", "-t", "ext4"];
        args.extend_from_slice(features);
        args.push(image.to_str().unwrap());
        run("mke2fs", &args);
        this.mount(mount_options);
        this
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes the journal home, as a clean unmount does.
    fn settle(&self) {
        run("umount", &[self.root().to_str().unwrap()]);
        self.mount("rw");
    }

    fn mount(&self, options: &str) {
        let options = format!("loop,{options}");
        let (image, root) = (self.image(), self.root());
        let paths = [image.to_str().unwrap(), root.to_str().unwrap()];
        run("mount", &["-o", &options, paths[0], paths[1]]);
    }

    /// What GRUB reads if the power fails now.
    fn grub_reads(&self, name: &str) -> Vec<u8> {
        let copy = self.dir.path().join("copy");
        fs::copy(self.image(), &copy).unwrap();
        run(
            "grub-fstest",
            &[copy.to_str().unwrap(), "cat", &format!("/{name}")],
        )
        .stdout
    }

    fn findings(&self, name: &str) -> Vec<Finding> {
        let file = File::open(self.at(name)).unwrap();
        survey(&file, &Place::of(&file).unwrap(), Sources::default()).unwrap()
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let root = self.root();
        // The image goes away with the directory; the loop device frees itself.
        let done = Command::new("umount")
            .arg(&root)
            .stderr(Stdio::null())
            .status();
        assert!(
            done.is_ok_and(|s| s.success()) || std::thread::panicking(),
            "{root:?} stays"
        );
    }
}

fn block(value: &str) -> Block {
    let mut b = Block::new();
    b.set("slot", value).unwrap();
    b
}

fn slot(bytes: &[u8]) -> String {
    Block::parse(bytes)
        .unwrap()
        .get_text("slot")
        .unwrap()
        .to_owned()
}

fn place(path: &Path) -> Place {
    Place::of(&File::open(path).unwrap()).unwrap()
}

#[test]
fn grub_sees_our_write_at_once_and_not_that_of_grub_editenv() {
    let fs = Ext4::new(&[], "rw");
    let path = fs.at("env");
    create(&path, &block("old"), 1024).unwrap();
    fs.settle();
    assert_eq!(slot(&fs.grub_reads("env")), "old");

    let before = place(&path);
    let file = EnvFile::open(&path, Placement::Checked).unwrap();
    assert_eq!(file.write(&block("new")).unwrap(), Written::OneSector);
    drop(file);
    assert_eq!(
        slot(&fs.grub_reads("env")),
        "new",
        "visible without a replay of the journal"
    );
    assert_eq!(place(&path), before, "the block did not move");

    // The usual editor syncs too, and Linux sees its value; GRUB goes on seeing the old block.
    run(
        "grub-editenv",
        &[path.to_str().unwrap(), "set", "slot=newer"],
    );
    assert_eq!(slot(&fs::read(&path).unwrap()), "newer");
    assert_ne!(place(&path), before, "it moved the block");
    let seen = Block::parse(&fs.grub_reads("env")).unwrap();
    assert_ne!(seen.get_text("slot"), Some("newer"));
    fs.settle();
    assert_eq!(
        slot(&fs.grub_reads("env")),
        "newer",
        "after a clean unmount"
    );
}

#[test]
fn create_is_not_for_arming() {
    let fs = Ext4::new(&[], "rw");
    create(&fs.at("env"), &block("old"), 1024).unwrap();
    fs.settle();
    create(&fs.at("env"), &block("new"), 1024).unwrap();
    assert_eq!(
        slot(&fs.grub_reads("env")),
        "old",
        "rename is in the journal only"
    );
    fs.settle();
    assert_eq!(slot(&fs.grub_reads("env")), "new");
}

#[test]
fn a_file_that_moves_when_it_is_written_is_told() {
    let fs = Ext4::new(&[], "rw");
    let path = fs.at("env");
    create(&path, &block("old"), 1024).unwrap();
    let file = EnvFile::open(&path, Placement::Checked).unwrap();
    // Somebody else truncates and writes the same file meanwhile, without looking at the lock.
    run(
        "grub-editenv",
        &[path.to_str().unwrap(), "set", "slot=other"],
    );
    assert!(matches!(
        file.write(&block("new")),
        Err(FileError::Moved { .. })
    ));
}

#[test]
fn unfit_files_are_refused_with_the_reason() {
    let fs = Ext4::new(&[], "rw");
    let refused = |name: &str| match EnvFile::open(&fs.at(name), Placement::Checked) {
        Err(FileError::Unfit { findings, .. }) => findings,
        other => panic!("{name}: {other:?}"),
    };
    create(&fs.at("good"), &Block::new(), 1024).unwrap();
    EnvFile::open(&fs.at("good"), Placement::Checked).unwrap();

    File::create(fs.at("sparse"))
        .unwrap()
        .set_len(1024)
        .unwrap();
    assert_eq!(refused("sparse"), [Finding::Sparse]);

    run(
        "fallocate",
        &["-l", "1024", fs.at("reserved").to_str().unwrap()],
    );
    assert_eq!(refused("reserved"), [Finding::Unwritten]);

    // Two blocks with a third file's block between them.
    let mut one = File::create(fs.at("pieces")).unwrap();
    let mut other = File::create(fs.at("between")).unwrap();
    for _ in 0..8 {
        for file in [&mut one, &mut other] {
            file.write_all(&[b'#'; 4096]).unwrap();
            file.sync_all().unwrap();
        }
    }
    drop((one, other));
    assert!(matches!(refused("pieces").as_slice(), [Finding::Pieces(n)] if *n > 1));

    // Set in the image, since chattr needs capabilities that a container's root has not.
    for (name, flags) in [("journalled", "0x84000"), ("append", "0x80020")] {
        create(&fs.at(name), &Block::new(), 1024).unwrap();
        run("umount", &[fs.root().to_str().unwrap()]);
        let set = format!("set_inode_field /{name} flags {flags}");
        run("debugfs", &["-w", "-R", &set, fs.image().to_str().unwrap()]);
        fs.mount("rw");
    }
    assert_eq!(refused("journalled"), [Finding::DataJournal]);
    assert_eq!(fs.findings("append"), [Finding::Protected]);
}

#[test]
fn a_file_system_that_journals_data_is_refused() {
    let fs = Ext4::new(&[], "data=journal");
    create(&fs.at("env"), &block("old"), 1024).unwrap();
    match EnvFile::open(&fs.at("env"), Placement::Checked) {
        Err(FileError::Unfit { findings, .. }) => assert_eq!(findings, [Finding::DataJournal]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_in_the_inode_are_told() {
    let fs = Ext4::new(&["-O", "inline_data", "-I", "1024"], "rw");
    create(&fs.at("env"), &Block::new(), 512).unwrap();
    assert_eq!(fs.findings("env"), [Finding::Inline]);
    create(&fs.at("env"), &Block::new(), 4096).unwrap();
    assert_eq!(fs.findings("env"), []);
}

#[test]
fn the_doctor_and_set_agree() {
    let fs = Ext4::new(&[], "rw");
    let grub_env = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_grub-env"))
            .args(args)
            .current_dir(fs.root())
            .output()
            .unwrap()
    };
    assert!(
        grub_env(&["create", "env", "--size", "512"])
            .status
            .success()
    );
    assert!(
        grub_env(&["set", "env", "ORDER=A B", "A_OK=1", "A_TRY=0"])
            .status
            .success()
    );
    let out = grub_env(&["doctor", "env"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}");
    assert!(
        text.contains("GRUB boots A next") && text.ends_with("Nothing to do.\n"),
        "{text}"
    );

    std::os::unix::fs::symlink("env", fs.at("link")).unwrap();
    assert_eq!(grub_env(&["set", "link", "a=1"]).status.code(), Some(1));
    assert_eq!(grub_env(&["doctor", "link"]).status.code(), Some(1));
    assert!(
        grub_env(&["set", "link", "a=1", "--unchecked"])
            .status
            .success()
    );
    assert_eq!(
        grub_env(&["list", "env"]).stdout,
        b"ORDER=A B\nA_OK=1\nA_TRY=0\na=1\n"
    );
    assert_eq!(grub_env(&["set", "env", "x"]).status.code(), Some(2));
    let too_much = format!("x={}", "y".repeat(512));
    let out = grub_env(&["set", "env", &too_much]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1));
    assert!(text.contains("too small") && text.contains("have") || text.contains("has 512"));
    assert!(fs.findings("env").is_empty());
}
