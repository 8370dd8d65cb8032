//! Why no image is made.

use std::io;
use std::path::PathBuf;

use bundle_format::squashfs::SquashfsError;

use crate::create::PackError;
use crate::output::OutputError;

/// Why no image is made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// mksquashfs.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The output.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The input cannot be opened.
    #[error("cannot open {path}", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The input cannot be read.
    #[error("cannot read the image at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The image cannot be written.
    #[error("cannot write the image")]
    Write(#[source] io::Error),
    /// zstd failed.
    #[error("cannot compress a block")]
    Compress(#[source] io::Error),
    /// Neither a directory nor a squashfs.
    #[error("neither a directory nor a squashfs 4.0 image")]
    NotSquashfs,
    /// A compressor that we do not have.
    #[error(transparent)]
    Compressor(SquashfsError),
    /// The image contradicts itself.
    #[error("the squashfs is damaged: {what} at byte {offset}")]
    Damaged {
        /// What it is.
        what: &'static str,
        /// Where in the image, or in the unpacked table.
        offset: u64,
    },
    /// A table that is larger than any real one.
    #[error("the squashfs has a table of more than {limit} bytes at byte {offset}")]
    TableTooLarge {
        /// The limit.
        limit: usize,
        /// Where.
        offset: u64,
    },
    /// Tables in an order that mksquashfs does not write.
    #[error(
        "the squashfs was not made by mksquashfs: its {what} names a place that is only written later; make the image of the directory instead"
    )]
    Order {
        /// Which table.
        what: &'static str,
    },
}

impl ImageError {
    pub(super) fn damaged(what: &'static str, offset: impl TryInto<u64>) -> Self {
        Self::Damaged {
            what,
            offset: offset.try_into().unwrap_or(u64::MAX),
        }
    }
}
