//! Archives, and file systems without anything in them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bundle_format::Digest;
use sha2::{Digest as _, Sha256};

use super::compression::decompress;
use super::filesystem::{self, FilesystemError, Mounted, exclusive};
use super::unpack::{Keep, unpack, unpack_tree};
use super::{Method, Proof, Writer};
use crate::install::{AssembleError, ImageStream, ReadBackError, Step};
use crate::program::Stop;
use crate::slot::{Slot, SlotKind};

/// Bytes per read when files are compared.
const PIECE: usize = 1 << 18;

/// A file system that is made anew.
pub(super) struct Archive {
    slot: Slot,
    image: String,
    method: Method,
    work_directory: PathBuf,
    mounted: Option<Mounted>,
    /// Every regular file that was unpacked, and the digest of what went into it.
    files: BTreeMap<PathBuf, Digest>,
}

impl Archive {
    pub fn new(step: &Step, slot: &Slot, work_directory: &Path) -> Archive {
        Archive {
            slot: slot.clone(),
            image: step.label().to_owned(),
            method: step.method,
            work_directory: work_directory.to_owned(),
            mounted: None,
            files: BTreeMap::new(),
        }
    }

    fn failed(&self) -> impl FnOnce(FilesystemError) -> AssembleError + use<> {
        let slot = self.slot.name.clone();
        move |source| AssembleError::Filesystem { slot, source }
    }
}

impl Writer for Archive {
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        filesystem::make(&self.slot, image.stop()).map_err(self.failed())?;
        let mounted = Mounted::writable(&self.slot, &self.work_directory).map_err(self.failed())?;
        if self.method != Method::EmptyFs {
            let keep = if self.slot.kind == SlotKind::Vfat {
                Keep::Times
            } else {
                Keep::All
            };
            let unpacked = match self.method {
                Method::Tree => unpack_tree(&mut *image, mounted.path(), keep),
                _ => decompress(&mut *image)
                    .map_err(super::UnpackError::Stream)
                    .and_then(|plain| unpack(plain, mounted.path(), keep)),
            };
            if let Some(error) = image.take_error() {
                return Err(error);
            }
            self.files = unpacked.map_err(|source| AssembleError::Archive {
                image: self.image.clone(),
                slot: self.slot.name.clone(),
                source,
            })?;
        }
        self.mounted = Some(mounted);
        Ok(())
    }

    /// The file system is unmounted, and the device flushed by a handle of its own.
    fn sync(&mut self) -> Result<(), AssembleError> {
        if let Some(mounted) = self.mounted.take() {
            mounted.unmount().map_err(self.failed())?;
        }
        if matches!(self.slot.kind, SlotKind::Ext4 | SlotKind::Vfat) {
            exclusive(&self.slot.device).map_err(self.failed())?;
        }
        Ok(())
    }

    /// Mounts it again, and compares every file with what was unpacked.
    fn read_back(&mut self, proof: &mut Proof<'_>) -> Result<(), ReadBackError> {
        let slot = self.slot.name.clone();
        let mount = |source| ReadBackError::Filesystem {
            slot: slot.clone(),
            source,
        };
        let mounted = Mounted::readable(&self.slot, &self.work_directory).map_err(mount)?;
        let total = self.files.len().max(1) as u64;
        for (number, (path, expected)) in (1..).zip(&self.files) {
            let whole = mounted.path().join(path);
            let found = digest_of(&whole, proof.stop).map_err(|source| ReadBackError::File {
                slot: slot.clone(),
                path: path.clone(),
                source,
            })?;
            if found != *expected {
                return Err(ReadBackError::FileDiffers {
                    slot,
                    path: path.clone(),
                });
            }
            (proof.tell)(proof.step.size / total * number);
        }
        mounted.unmount().map_err(mount)
    }

    fn release(&mut self) {
        self.mounted = None;
    }
}

/// The digest of a whole file; an error when `stop` is wanted before its end.
pub(crate) fn digest_of(path: &Path, stop: &Stop) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; PIECE];
    loop {
        stop.check()?;
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(digest.finalize().into())),
            count => digest.update(&buffer[..count]),
        }
    }
}
