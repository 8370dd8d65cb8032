//! A copy in a UBI volume of its own.

use super::{CopyError, Op, check_len};
use crate::limits::{MAX_SYSFS_BYTES, MAX_UBI_VOLUMES};
use std::fs;
use std::io::{self, Read};
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

/// The device node of a volume: `/dev/ubi0_1` as it is; `/dev/ubi0:name` and `/dev/mtd3:name` looked
/// up in `sys_ubi` (`/sys/class/ubi`). `None` if there is no such volume, or no UBI device is
/// attached to that MTD device.
#[must_use]
pub fn node_of(path: &Path, sys_ubi: &Path) -> Option<PathBuf> {
    let text = path.to_str()?;
    let Some((device, volume)) = text.split_once(':') else {
        return Some(path.to_path_buf());
    };
    let directory = Path::new(device).parent()?;
    let device = Path::new(device).file_name()?.to_str()?;
    let ubi = match device.strip_prefix("mtd") {
        Some(number) => ubi_on_mtd(number, sys_ubi)?,
        None => device.to_owned(),
    };
    let prefix = format!("{ubi}_");
    let names = entries(sys_ubi).filter(|name| name.starts_with(&prefix));
    let mut found =
        names.filter(|name| attribute(&sys_ubi.join(name).join("name")).as_deref() == Some(volume));
    found.next().map(|name| directory.join(name))
}

fn ubi_on_mtd(number: &str, sys_ubi: &Path) -> Option<String> {
    let mut devices = entries(sys_ubi).filter(|name| !name.contains('_'));
    devices.find(|name| attribute(&sys_ubi.join(name).join("mtd_num")).as_deref() == Some(number))
}

fn entries(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let list = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .take(MAX_UBI_VOLUMES);
    list.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn attribute(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path)
        .ok()?
        .take(MAX_SYSFS_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    Some(text.trim_end().to_owned())
}
