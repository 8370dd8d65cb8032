//! casync's own options for chunks, as `--casync-args` hands them over.

use casync::ChunkSizes;
use casync::chunk::DigestKind;
use casync::codec::Packing;

/// Options that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkOptionError {
    /// One that is not known, or would change what is recorded.
    #[error(
        "the casync option {0} cannot be used here; there are --chunk-size=, --digest=, --compression= and --with=unix"
    )]
    Unknown(String),
    /// A value that makes no sense.
    #[error("the casync option {option} cannot have the value '{value}'; {help}")]
    Value {
        /// Which.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it can have.
        help: &'static str,
    },
}

/// How chunks are cut, named and packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChunkOptions {
    /// How large they are.
    pub sizes: ChunkSizes,
    /// What names them.
    pub digest: DigestKind,
    /// How they are packed.
    pub packing: Packing,
}

impl ChunkOptions {
    /// From casync's words, each `--option=value`.
    ///
    /// # Errors
    /// An option is not known, or has a value that makes no sense.
    pub fn from_words(words: &[String]) -> Result<Self, ChunkOptionError> {
        let mut options = Self::default();
        for word in words {
            match word.split_once('=') {
                Some(("--chunk-size", value)) => options.sizes = sizes(value)?,
                Some(("--digest", value)) => options.digest = digest(value)?,
                Some(("--compression", value)) => options.packing = packing(value)?,
                // What is done anyway.
                Some(("--with", "unix")) => {}
                _ => return Err(ChunkOptionError::Unknown(word.clone())),
            }
        }
        Ok(options)
    }
}

/// `AVG` or `MIN:AVG:MAX`, in bytes.
///
/// # Errors
/// Anything else, or sizes that nobody can cut by.
pub fn sizes(value: &str) -> Result<ChunkSizes, ChunkOptionError> {
    let numbers: Option<Vec<u64>> = value.split(':').map(|part| part.parse().ok()).collect();
    let sizes = match numbers.as_deref() {
        Some([avg]) => ChunkSizes::from_avg(*avg).ok(),
        Some([min, avg, max]) => ChunkSizes::new(*min, *avg, *max).ok(),
        _ => None,
    };
    sizes.ok_or_else(|| ChunkOptionError::Value {
        option: "--chunk-size",
        value: value.to_owned(),
        help: "give AVG or MIN:AVG:MAX in bytes, like 65536",
    })
}

/// `sha512-256` or `sha256`.
///
/// # Errors
/// Anything else.
pub fn digest(value: &str) -> Result<DigestKind, ChunkOptionError> {
    match value {
        "sha512-256" => Ok(DigestKind::Sha512_256),
        "sha256" => Ok(DigestKind::Sha256),
        _ => Err(ChunkOptionError::Value {
            option: "--digest",
            value: value.to_owned(),
            help: "use sha512-256 or sha256",
        }),
    }
}

/// `zstd`, `xz` or `gzip`.
///
/// # Errors
/// Anything else.
pub fn packing(value: &str) -> Result<Packing, ChunkOptionError> {
    match value {
        "zstd" => Ok(Packing::default()),
        "xz" => Ok(Packing::Xz),
        "gzip" => Ok(Packing::Gzip),
        _ => Err(ChunkOptionError::Value {
            option: "--compression",
            value: value.to_owned(),
            help: "use zstd, xz or gzip",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casyncs_own_words() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let options = words("--chunk-size=4096 --digest=sha256 --compression=xz --with=unix");
        let options = ChunkOptions::from_words(&options).unwrap();
        assert_eq!(options.sizes, ChunkSizes::new(1024, 4096, 16384).unwrap());
        assert_eq!(options.digest, DigestKind::Sha256);
        assert_eq!(options.packing, Packing::Xz);
        assert_eq!(
            ChunkOptions::from_words(&[]).unwrap(),
            ChunkOptions::default()
        );
        for wrong in [
            "--seed=/dev/sda",
            "--chunk-size=9:8:7",
            "--digest=md5",
            "--without=all",
        ] {
            assert!(ChunkOptions::from_words(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
