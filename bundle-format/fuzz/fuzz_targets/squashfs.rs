//! The squashfs reader: every directory, every link, the start of every file, and what else inodes have.
#![no_main]

use std::io::Read as _;

use bundle_format::squashfs::{EntryKind, InodeRef, Squashfs};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(fs) = Squashfs::open(data) else { return };
    let mut budget = 200;
    walk(&fs, fs.root(), 0, &mut budget);
});

fn walk(fs: &Squashfs<&[u8]>, directory: InodeRef, depth: u32, budget: &mut u32) {
    let Ok(entries) = fs.read_dir(directory) else { return };
    for entry in entries {
        if *budget == 0 || depth > 8 {
            return;
        }
        *budget -= 1;
        drop((fs.attributes(entry.inode), fs.xattrs(entry.inode)));
        match entry.kind {
            EntryKind::Directory => walk(fs, entry.inode, depth + 1, budget),
            EntryKind::Symlink => drop(fs.link_target(entry.inode)),
            EntryKind::File => {
                if let Ok(file) = fs.file(entry.inode) {
                    let _ = file.take(1 << 16).read_to_end(&mut Vec::new());
                }
            }
            EntryKind::Special => drop(fs.special(entry.inode)),
        }
    }
}
