//! Compressed archives, told by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

/// Memory that an xz archive may ask for, in bytes.
const XZ_MEMORY: u64 = 128 << 20;

/// How the first bytes look.
const MAGIC: [(&[u8], Kind); 6] = [
    (&[0x1f, 0x8b], Kind::Gzip),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Kind::Xz),
    (&[0x28, 0xb5, 0x2f, 0xfd], Kind::Zstd),
    (b"BZh", Kind::Bzip2),
    (&[0x04, 0x22, 0x4d, 0x18], Kind::Foreign("lz4")),
    (&[0x89, b'L', b'Z', b'O'], Kind::Foreign("lzop")),
];

#[derive(Clone, Copy)]
enum Kind {
    Gzip,
    Xz,
    Zstd,
    Bzip2,
    Foreign(&'static str),
}

/// The plain archive.
pub(crate) fn decompress<'r>(source: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let mut source = BufReader::with_capacity(1 << 16, source);
    let start = source.fill_buf()?;
    let found = MAGIC.iter().find(|(magic, _)| start.starts_with(magic));
    Ok(match found.map(|(_, kind)| *kind) {
        None => Box::new(source),
        Some(Kind::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Some(Kind::Xz) => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                XZ_MEMORY,
                liblzma::stream::CONCATENATED,
            )?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        Some(Kind::Zstd) => Box::new(zstd::stream::read::Decoder::with_buffer(source)?),
        Some(Kind::Bzip2) => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
        Some(Kind::Foreign(name)) => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "archives compressed with {name} are not supported; gzip, bzip2, xz and zstd are"
                ),
            ));
        }
    })
}
