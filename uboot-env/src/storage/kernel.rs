//! Raw flash and UBI volumes as the kernel offers them, by way of `devio`.
//!
//! Devices are opened for writing only when something is written: reading must not need the right
//! to write, and a UBI volume that is open for writing keeps every other writer out, also those
//! that only wait for our locks.

use super::mtd::{Geometry, Mtd, MtdKind, Protection};
use super::open::RawDevices;
use super::ubi::UbiVolume;
use devio::mtd::{BlockHealth, MtdError};
use devio::ubi::UbiError;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

/// The devices of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelDevices;

impl RawDevices for KernelDevices {
    fn mtd(&self, node: &Path) -> io::Result<Box<dyn Mtd>> {
        Ok(Box::new(KernelMtd::open(node)?))
    }

    fn ubi(&self, node: &Path) -> io::Result<Box<dyn UbiVolume>> {
        if !std::fs::metadata(node)?.file_type().is_char_device() {
            return Err(unsupported("it is not a UBI volume"));
        }
        Ok(Box::new(KernelUbi(node.to_owned())))
    }
}

/// `/dev/mtdN`.
struct KernelMtd {
    node: PathBuf,
    reader: devio::mtd::Mtd,
    writer: Option<devio::mtd::Mtd>,
    geometry: Geometry,
}

impl KernelMtd {
    fn open(node: &Path) -> io::Result<Self> {
        let reader = devio::mtd::Mtd::open_read_only(node).map_err(mtd_error)?;
        let info = reader.info();
        let geometry = Geometry {
            kind: kind_of(info.kind)?,
            size: u64::from(info.size),
            erase_size: u64::from(info.erase_size),
            write_size: u64::from(info.write_size),
        };
        Ok(Self {
            node: node.to_owned(),
            reader,
            writer: None,
            geometry,
        })
    }

    fn writer(&mut self) -> io::Result<&devio::mtd::Mtd> {
        if self.writer.is_none() {
            self.writer = Some(devio::mtd::Mtd::open(&self.node).map_err(mtd_error)?);
        }
        self.writer
            .as_ref()
            .ok_or_else(|| unsupported("it cannot be opened"))
    }

    fn block(&self) -> u64 {
        self.geometry.erase_size
    }
}

/// MRAM and the kernel's simulators of NOR call themselves RAM; they are written in the same way.
fn kind_of(kind: devio::mtd::MtdKind) -> io::Result<MtdKind> {
    match kind {
        devio::mtd::MtdKind::Nor | devio::mtd::MtdKind::Ram => Ok(MtdKind::Nor),
        devio::mtd::MtdKind::Nand => Ok(MtdKind::Nand),
        devio::mtd::MtdKind::DataFlash => Ok(MtdKind::DataFlash),
        devio::mtd::MtdKind::UbiVolume => Err(unsupported(
            "it is a UBI volume behind the MTD interface; name the volume itself (/dev/ubi0:name)",
        )),
        _ => Err(unsupported("this kind of flash holds no environment")),
    }
}

impl Mtd for KernelMtd {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.reader.file().read_exact_at(buf, offset)
    }

    fn program(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        // The character device has no cache: what it took is in the flash.
        self.writer()?.program(offset, data).map_err(mtd_error)
    }

    fn erase(&mut self, block: u64) -> io::Result<()> {
        let len = self.block();
        self.writer()?.erase(block, len).map_err(mtd_error)
    }

    fn is_bad(&mut self, block: u64) -> io::Result<bool> {
        let health = self.reader.block_health(block).map_err(mtd_error)?;
        Ok(health == BlockHealth::Bad)
    }

    fn mark_bad(&mut self, block: u64) -> io::Result<()> {
        self.writer()?.mark_bad(block).map_err(mtd_error)
    }

    fn is_locked(&mut self, block: u64) -> io::Result<bool> {
        let len = self.block();
        let found = self.reader.protection(block, len).map_err(mtd_error)?;
        Ok(found == devio::mtd::Protection::Locked)
    }

    fn set_lock(&mut self, block: u64, lock: Protection) -> io::Result<()> {
        let len = self.block();
        let writer = self.writer()?;
        let done = match lock {
            Protection::Locked => writer.lock(block, len),
            Protection::Unlocked => writer.unlock(block, len),
        };
        done.map_err(mtd_error)
    }
}

/// What the kernel said stays recognisable: a worn-out block is told by its `EIO`.
fn mtd_error(error: MtdError) -> io::Error {
    match error {
        MtdError::EraseFailed { source, .. }
        | MtdError::ProgramFailed { source, .. }
        | MtdError::Io { source, .. } => source,
        MtdError::Protected { .. } => io::Error::new(io::ErrorKind::PermissionDenied, error),
        MtdError::NotAnMtd | MtdError::NotWholeBlocks { .. } => {
            io::Error::new(io::ErrorKind::InvalidInput, error)
        }
    }
}

/// `/dev/ubiX_Y`.
struct KernelUbi(PathBuf);

impl UbiVolume for KernelUbi {
    fn read(&mut self, len: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        File::open(&self.0)?.take(len).read_to_end(&mut content)?;
        Ok(content)
    }

    fn update(&mut self, content: &[u8]) -> io::Result<()> {
        let mut volume = devio::ubi::UbiVolume::open(&self.0).map_err(ubi_error)?;
        let mut update = volume
            .begin_update(content.len() as u64)
            .map_err(ubi_error)?;
        update.write_all(content)?;
        update.finish().map_err(ubi_error)
    }
}

fn ubi_error(error: UbiError) -> io::Error {
    match error {
        UbiError::Io { source, .. } => source,
        other => io::Error::other(other),
    }
}

fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_nodes_are_refused_by_name_of_what_they_are() {
        let refusal = |e: io::Error| e.to_string();
        let mtd = KernelDevices.mtd(Path::new("/dev/null")).err();
        let mtd = mtd.map(refusal).unwrap_or_default();
        assert!(mtd.contains("not an MTD device"), "{mtd}");
        let ubi = KernelDevices.ubi(Path::new("/proc/version")).err();
        let ubi = ubi.map(refusal).unwrap_or_default();
        assert!(ubi.contains("not a UBI volume"), "{ubi}");
        assert!(KernelDevices.mtd(Path::new("/dev/gone")).is_err());
    }

    #[test]
    fn simulators_of_nor_count_as_nor_and_gluebi_is_explained() {
        assert_eq!(kind_of(devio::mtd::MtdKind::Ram).unwrap(), MtdKind::Nor);
        let gluebi = kind_of(devio::mtd::MtdKind::UbiVolume).unwrap_err();
        assert!(gluebi.to_string().contains("/dev/ubi0:name"));
        assert!(kind_of(devio::mtd::MtdKind::Rom).is_err());
    }
}
