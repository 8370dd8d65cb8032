//! The real disks: block devices, or regular files where a test rig uses them in their place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use devio::filesystem::FsKind;
use grub_env::file::{EnvFile, FileError, Placement};
use grub_env::placement::Finding;
use uboot_env::config::EnvConfig;
use uboot_env::select::CopyId;
use uboot_env::storage::lock::{LockPaths, Locks};

use super::direct::Direct;
use super::durable::create_directory;
use super::flash::FlashSlot;
use super::mounts::Mounts;
use super::uboot_copy::UBootCopy;
use super::{Area, Disks, EnvCopy, OpenError, RecordCopy, Storage};
use crate::partition::live;
use crate::slot::{Layout, SlotId, SlotKind};
use crate::state::RECORD_SIZE;

/// Whether anything may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For `status`: opens nothing for writing, makes no file, needs no exclusive access.
    ReadOnly,
    /// For everything else.
    ReadWrite,
}

/// How long another program may keep the environment locked.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Where the bootloader's environment is.
#[derive(Debug, Clone)]
pub enum EnvPlace {
    /// GRUB's environment block.
    Grub(PathBuf),
    /// The directory of the three files of GRUB's paired scheme.
    GrubPair(PathBuf),
    /// U-Boot's copies, as `fw_env.config` has them.
    UBoot(Box<EnvConfig>),
    /// The partition table of a whole disk.
    Disk(PathBuf),
    /// A small file that the bootloader's firmware reads, written in place.
    File(PathBuf),
    /// Not on a disk of ours: the bootloader has its own way to it.
    Elsewhere,
}

/// Where the areas of this machine are.
#[derive(Debug, Clone)]
pub struct DeviceDisks {
    slots: BTreeMap<SlotId, (PathBuf, SlotKind)>,
    env: EnvPlace,
    /// Held as long as a handle to a copy of U-Boot's environment is.
    locks: Weak<Locks>,
    data_directory: Option<PathBuf>,
    mode: Mode,
}

impl DeviceDisks {
    /// The slots of `layout`, the environment, and the directory of our own record.
    #[must_use]
    pub fn new(
        layout: &Layout,
        env: EnvPlace,
        data_directory: Option<PathBuf>,
        mode: Mode,
    ) -> Self {
        let slots = layout
            .iter()
            .map(|(id, slot)| (id, (slot.device.clone(), slot.kind)))
            .collect();
        DeviceDisks {
            slots,
            env,
            locks: Weak::new(),
            data_directory,
            mode,
        }
    }

    fn open_slot(&self, id: SlotId) -> Result<Box<dyn Storage>, OpenError> {
        let (path, slot) = self
            .slots
            .get(&id)
            .ok_or_else(|| OpenError::Absent(format!("slot {id:?}")))?;
        let open = open_error("writing a slot", path);
        let kind = fs_err::metadata(path).map_err(&open)?.file_type();
        if kind.is_char_device() {
            return Ok(Box::new(FlashSlot::open(path, *slot)?));
        }
        // A loop device over the slot does not keep it from being opened.
        if !slot.has_region() && Mounts::now().of(path).is_some() {
            return Err(OpenError::InUse { path: path.clone() });
        }
        let file = if slot.has_region() {
            // A whole disk, of which the running system has other parts mounted.
            read_write(path).map_err(&open)?
        } else if kind.is_block_device() {
            devio::block::open_exclusive(path).map_err(|error| match error {
                devio::block::OpenError::InUse { .. } => OpenError::InUse { path: path.clone() },
                other => open(io::Error::other(other)),
            })?
        } else {
            let file = read_write(path).map_err(&open)?;
            file.try_lock()
                .map_err(|_| OpenError::InUse { path: path.clone() })?;
            file
        };
        let storage = FileStorage::new(file).map_err(open)?;
        Ok(Box::new(storage.past_the_cache()))
    }

