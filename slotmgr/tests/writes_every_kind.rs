//! One bundle with an image of every kind, installed by the real program onto real block devices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::loops::{Loop, run};
use support::rig::{stderr, stdout};
use support::{FACTORY, bundle_with, environment};

const MIB: u64 = 1 << 20;

/// Two systems; each class of slots is a pair of loop devices.
struct Board {
    dir: tempfile::TempDir,
    slots: Vec<(&'static str, [Loop; 2])>,
}

impl Board {
    /// `classes`: name, type and further keys of the slots that belong to `rootfs`.
    fn new(root: &str, classes: &[(&'static str, &str)]) -> Board {
        let dir = tempfile::tempdir().unwrap();
        let mut conf = format!(
            "[system]\ncompatible=board\nbootloader=grub\ngrubenv=grubenv\ndata-directory=data\n\
             mountprefix={}\n[keyring]\npath=keyring.pem\n",
            dir.path().join("mnt").display()
        );
        let mut slots = Vec::new();
        for (class, keys) in std::iter::once(&("rootfs", root)).chain(classes) {
            let pair = [0, 1]
                .map(|index| Loop::new(dir.path(), &format!("{class}.{index}.disk"), 24 * MIB));
            for (index, device) in pair.iter().enumerate() {
                let place = match *class {
                    "rootfs" => format!("bootname={}", ["A", "B"][index]),
                    _ => format!("parent=rootfs.{index}"),
                };
                conf += &format!(
                    "[slot.{class}.{index}]\ndevice={}\n{place}\n{keys}\n",
                    device.text()
                );
            }
            slots.push((*class, pair));
        }
        fs_err::write(dir.path().join("system.conf"), conf).unwrap();
        fs_err::write(dir.path().join("grubenv"), environment(FACTORY)).unwrap();
        Board { dir, slots }
    }

    fn target(&self, class: &str) -> &Loop {
        &self
            .slots
            .iter()
            .find(|(name, _)| *name == class)
            .unwrap()
            .1[1]
    }

    fn install(&self, manifest: &str, files: &[(&str, &[u8])]) -> Output {
        let (bundle, keyring) = bundle_with(self.dir.path(), manifest, files);
        fs_err::copy(keyring, self.dir.path().join("keyring.pem")).unwrap();
        self.run(&["install", bundle.to_str().unwrap()])
    }

    /// Names the store of chunks.
    fn store(&self, place: &Path) {
        let path = self.dir.path().join("system.conf");
        let conf = fs_err::read_to_string(&path).unwrap();
        let place = place.display();
        fs_err::write(path, format!("{conf}[casync]\nstorepath={place}\n")).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotmgr"));
        command
            .arg("--conf")
            .arg(self.dir.path().join("system.conf"))
            .args(["--override-boot-slot", "A"])
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn head(version: &str) -> String {
    format!("[update]\ncompatible=board\nversion={version}\n[bundle]\nformat=verity\n")
}

/// A directory with a few files, as a file system or archive is made of.
fn tree(dir: &Path) -> PathBuf {
    let tree = dir.join("tree");
    fs_err::create_dir_all(tree.join("etc/deep")).unwrap();
    fs_err::write(tree.join("etc/hello"), b"hello\n").unwrap();
    fs_err::write(tree.join("etc/deep/big"), vec![7; 300_000]).unwrap();
    tree
}

fn tar(tree: &Path, compression: &str) -> Vec<u8> {
    let output = Command::new("tar")
        .args([
            "--create",
            "--numeric-owner",
            "--owner=12",
            "--group=34",
            compression,
            "-C",
        ])
        .arg(tree)
        .arg(".")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    output.stdout
}

fn image_of(dir: &Path, program: &[&str]) -> Vec<u8> {
    let path = dir.join(format!("made-by-{}.img", program[0]));
    let words: Vec<&str> = program
        .iter()
        .map(|word| {
            if *word == "@" {
                path.to_str().unwrap()
            } else {
                word
            }
        })
        .collect();
    run(words[0], &words[1..]);
    fs_err::read(path).unwrap()
}

fn holds_tree(at: &Path) {
    assert_eq!(fs_err::read(at.join("etc/hello")).unwrap(), b"hello\n");
    assert_eq!(
        fs_err::read(at.join("etc/deep/big")).unwrap(),
        vec![7; 300_000]
    );
}

#[test]
fn archives_and_file_systems() {
    use std::os::unix::fs::MetadataExt as _;
    let work = tempfile::tempdir().unwrap();
    let tree = tree(work.path());
    let root = image_of(
        work.path(),
        &["mkfs.ext4", "-q", "-d", tree.to_str().unwrap(), "@", "4M"],
    );
    let packed = [
        ("gz", "--gzip"),
        ("xz", "--xz"),
        ("zst", "--zstd"),
        ("bz2", "--bzip2"),
    ]
    .map(|(suffix, option)| (suffix, tar(&tree, option)));
    let fat = image_of(work.path(), &["mkfs.vfat", "-C", "@", "2048"]);
    let board = Board::new(
        "type=ext4\nresize=true",
        &[
            ("gz", "type=ext4\nextra-mkfs-opts=-m 0"),
            ("xz", "type=ext4"),
            ("zst", "type=ext4\nextra-mount-opts=noatime,data=ordered"),
            ("bz2", "type=ext4"),
            ("boot", "type=vfat"),
            ("data", "type=ext4"),
        ],
    );
    let mut manifest =
        head("2") + "[image.rootfs]\nfilename=root.ext4\n[image.boot]\nfilename=boot.vfat\n";
    manifest += "[image.data]\ntype=emptyfs\n";
    let names: Vec<String> = packed
        .iter()
        .map(|(suffix, _)| format!("app.tar.{suffix}"))
        .collect();
    for ((suffix, _), name) in packed.iter().zip(&names) {
        manifest += &format!("[image.{suffix}]\nfilename={name}\n");
    }
    let mut files: Vec<(&str, &[u8])> = vec![("root.ext4", &root), ("boot.vfat", &fat)];
    files.extend(
        names
            .iter()
            .zip(&packed)
            .map(|(name, (_, bytes))| (name.as_str(), bytes.as_slice())),
    );
    let output = board.install(&manifest, &files);
    assert!(output.status.success(), "{}", stderr(&output));

    for (suffix, _) in &packed {
        board.target(suffix).mounted(|at| {
            holds_tree(at);
            let metadata = fs_err::metadata(at.join("etc/hello")).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (12, 34), "{suffix}");
        });
    }
    let mut start = vec![0; fat.len()];
    std::io::Read::read_exact(
        &mut fs_err::File::open(&board.target("boot").node).unwrap(),
        &mut start,
    )
    .unwrap();
    assert_eq!(start, fat);
    board
        .target("data")
        .mounted(|at| assert!(at.join("lost+found").exists()));
    // Grown from 4 MiB to the size of the slot, and sound.
    run("e2fsck", &["-fn", board.target("rootfs").text()]);
    let blocks = board.target("rootfs").mounted(|at| {
        holds_tree(at);
        run(
            "stat",
            &["--file-system", "--format=%b*%S", at.to_str().unwrap()],
        )
    });
    let (count, size) = blocks.split_once('*').unwrap();
    assert!(
        count.parse::<u64>().unwrap() * size.parse::<u64>().unwrap() > 16 * MIB,
        "{blocks}"
    );
    assert!(
        !board.dir.path().join("mnt/boot.1").exists(),
        "nothing stays mounted"
    );
    let status = fs_err::read_to_string(board.dir.path().join("data/central.raucs")).unwrap();
    assert_eq!(status.matches("status=ok").count(), 7, "{status}");

    // It is not the image any more, and nobody changed it.
    let mut proved = board.command(&["mark", "good", "rootfs.1"]);
    assert!(proved.status().unwrap().success());
    let back = board.run(&["rollback"]);
    assert!(back.status.success(), "{}", stderr(&back));
}

#[test]
fn a_squashfs_and_only_what_changed_is_written() {
    let work = tempfile::tempdir().unwrap();
    let tree = tree(work.path());
    let root = image_of(
        work.path(),
        &[
            "mksquashfs",
            tree.to_str().unwrap(),
            "@",
            "-quiet",
            "-no-progress",
        ],
    );
    let board = Board::new("type=raw", &[]);
    let manifest = head("2") + "[image.rootfs]\nfilename=root.squashfs\n";
    let output = board.install(&manifest, &[("root.squashfs", &root)]);
    assert!(output.status.success(), "{}", stderr(&output));
    board.target("rootfs").mounted(holds_tree);
    let device = board.target("rootfs").node.file_name().unwrap().to_owned();
    let written = || -> u64 {
        let stat = fs_err::read_to_string(Path::new("/sys/class/block").join(&device).join("stat"))
            .unwrap();
        stat.split_whitespace().nth(6).unwrap().parse().unwrap()
    };
    let before = written();
    let again = board.install(
        &manifest.replace("version=2", "version=3"),
        &[("root.squashfs", &root)],
    );
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(written(), before, "equal blocks are not written again");
}

#[test]
fn a_mounted_slot_is_refused_and_so_is_one_that_is_too_small() {
    let board = Board::new("type=ext4", &[("app", "type=ext4")]);
    let manifest = head("2") + "[image.rootfs]\nfilename=a.img\n[image.app]\nfilename=b.tar\n";
    let tree = tree(board.dir.path());
    let archive = tar(&tree, "--no-same-owner");
    let env = || fs_err::read(board.dir.path().join("grubenv")).unwrap();
    let before = env();
    run("mkfs.ext4", &["-q", board.target("app").text()]);
    board.target("app").mounted(|_| {
        let output = board.install(&manifest, &[("a.img", &[1; 4096]), ("b.tar", &archive)]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("is in use"), "{}", stderr(&output));
    });
    let large = vec![1; usize::try_from(25 * MIB).unwrap()];
    let output = board.install(&manifest, &[("a.img", &large), ("b.tar", &archive)]);
    assert!(
        stderr(&output).contains("too small by"),
        "{}",
        stderr(&output)
    );
    assert_eq!(env(), before, "nothing was condemned");
    let output = board.install(&manifest, &[("a.img", &[1; 4096]), ("b.tar", &archive)]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn an_evil_or_too_large_archive_ends_it_and_the_next_installation_works() {
    let board = Board::new("type=ext4", &[]);
    let manifest = head("2") + "[image.rootfs]\nfilename=a.tar\n";
    let work = tempfile::tempdir().unwrap();
    let evil = work.path().join("evil.tar");
    fs_err::write(work.path().join("x"), b"evil").unwrap();
    run(
        "tar",
        &[
            "-cf",
            evil.to_str().unwrap(),
            "-C",
            work.path().to_str().unwrap(),
            "--transform=s,x,../../x,",
            "-P",
            "x",
        ],
    );
    let evil = fs_err::read(evil).unwrap();
    let output = board.install(&manifest, &[("a.tar", &evil)]);
    assert!(
        stderr(&output).contains("leads out of the slot"),
        "{}",
        stderr(&output)
    );
    let fat = work.path().join("fat");
    fs_err::create_dir(&fat).unwrap();
    fs_err::write(fat.join("big"), vec![3; usize::try_from(30 * MIB).unwrap()]).unwrap();
    let output = board.install(&manifest, &[("a.tar", &tar(&fat, "--gzip"))]);
    assert!(
        stderr(&output).contains("No space left"),
        "{}",
        stderr(&output)
    );
    let status = stdout(&board.run(&["status"]));
    assert!(status.contains("next start rootfs.0 (A)"), "{status}");
    let output = board.install(&manifest, &[("a.tar", &tar(&tree(work.path()), "--gzip"))]);
    assert!(output.status.success(), "{}", stderr(&output));
    board.target("rootfs").mounted(holds_tree);
}

/// A tree with everything that casync's archives have, besides what every tree here has.
fn full_tree(dir: &Path) -> PathBuf {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    let tree = tree(dir);
    symlink("hello", tree.join("etc/link")).unwrap();
    symlink("/nowhere", tree.join("etc/deep/out")).unwrap();
    fs_err::create_dir(tree.join("empty")).unwrap();
    fs_err::write(tree.join("program"), b"#!/bin/sh\n").unwrap();
    chown(tree.join("program"), Some(12_345), Some(34)).unwrap();
    let mode = std::fs::Permissions::from_mode(0o4755);
    fs_err::set_permissions(tree.join("program"), mode).unwrap();
    let path = |name| tree.join(name).display().to_string();
    run("mknod", &[&path("null"), "c", "1", "3"]);
    run("mkfifo", &[&path("etc/pipe")]);
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let hello = std::fs::File::open(tree.join("etc/hello")).unwrap();
    hello.set_modified(old).unwrap();
    tree
}

/// Kind, permissions, owner, size and time of everything, in order.
fn listed(at: &Path) -> String {
    let format = "%P %y %m %U %G %Ts %l %s\n".replace("%Ts", "%T@");
    let found = run(
        "find",
        &[
            at.to_str().unwrap(),
            "-mindepth",
            "1",
            "-name",
            "lost+found",
            "-prune",
            "-o",
            "-printf",
            &format,
        ],
    );
    // What a file system takes for directories differs, and casync keeps no fractions of seconds.
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        if words[1] == "d" {
            words.pop();
        }
        words[5] = words[5].split('.').next().unwrap();
        words.join(" ")
    };
    let mut lines: Vec<String> = found.lines().map(line).collect();
    lines.sort();
    lines.join("\n")
}

/// casync's archive of `tree`, or with a store its index.
fn casync(dir: &Path, tree: &Path, name: &str, with: &str) -> Vec<u8> {
    let path = dir.join(name);
    let store = format!("--store={}", dir.join("store.castr").display());
    let place = path.to_str().unwrap();
    run(
        "casync",
        &["make", with, &store, place, tree.to_str().unwrap()],
    );
    fs_err::read(path).unwrap()
}

/// What a manifest tells of an index: what it was made of, as `rauc convert` leaves it.
const SOURCE: &str =
    "size=5\nsha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";

#[test]
fn archives_of_casyncs() {
    let work = tempfile::tempdir().unwrap();
    let dir = work.path();
    let tree = full_tree(dir);
    let whole = casync(dir, &tree, "root.catar", "--with=unix");
    let index = casync(dir, &tree, "app.caidx", "--with=unix");
    let board = Board::new("type=ext4", &[("app", "type=ext4")]);
    board.store(&dir.join("store.castr"));
    let manifest = format!(
        "{}[image.rootfs]\nfilename=root.catar\n[image.app]\nfilename=app.tar.caidx\n{SOURCE}",
        head("2")
    );
    let files: [(&str, &[u8]); 2] = [("root.catar", &whole), ("app.tar.caidx", &index)];
    let output = board.install(&manifest, &files);
    assert!(output.status.success(), "{}", stderr(&output));
    let expected = listed(&tree);
    for class in ["rootfs", "app"] {
        board.target(class).mounted(|at| {
            holds_tree(at);
            assert_eq!(listed(at), expected, "{class}");
        });
    }
}

#[test]
fn bad_archives_of_casyncs_are_told_and_the_next_installation_works() {
    let work = tempfile::tempdir().unwrap();
    let dir = work.path();
    let tree = full_tree(dir);
    let whole = casync(dir, &tree, "root.catar", "--with=unix");
    let index = casync(dir, &tree, "root.caidx", "--with=unix");
    let more = casync(dir, &tree, "more.catar", "--with=best");
    let board = Board::new("type=ext4", &[]);
    let mut damaged = whole.clone();
    let at = damaged
        .windows(9)
        .position(|word| word == b"deep\0\0\0\0\0")
        .unwrap_or(0);
    damaged[at] ^= 1;
    damaged.truncate(whole.len() - 1);
    for (name, image, expected) in [
        ("root.catar", &damaged, "archive"),
        ("root.catar", &more, "--with=unix"),
        ("root.caidx", &index, "no store has chunk"),
    ] {
        let source = if name.ends_with("caidx") { SOURCE } else { "" };
        let manifest = format!("{}[image.rootfs]\nfilename={name}\n{source}", head("2"));
        let output = board.install(&manifest, &[(name, image)]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("stays unusable"), "{message}");
    }
    board.store(&dir.join("store.castr"));
    let manifest = format!("{}[image.rootfs]\nfilename=root.caidx\n{SOURCE}", head("3"));
    let output = board.install(&manifest, &[("root.caidx", &index)]);
    assert!(output.status.success(), "{}", stderr(&output));
    board.target("rootfs").mounted(holds_tree);
}

/// Killed while a hook works in the mounted slot: the hook ends, and the next one finds nothing mounted.
#[test]
fn a_slot_that_somebody_who_was_killed_left_mounted() {
    let work = tempfile::tempdir().unwrap();
    let packed = tar(&tree(work.path()), "--gzip");
    let board = Board::new("type=ext4", &[]);
    let here = board.dir.path().to_owned();
    let manifest = head("2")
        + "[hooks]\nfilename=hook\n[image.rootfs]\nfilename=root.tar.gz\nhooks=post-install\n";
    let hook = format!(
        "#!/bin/sh\ncd \"$RAUC_SLOT_MOUNT_POINT\" || exit 1\n[ ! -e {here}/once ] || exit 0\n\
         touch {here}/once; while :; do sleep 0.02; done\n",
        here = here.display()
    );
    let files = [("root.tar.gz", &packed[..]), ("hook", hook.as_bytes())];
    let (bundle, keyring) = bundle_with(work.path(), &manifest, &files);
    fs_err::copy(keyring, here.join("keyring.pem")).unwrap();
    let install = ["install", bundle.to_str().unwrap()];

    let mut killed = board.command(&install).spawn().unwrap();
    while !here.join("once").exists() {
        assert!(killed.try_wait().unwrap().is_none(), "it ended too soon");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let mounts = || fs_err::read_to_string("/proc/self/mounts").unwrap();
    let node = board.target("rootfs").text().to_owned();
    assert!(mounts().contains(&node), "this is what is left");

    // The hook's own `sleep` may live for a moment.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let output = board.run(&install);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!mounts().contains(&node));
}
