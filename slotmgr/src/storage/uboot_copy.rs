//! One copy of U-Boot's environment on whatever holds it: a file, a disk, flash, a UBI volume, an
//! eMMC boot area.

use std::io;
use std::sync::Arc;

use uboot_env::codec::{Endian, FLAGS_OFFSET};
use uboot_env::config::EnvConfig;
use uboot_env::select::{CopyId, FLAG_OBSOLETE, FlagScheme};
use uboot_env::storage::lock::Locks;
use uboot_env::storage::{Devices, EnvStorage, KernelDevices, SysPaths};

use super::{OpenError, Storage};

/// A copy as a [`Storage`]. Flash has no bytes that can be overwritten one by one; so it takes
/// whole copies, and the flags byte that marks a copy as obsolete, and nothing else.
///
/// The device is opened for each of them anew: a UBI volume that stays open keeps others out.
pub struct UBootCopy {
    config: EnvConfig,
    copy: CopyId,
    /// Without them nothing is written.
    locks: Option<Arc<Locks>>,
}

/// How the flags byte is used on the media of this environment.
///
/// # Errors
/// The configuration does not fit the devices, or none of them is there.
pub fn scheme(config: &EnvConfig) -> Result<FlagScheme, OpenError> {
    Ok(devices(config)?.scheme())
}

fn devices(config: &EnvConfig) -> Result<Devices, OpenError> {
    let opened = Devices::open(
        config,
        Endian::native(),
        &SysPaths::default(),
        &KernelDevices,
    );
    opened.map_err(OpenError::UBoot)
}

impl UBootCopy {
    /// Without `locks` for reading only.
    ///
    /// # Errors
    /// As [`scheme`].
    pub fn open(
        config: &EnvConfig,
        copy: CopyId,
        locks: Option<Arc<Locks>>,
    ) -> Result<Self, OpenError> {
        devices(config)?;
        Ok(UBootCopy {
            config: config.clone(),
            copy,
            locks,
        })
    }

    fn devices(&self) -> io::Result<Devices> {
        devices(&self.config).map_err(io::Error::other)
    }
}

impl Storage for UBootCopy {
    fn len(&self) -> u64 {
        self.config.size
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let image = self.devices()?.read(self.copy).map_err(io::Error::other)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let part = start
            .checked_add(buf.len())
            .and_then(|end| image.get(start..end));
        buf.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        if self.locks.is_none() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let done = if offset == 0 && data.len() as u64 == self.len() {
            self.devices()?.write(self.copy, data)
        } else if offset == FLAGS_OFFSET as u64 && data == [FLAG_OBSOLETE] {
            self.devices()?.obsolete(self.copy)
        } else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a copy of the environment is written as a whole",
            ));
        };
        done.map_err(io::Error::other)
    }

    fn sync(&mut self) -> io::Result<()> {
        // Each write is durable when it returns, and the next read comes from the medium.
        Ok(())
    }
}