    fn open_env(&mut self, copy: EnvCopy) -> Result<Box<dyn Storage>, OpenError> {
        match (self.env.clone(), copy) {
            (EnvPlace::Grub(path) | EnvPlace::File(path), EnvCopy::First) => self.open_grub(&path),
            (EnvPlace::GrubPair(directory), copy) => {
                self.open_grub(&directory.join(pair_file(copy)))
            }
            (EnvPlace::Disk(path), EnvCopy::First) => self.open_disk(&path),
            (EnvPlace::Elsewhere, EnvCopy::First) => {
                Err(OpenError::Absent("boot environment on a disk".to_owned()))
            }
            (EnvPlace::UBoot(config), EnvCopy::First) => self.open_uboot(&config, CopyId::First),
            (EnvPlace::UBoot(config), EnvCopy::Second) if config.second.is_some() => {
                self.open_uboot(&config, CopyId::Second)
            }
            _ => Err(OpenError::Absent(
                "second copy of the boot environment".to_owned(),
            )),
        }
    }

    /// With the lock that udev and partitioning tools respect, for as long as the handle lives.
    fn open_disk(&self, path: &Path) -> Result<Box<dyn Storage>, OpenError> {
        let open = open_error("the partition table", path);
        let writable = self.mode == Mode::ReadWrite;
        let opened = match writable {
            true => read_write(path),
            false => devio::block::open_for_reading(path),
        };
        let file = opened.map_err(&open)?;
        if writable {
            let lock = devio::partition::lock_disk(&file, live::PATIENCE);
            // It belongs to the open file, and goes when that is closed.
            std::mem::forget(lock.map_err(|error| open(io::Error::other(error)))?);
        }
        Ok(Box::new(FileStorage::new(file).map_err(open)?))
    }

    /// With the locks of U-Boot's own tools, for as long as a handle lives.
    fn open_uboot(
        &mut self,
        config: &EnvConfig,
        copy: CopyId,
    ) -> Result<Box<dyn Storage>, OpenError> {
        let locks = match self.mode {
            Mode::ReadOnly => None,
            Mode::ReadWrite => Some(self.lock(config)?),
        };
        Ok(Box::new(UBootCopy::open(config, copy, locks)?))
    }

    fn lock(&mut self, config: &EnvConfig) -> Result<Arc<Locks>, OpenError> {
        if let Some(held) = self.locks.upgrade() {
            return Ok(held);
        }
        let files = match self.is_test_rig() {
            true => Vec::new(),
            false => LockPaths::files(None, config.lockfile.as_deref()),
        };
        let nodes = config.copies().map(|copy| copy.path.clone()).collect();
        let locks = Locks::acquire(&LockPaths { files, nodes }, LOCK_WAIT);
        let locks = Arc::new(locks.map_err(OpenError::Locked)?);
        self.locks = Arc::downgrade(&locks);
        Ok(locks)
    }

    fn open_grub(&self, path: &Path) -> Result<Box<dyn Storage>, OpenError> {
        if self.mode == Mode::ReadOnly {
            let open = open_error("reading the boot environment", path);
            let file = devio::block::open_for_reading(path).map_err(&open)?;
            return Ok(Box::new(FileStorage::new(file).map_err(open)?));
        }
        let environment = |source| OpenError::Environment {
            path: path.to_owned(),
            source,
        };
        let placement = if self.is_test_rig() {
            Placement::Unchecked
        } else {
            Placement::Checked
        };
        let file = match EnvFile::open(path, placement) {
            Err(FileError::Unfit { findings, .. }) if only_in_memory(&findings) => {
                tracing::warn!(
                    "{} lies in memory (tmpfs): no GRUB will ever read it; going on, as for a test",
                    path.display()
                );
                EnvFile::open(path, Placement::Unchecked)
            }
            other => other,
        };
        Ok(Box::new(EnvStorage(file.map_err(environment)?)))
    }

    /// A slot that is a regular file is never booted: nothing here is for a real bootloader.
    fn is_test_rig(&self) -> bool {
        self.slots.values().any(|(path, _)| path.is_file())
    }

    fn open_record(&self, copy: RecordCopy) -> Result<FileStorage, OpenError> {
        let Some(directory) = &self.data_directory else {
            return Err(OpenError::Absent(
                "data-directory in system.conf".to_owned(),
            ));
        };
        let path = directory.join(match copy {
            RecordCopy::First => "state.0",
            RecordCopy::Second => "state.1",
        });
        let open = open_error("the record", &path);
        let file = match self.mode {
            Mode::ReadOnly if !path.exists() => {
                return Err(OpenError::Absent(path.display().to_string()));
            }
            Mode::ReadOnly => devio::block::open_for_reading(&path).map_err(&open)?,
            Mode::ReadWrite => {
                if !is_whole(&path) {
                    create_record(directory, &path).map_err(&open)?;
                }
                read_write(&path).map_err(&open)?
            }
        };
        FileStorage::new(file).map_err(open)
    }
}

