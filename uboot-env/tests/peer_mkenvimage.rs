//! Against `mkenvimage` of U-Boot: what it makes we read, in every combination of its options, and
//! with its padding value our bytes are its bytes.

#![allow(
    clippy::disallowed_methods,
    reason = "test files need no power-cut safety"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation fails the test"
)]

use std::path::Path;
use std::process::Command;
use uboot_env::codec::{Endian, Ending, Image, Layout};
use uboot_env::env::{Env, VarName};
use uboot_env::scan::{Window, scan};

const TEXT: &str =
    "# comment\nBOOT_A_LEFT=3\nBOOT_ORDER=A B\n\nbootcmd=run x; run y\nz=\\\\ back\n";

fn mkenvimage(dir: &Path, args: &[&str], size: u64) -> Vec<u8> {
    let (text, out) = (dir.join("in.txt"), dir.join("out.bin"));
    std::fs::write(&text, TEXT).unwrap();
    let run = Command::new("mkenvimage")
        .args(args)
        .args(["-s", &format!("{size:#x}"), "-o"])
        .args([&out, &text])
        .output()
        .expect("u-boot-tools must be installed");
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    std::fs::read(out).unwrap()
}

#[test]
fn images_of_every_kind_are_read_and_made_alike() {
    let dir = tempfile::tempdir().unwrap();
    for size in [0x200, 0x1f00, 0x4000, 0x20000] {
        for (flag, layout) in [("", Layout::Single), ("-r", Layout::Redundant)] {
            for (byte_order, endian) in [("", Endian::Little), ("-b", Endian::Big)] {
                for padding in ["0x00", "0xff"] {
                    let mut args = vec!["-p", padding];
                    args.extend([flag, byte_order].iter().filter(|a| !a.is_empty()));
                    let theirs = mkenvimage(dir.path(), &args, size);
                    let image = Image::parse(&theirs, layout, endian).unwrap();
                    assert_eq!(image.ending, Ending::Terminated);
                    assert_eq!(image.env.get(b"BOOT_ORDER"), Some(b"A B".as_slice()));
                    assert_eq!(image.env.get(b"bootcmd"), Some(b"run x; run y".as_slice()));
                    assert_eq!(image.env.iter().count(), 4);
                    if padding == "0x00" {
                        let ours = Image::render(&image.env, image.flags, size, endian).unwrap();
                        assert_eq!(ours, theirs);
                    }
                }
            }
        }
    }
}

#[test]
fn an_image_made_from_our_variables_is_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let mut env = Env::new();
    for line in TEXT.lines().filter(|l| l.contains('=')) {
        let (name, value) = line.split_once('=').unwrap();
        env.set(&VarName::new(name).unwrap(), value.as_bytes())
            .unwrap();
    }
    let theirs = mkenvimage(dir.path(), &["-p", "0x00"], 0x4000);
    assert_eq!(
        Image::render(&env, None, 0x4000, Endian::Little).unwrap(),
        theirs
    );
}

#[test]
fn the_scan_finds_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    for (args, layout, endian) in [
        (vec!["-r"], Layout::Redundant, Endian::Little),
        (vec!["-b"], Layout::Single, Endian::Big),
    ] {
        let image = mkenvimage(dir.path(), &args, 0x1f000);
        let disk = [vec![0xEE; 0x80000], image].concat();
        let source = |at: u64, buf: &mut [u8]| {
            let rest = &disk[usize::try_from(at).unwrap().min(disk.len())..];
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        };
        let hits = scan(
            source,
            Window {
                from: 0,
                len: u64::MAX,
            },
        )
        .unwrap()
        .hits;
        assert_eq!(hits.len(), 1);
        assert_eq!((hits[0].offset, hits[0].size), (0x80000, 0x1f000));
        assert_eq!((hits[0].layout, hits[0].endian), (layout, endian));
    }
}
