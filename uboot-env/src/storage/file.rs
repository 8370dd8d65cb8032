//! Regular files and block devices.

use super::{CopyError, Op, check_len};
use crate::codec::FLAGS_OFFSET;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

/// How a copy is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// The bytes are overwritten where they are: block devices, and files of a redundant
    /// environment (no size changes, so no metadata of the file system is touched).
    InPlace,
    /// The whole file is written anew beside the old one and renamed over it: the only way in
    /// which a *single* copy in a file survives a power cut. What the file holds outside the
    /// environment, its mode and its owner are kept.
    Rename,
}

/// A copy at an offset of a file or block device.
#[derive(Debug, Clone)]
pub struct FileCopy {
    path: PathBuf,
    offset: u64,
    size: u64,
    replace: Replace,
}

impl FileCopy {
    /// `offset` and `size` in bytes.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, offset: u64, size: u64, replace: Replace) -> Self {
        Self {
            path: path.into(),
            offset,
            size,
            replace,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn read(&mut self) -> Result<Vec<u8>, CopyError> {
        let file = File::open(&self.path).map_err(self.io(Op::Open))?;
        let want = usize::try_from(self.size).map_err(|_| self.short(0))?;
        let mut image = vec![0; want];
        let mut have = 0;
        while let Some(rest) = image.get_mut(have..).filter(|r| !r.is_empty()) {
            match file.read_at(rest, self.offset + have as u64) {
                Ok(0) => return Err(self.short(have)),
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.io(Op::Read)(e)),
            }
        }
        Ok(image)
    }

    pub(crate) fn write(&mut self, image: &[u8]) -> Result<(), CopyError> {
        check_len(image, self.size)?;
        match self.replace {
            Replace::InPlace => self.write_in_place(0, image),
            Replace::Rename => self.replace_file(image),
        }
    }

    pub(crate) fn obsolete(&mut self) -> Result<(), CopyError> {
        self.write_in_place(FLAGS_OFFSET as u64, &[crate::select::FLAG_OBSOLETE])
    }

    fn write_in_place(&self, at: u64, bytes: &[u8]) -> Result<(), CopyError> {
        let mut options = OpenOptions::new();
        // A missing second file of a pair is created. Under /dev that would leave a plain file in
        // the place of a device that is not there yet.
        options
            .write(true)
            .create(!self.path.starts_with("/dev"))
            .truncate(false);
        let is_new = !self.path.exists();
        let file = options.open(&self.path).map_err(self.io(Op::Open))?;
        self.check_room(&file)?;
        file.write_all_at(bytes, self.offset + at)
            .map_err(self.io(Op::Write))?;
        file.sync_all().map_err(self.io(Op::Sync))?;
        if is_new {
            self.sync_directory(&self.path)?;
        }
        self.forget_cache(&file)
    }

    /// A device that ends inside the copy: the kernel would write as much as fits, over whatever lies
    /// there, and fail after that. A file grows.
    fn check_room(&self, file: &File) -> Result<(), CopyError> {
        if file.metadata().is_ok_and(|meta| meta.is_file()) {
            return Ok(());
        }
        let len = devio::block::device_len(file).map_err(self.io(Op::Inspect))?;
        let have = len.saturating_sub(self.offset).min(self.size);
        match have < self.size {
            true => Err(self.short(usize::try_from(have).unwrap_or(usize::MAX))),
            false => Ok(()),
        }
    }

    /// Lets the read-back come from the medium. Where the kernel does not allow that (no
    /// privilege), reading back through the cache still finds short and misplaced writes.
    fn forget_cache(&self, file: &File) -> Result<(), CopyError> {
        match devio::block::drop_cache(file) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other.map_err(self.io(Op::Sync)),
        }
    }

    fn replace_file(&self, image: &[u8]) -> Result<(), CopyError> {
        // A symbolic link stays a link: the file behind it is replaced.
        let real = match self.path.canonicalize() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.path.clone(),
            other => other.map_err(self.io(Op::Open))?,
        };
        let old = File::open(&real).ok();
        let mut name = real.file_name().unwrap_or_default().to_os_string();
        name.push(".uboot-env-new");
        let fresh = real.with_file_name(name);
        let written = self.write_fresh(&fresh, old.as_ref(), image);
        if let Err(e) = written.and_then(|()| std::fs::rename(&fresh, &real)) {
            // The old file is untouched; a left-over beside it is only untidy.
            drop(std::fs::remove_file(&fresh));
            return Err(self.io(Op::Write)(e));
        }
        self.sync_directory(&real)
    }

    /// The new file: the old content with the environment replaced.
    fn write_fresh(&self, fresh: &Path, old: Option<&File>, image: &[u8]) -> io::Result<()> {
        // A left-over of an interrupted run, or a link somebody put there, is not written through.
        match std::fs::remove_file(fresh) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(fresh)?;
        if let Some(mut old) = old {
            io::copy(&mut old, &mut file)?;
            let meta = old.metadata()?;
            file.set_permissions(meta.permissions())?;
            chown(fresh, Some(meta.uid()), Some(meta.gid()))?;
        }
        file.write_all_at(image, self.offset)?;
        file.flush()?;
        file.sync_all()
    }

    fn sync_directory(&self, path: &Path) -> Result<(), CopyError> {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        let directory = File::open(parent.unwrap_or(Path::new("."))).map_err(self.io(Op::Sync))?;
        directory.sync_all().map_err(self.io(Op::Sync))
    }

    fn io(&self, op: Op) -> impl FnOnce(io::Error) -> CopyError + use<> {
        CopyError::io(op, &self.path, self.offset)
    }

    fn short(&self, have: usize) -> CopyError {
        CopyError::Short {
            path: self.path.clone(),
            offset: self.offset,
            have: have as u64,
            want: self.size,
        }
    }
}