impl Disks for DeviceDisks {
    fn open(&mut self, area: Area) -> Result<Box<dyn Storage>, OpenError> {
        match area {
            Area::Slot(id) => self.open_slot(id),
            Area::BootEnv(copy) => self.open_env(copy),
            Area::Record(copy) => Ok(Box::new(self.open_record(copy)?)),
        }
    }
}

fn read_write(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

fn pair_file(copy: EnvCopy) -> &'static str {
    let [first, second, counter] = grub_env::paired::FILES;
    match copy {
        EnvCopy::First => first,
        EnvCopy::Second => second,
        EnvCopy::Counter => counter,
    }
}

fn only_in_memory(findings: &[Finding]) -> bool {
    findings
        .iter()
        .all(|finding| matches!(finding, Finding::FileSystem(FsKind::Tmpfs)))
}

fn open_error(what: &str, path: &Path) -> impl Fn(io::Error) -> OpenError {
    let (what, path) = (what.to_owned(), path.to_owned());
    move |source| OpenError::Open {
        what: what.clone(),
        path: path.clone(),
        source,
    }
}

/// A file that a power cut or a full disk left too short holds no copy, and there would never be room
/// for one in it.
fn is_whole(record: &Path) -> bool {
    std::fs::metadata(record).is_ok_and(|found| found.len() >= RECORD_SIZE as u64)
}

/// Makes the file with its full size, so that later writes change no metadata that counts.
///
/// A power cut in here leaves no file, or one without a whole copy in it: both are read as "no
/// record", and made anew.
fn create_record(directory: &Path, path: &Path) -> io::Result<()> {
    create_directory(directory)?;
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).open(path)?;
    file.write_all(&[0; RECORD_SIZE])?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

/// A block device or a regular file.
pub struct FileStorage {
    file: File,
    direct: Direct,
    /// Bytes that went through the cache, either way, since it was last asked to give them up.
    cached: u64,
    len: u64,
}

impl FileStorage {
    /// Takes the length now; it never changes.
    ///
    /// # Errors
    /// When the length cannot be found out.
    pub fn new(file: File) -> io::Result<Self> {
        let len = devio::block::device_len(&file)?;
        Ok(FileStorage {
            direct: Direct::default(),
            cached: 0,
            file,
            len,
        })
    }

    /// For a disk of which much is read and written once: past the page cache where that goes. Opened for
    /// reading and writing.
    #[must_use]
    pub fn past_the_cache(self) -> Self {
        FileStorage {
            direct: Direct::beside(&self.file),
            ..self
        }
    }
}

impl Storage for FileStorage {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let done = self.direct.read(buf, offset)?;
        let rest = &mut buf[done..];
        self.cached += rest.len() as u64;
        self.file.read_exact_at(rest, offset + done as u64)
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        // A regular file would grow instead of saying that it is full.
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            let text = format!("the device ends at byte {}", self.len);
            return Err(io::Error::new(io::ErrorKind::WriteZero, text));
        }
        let done = self.direct.write(data, offset)?;
        let rest = &data[done..];
        self.cached += rest.len() as u64;
        self.file.write_all_at(rest, offset + done as u64)
    }

    fn begin_write_out(&mut self, offset: u64, len: u64) {
        if std::mem::take(&mut self.cached) == 0 {
            return;
        }
        // Whatever it says, the sync at the end writes everything out and tells of errors.
        let _ = devio::block::begin_write_out(&self.file, offset, len);
    }

    fn sync(&mut self) -> io::Result<()> {
        // Syncs first; then the next reads come from the medium.
        devio::block::drop_cache(&self.file)
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }
}

struct EnvStorage(EnvFile);

impl Storage for EnvStorage {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(offset, buf)
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(offset, data)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync().map_err(io::Error::other)
    }
}
