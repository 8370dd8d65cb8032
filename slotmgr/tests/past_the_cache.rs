//! Slots are written and read past the page cache, whatever their sectors and whatever is written.

mod support;

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use slotmgr::storage::Storage as _;
use slotmgr::storage::device::FileStorage;
use support::loops::Loop;

/// Of the disk.
const SIZE: usize = 8 << 20;

#[test]
fn pieces_of_every_size_and_place_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk.img");
    fs_err::write(&file, vec![0x55; SIZE]).unwrap();
    let disk = Loop::over(&file);
    let opened = devio::block::open_exclusive(&disk.node).unwrap();
    let mut storage = FileStorage::new(opened).unwrap().past_the_cache();
    let mut wanted = vec![0x55; SIZE];
    let memory: Vec<u8> = (0..=250).cycle().take(2_200_000).collect();
    // From here on the address is one that such writes need; others are further behind.
    let address = memory.as_ptr().addr();
    let text = &memory[address.next_multiple_of(4096) - address..];
    for (from, offset, len) in [
        (0, 0, 1 << 20),
        (0, 1 << 20, (1 << 20) + 1),
        (1, 2_097_153, 65_536),
        (4096, 3 << 20, 70_001),
        (0, (3 << 20) + 512, 1000),
        (0, SIZE - 1_000_003, 1_000_003),
        (13, SIZE - 4096, 4096),
    ] {
        let piece = &text[from..from + len];
        storage.write_at(piece, offset as u64).unwrap();
        wanted[offset..offset + len].copy_from_slice(piece);
        // Before the sync too: what was written in either way is what is read in either.
        for at in [offset, offset & !4095] {
            let mut back = vec![0; (len + 5000).min(wanted.len() - at)];
            storage.read_at(&mut back, at as u64).unwrap();
            assert!(back == wanted[at..at + back.len()], "{offset} + {len}");
        }
    }
    assert!(is_open_past_the_cache(&disk), "the cache was used");
    assert!(
        storage.write_at(text, SIZE as u64 - 4096).is_err(),
        "beyond the end"
    );
    storage.sync().unwrap();
    let mut there = vec![0; wanted.len()];
    std::fs::File::open(&file)
        .unwrap()
        .read_exact_at(&mut there, 0)
        .unwrap();
    assert!(there == wanted, "the disk has something else");
}

/// Whether this process still has the disk open in that way: it gives it up when the disk refuses.
fn is_open_past_the_cache(disk: &Loop) -> bool {
    let open = fs_err::read_dir("/proc/self/fd").into_iter().flatten();
    open.flatten().any(|entry| {
        let is_disk = fs_err::read_link(entry.path()).is_ok_and(|path| path == disk.node);
        let info = Path::new("/proc/self/fdinfo").join(entry.file_name());
        let info = fs_err::read_to_string(info).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        is_disk && flags.is_some_and(|flags| flags & OFlag::O_DIRECT.bits() != 0)
    })
}
