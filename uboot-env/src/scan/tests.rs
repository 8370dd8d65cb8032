use super::*;
use crate::codec::Image;
use crate::env::{Env, VarName};
use proptest::prelude::*;

fn env() -> Env {
    let mut env = Env::new();
    env.set(&VarName::new("BOOT_ORDER").unwrap(), b"A B")
        .unwrap();
    env.set(&VarName::new("x").unwrap(), &[b'y'; 700]).unwrap();
    env
}

fn scan_bytes(disk: &[u8], window: Window) -> Vec<Hit> {
    let source = |at: u64, buf: &mut [u8]| {
        let rest = disk.get(usize::try_from(at).unwrap()..).unwrap_or_default();
        // Short reads are part of life.
        let n = rest.len().min(buf.len()).min(300_000);
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    };
    scan(source, window).unwrap().hits
}

const ALL: Window = Window {
    from: 0,
    len: u64::MAX,
};

#[test]
fn size_offset_layout_and_byte_order_are_found() {
    for (offset, size) in [
        (0usize, 0x2000u64),
        (0x3f_8000, 0x4000),
        (0xffe00, 0x20000),
        (512, 0x1f00),
    ] {
        for endian in [Endian::Little, Endian::Big] {
            for flags in [None, Some(7)] {
                let image = Image::render(&env(), flags, size, endian).unwrap();
                let mut disk = vec![0xA5; offset + image.len() + 1000];
                disk[offset..offset + image.len()].copy_from_slice(&image);
                let layout = if flags.is_some() {
                    Layout::Redundant
                } else {
                    Layout::Single
                };
                let want = Hit {
                    offset: offset as u64,
                    size,
                    layout,
                    endian,
                    flags,
                };
                assert_eq!(scan_bytes(&disk, ALL), [want]);
            }
        }
    }
}

#[test]
fn both_copies_are_found_and_the_window_bounds_the_search() {
    let image = Image::render(&env(), Some(1), 0x4000, Endian::Little).unwrap();
    let mut disk = vec![0; 0x300_000];
    disk[0x10_0000..0x10_4000].copy_from_slice(&image);
    disk[0x20_0000..0x20_4000].copy_from_slice(&image);
    let offsets = |w| {
        scan_bytes(&disk, w)
            .iter()
            .map(|h| h.offset)
            .collect::<Vec<_>>()
    };
    assert_eq!(offsets(ALL), [0x10_0000, 0x20_0000]);
    assert_eq!(
        offsets(Window {
            from: 0x10_0200,
            len: u64::MAX
        }),
        [0x20_0000]
    );
    assert_eq!(
        offsets(Window {
            from: 0,
            len: 0x20_0000
        }),
        [0x10_0000]
    );
}

/// A device with bad blocks, of which the last bytes are the environment.
#[test]
fn what_cannot_be_read_is_passed_over_and_told() {
    let image = Image::render(&env(), Some(1), 0x4000, Endian::Little).unwrap();
    let len = 0x30_0000_u64;
    let bad = 0x2000..0x24000_u64;
    let source = |at: u64, buf: &mut [u8]| {
        if bad.contains(&at) {
            return Err(io::Error::from_raw_os_error(5));
        }
        // A read ends where the next one would fail, as a kernel has it.
        let limit = if at < bad.start { bad.start } else { len };
        let count = buf
            .len()
            .min(usize::try_from(limit.saturating_sub(at)).unwrap());
        let part = &mut buf[..count];
        part.fill(0x5a);
        for (byte, at) in part.iter_mut().zip(at..) {
            if let Some(value) = at.checked_sub(len - 0x4000) {
                *byte = image[usize::try_from(value).unwrap()];
            }
        }
        Ok(count)
    };
    let found = scan(source, ALL).unwrap();
    assert_eq!((found.end, found.unreadable), (len, 0x22000));
    let offsets: Vec<u64> = found.hits.iter().map(|hit| hit.offset).collect();
    assert_eq!(offsets, [len - 0x4000]);
}

#[test]
fn a_source_that_gives_nothing_at_all_is_an_error_wherever_it_is_begun() {
    let no = |_: u64, _: &mut [u8]| Err(io::Error::from_raw_os_error(21));
    for from in [0, 1 << 40, u64::MAX - 5000, u64::MAX] {
        let window = Window {
            from,
            len: u64::MAX,
        };
        assert!(from == u64::MAX || scan(no, window).is_err(), "{from:#x}");
    }
}

#[test]
fn how_far_it_came_is_told() {
    let disk = vec![0; 0x30_0100];
    let end = |len| {
        let source = |at: u64, buf: &mut [u8]| {
            let rest = disk.get(usize::try_from(at).unwrap()..).unwrap_or_default();
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        };
        scan(source, Window { from: 0, len }).unwrap().end
    };
    assert_eq!(end(0x10_0000), 0x10_0000);
    assert_eq!(end(0x30_0000), 0x30_0000);
    assert_eq!(end(u64::MAX), 0x30_0100);
}

#[test]
fn a_damaged_environment_is_not_found() {
    let mut image = Image::render(&env(), Some(1), 0x2000, Endian::Little).unwrap();
    image[0x1fff] ^= 1;
    assert_eq!(scan_bytes(&image, ALL), []);
    assert_eq!(scan_bytes(&[], ALL), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'='), any::<u8>()], 0..3000)) {
        drop(scan_bytes(&bytes, ALL));
    }
}
