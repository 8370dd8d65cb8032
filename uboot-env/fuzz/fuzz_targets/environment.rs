//! An environment as bytes, with the CRC that it has and with one that fits: what is read, written
//! and read again has to be the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uboot_env::codec::{Endian, Image, Layout};

fuzz_target!(|data: &[u8]| {
    for endian in [Endian::Little, Endian::Big] {
        for (layout, head) in [(Layout::Single, 4), (Layout::Redundant, 5)] {
            let _ = Image::parse(data, layout, endian);
            if data.len() <= head {
                continue;
            }
            let mut fitting = data.to_vec();
            let crc = crc32fast::hash(&data[head..]);
            fitting[..4].copy_from_slice(&match endian {
                Endian::Little => crc.to_le_bytes(),
                Endian::Big => crc.to_be_bytes(),
            });
            let Ok(image) = Image::parse(&fitting, layout, endian) else { continue };
            let size = fitting.len() as u64;
            let _ = image.env.warnings(size);
            let flags = (layout == Layout::Redundant).then(|| fitting[4]);
            let Ok(written) = Image::render(&image.env, flags, size, endian) else { continue };
            let again = Image::parse(&written, layout, endian).expect("what we write is valid");
            assert_eq!(again.env, image.env);
        }
    }
});
