//! A copy in a UBI volume of its own.

use super::{CopyError, Op, check_len};
use std::io;
use std::path::{Path, PathBuf};

/// What is needed of a UBI volume.
pub trait UbiVolume {
    /// Reads the first `len` bytes, or fewer if the volume holds fewer.
    ///
    /// # Errors
    /// `EBADF` if the last update was interrupted.
    fn read(&mut self, len: u64) -> io::Result<Vec<u8>>;

    /// Replaces the whole content in one volume update. Until it has ended the volume cannot be
    /// read.
    ///
    /// # Errors
    /// What the device says.
    fn update(&mut self, content: &[u8]) -> io::Result<()>;
}

/// A copy in a UBI volume.
pub struct UbiCopy {
    volume: Box<dyn UbiVolume>,
    path: PathBuf,
    size: u64,
}

impl std::fmt::Debug for UbiCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UbiCopy").field("path", &self.path).finish()
    }
}

impl UbiCopy {
    /// A copy of `size` bytes. `path` is used in errors only.
    #[must_use]
    pub fn new(volume: Box<dyn UbiVolume>, path: impl Into<PathBuf>, size: u64) -> Self {
        Self {
            volume,
            path: path.into(),
            size,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn read(&mut self) -> Result<Vec<u8>, CopyError> {
        const EBADF: i32 = 9;
        let image = match self.volume.read(self.size) {
            Err(e) if e.raw_os_error() == Some(EBADF) => {
                return Err(CopyError::InterruptedUpdate {
                    path: self.path.clone(),
                });
            }
            other => other.map_err(CopyError::io(Op::Read, &self.path, 0))?,
        };
        let have = image.len() as u64;
        if have == self.size {
            return Ok(image);
        }
        Err(CopyError::Short {
            path: self.path.clone(),
            offset: 0,
            have,
            want: self.size,
        })
    }

    pub(crate) fn write(&mut self, image: &[u8]) -> Result<(), CopyError> {
        check_len(image, self.size)?;
        self.volume
            .update(image)
            .map_err(CopyError::io(Op::UbiUpdate, &self.path, 0))
    }
}
