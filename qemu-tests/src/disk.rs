//! Disk images of machines: a partition table, the boot partition, two slots and a data
//! partition, made in a plain file without root rights, loop devices or mounts.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types;
use xtask::command::captured;

const MIB: u64 = 1024 * 1024;
/// Partitions begin at multiples of this many sectors (1 MiB).
const ALIGNMENT: u64 = 2048;
/// Room before the first and behind the last partition, in MiB: the two tables.
const MARGIN_MIB: u64 = 2;

/// The names of the partitions, and their sizes in MiB.
const PARTITIONS: [(&str, u64); 4] = [("esp", 40), (SLOT_A, 64), (SLOT_B, 64), ("data", 64)];
const ESP: &str = "esp";
const DATA: &str = "data";

/// The partition of slot A.
pub const SLOT_A: &str = "rootfs.A";
/// The partition of slot B.
pub const SLOT_B: &str = "rootfs.B";
/// Where the environment block lies on the boot partition.
pub const GRUBENV: &str = "grub/grubenv";

/// What a new disk holds.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The files of the boot partition.
    pub esp: &'a [(&'a str, &'a [u8])],
    /// The image in slot A.
    pub slot_a: Option<&'a Path>,
    /// The image in slot B.
    pub slot_b: Option<&'a Path>,
}

/// A disk image in a file.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The file.
    pub path: PathBuf,
}

impl Disk {
    /// Makes a disk at `path`, in place of whatever was there.
    ///
    /// # Errors
    /// It cannot be written, or an image does not fit in its slot.
    pub fn create(path: &Path, contents: &Contents<'_>) -> Result<Self> {
        write_table(path).with_context(|| format!("partitioning {}", path.display()))?;
        let disk = Self {
            path: path.to_owned(),
        };
        disk.format(ESP, contents.esp)?;
        for (slot, image) in [(SLOT_A, contents.slot_a), (SLOT_B, contents.slot_b)] {
            if let Some(image) = image {
                disk.write_slot(slot, image)?;
            }
        }
        let data = disk.partition(DATA)?;
        let bytes = data.end - data.start;
        captured(
            Command::new("mke2fs")
                .args(["-q", "-F", "-t", "ext4", "-L", "data", "-E"])
                .arg(format!("offset={}", data.start))
                .arg(path)
                .arg(format!("{}k", bytes / 1024)),
        )?;
        Ok(disk)
    }

    /// The disk again, in another file.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn copy_to(&self, path: &Path) -> Result<Self> {
        fs_err::copy(&self.path, path)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Writes `image` to the beginning of a slot.
    ///
    /// # Errors
    /// It does not fit, or cannot be written.
    pub fn write_slot(&self, slot: &str, image: &Path) -> Result<()> {
        let mut window = self.window(slot)?;
        let mut image_file = fs_err::File::open(image)?;
        io::copy(&mut image_file, &mut window)
            .with_context(|| format!("writing {} to {slot}", image.display()))?;
        Ok(())
    }

    /// Overwrites the first 4 KiB of a slot, so that no file system is found there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn wipe_slot(&self, slot: &str) -> Result<()> {
        Ok(self.window(slot)?.write_all(&[0; 4096])?)
    }

    /// Reads a file of the boot partition.
    ///
    /// # Errors
    /// It is not there, or the file system is damaged.
    pub fn read_esp(&self, name: &str) -> Result<Vec<u8>> {
        let esp = FileSystem::new(self.window(ESP)?, FsOptions::new())?;
        let mut file = esp
            .root_dir()
            .open_file(name)
            .with_context(|| format!("ESP: {name}"))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(content)
    }

    /// Overwrites a file of the boot partition, or adds it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_esp(&self, name: &str, content: &[u8]) -> Result<()> {
        let esp = FileSystem::new(self.window(ESP)?, FsOptions::new())?;
        write_file(&esp, name, content)?;
        Ok(esp.unmount()?)
    }

    /// Makes a FAT file system with `files` of a partition: one that firmware starts programs from.
    ///
    /// # Errors
    /// They do not fit, or cannot be written.
    pub fn format(&self, partition: &str, files: &[(&str, &[u8])]) -> Result<()> {
        let mut window = self.window(partition)?;
        let options = FormatVolumeOptions::new().volume_label(*b"ESP        ");
        let what = || format!("formatting the partition {partition}");
        fatfs::format_volume(&mut window, options).with_context(what)?;
        window.rewind()?;
        let volume = FileSystem::new(window, FsOptions::new())?;
        for (name, content) in files {
            write_file(&volume, name, content)?;
        }
        Ok(volume.unmount()?)
    }

    /// The bytes of the disk that a partition takes.
    fn partition(&self, name: &str) -> Result<Range<u64>> {
        let table = gpt::GptConfig::new()
            .open(&self.path)
            .with_context(|| format!("reading the partition table of {}", self.path.display()))?;
        let partition = table
            .partitions()
            .values()
            .find(|partition| partition.name == name)
            .ok_or_else(|| anyhow!("{} has no partition {name}", self.path.display()))?;
        let start = partition.bytes_start(LogicalBlockSize::Lb512)?;
        Ok(start..start + partition.bytes_len(LogicalBlockSize::Lb512)?)
    }

    fn window(&self, name: &str) -> Result<Window> {
        let range = self.partition(name)?;
        let file = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)?;
        Ok(Window {
            file,
            range,
            position: 0,
        })
    }
}

/// Writes an empty disk with its partition table.
fn write_table(path: &Path) -> Result<()> {
    let size = PARTITIONS.iter().map(|(_, mib)| mib).sum::<u64>() + 2 * MARGIN_MIB;
    let file = fs_err::OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)?;
    file.set_len(size * MIB)?;
    let mut file = file.into_file();
    let sectors = u32::try_from(size * MIB / 512 - 1).context("the disk is too large")?;
    ProtectiveMBR::with_lb_size(sectors).overwrite_lba0(&mut file)?;
    let mut table = gpt::GptConfig::new()
        .writable(true)
        .create_from_device(file, None)?;
    for (name, mib) in PARTITIONS {
        let kind = if name == ESP {
            partition_types::EFI
        } else {
            partition_types::LINUX_FS
        };
        table.add_partition(name, mib * MIB, kind, 0, Some(ALIGNMENT))?;
    }
    table.write()?;
    Ok(())
}

/// Writes a file, and the folders on the way to it. A file that exists is overwritten where it
/// lies.
fn write_file(esp: &FileSystem<Window>, name: &str, content: &[u8]) -> Result<()> {
    let mut path = String::new();
    for folder in name
        .split('/')
        .rev()
        .skip(1)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        path.push_str(folder);
        esp.root_dir().create_dir(&path)?;
        path.push('/');
    }
    let mut file = esp.root_dir().create_file(name)?;
    file.write_all(content)?;
    file.truncate()?;
    Ok(file.flush()?)
}

/// A range of a file that looks like a file of its own.
struct Window {
    file: fs_err::File,
    range: Range<u64>,
    position: u64,
}

impl Window {
    /// How many bytes of a buffer lie within the window, with the file at the right place.
    fn at_position(&mut self, wanted: usize) -> io::Result<usize> {
        let left = (self.range.end - self.range.start).saturating_sub(self.position);
        self.file
            .seek(SeekFrom::Start(self.range.start + self.position))?;
        Ok(usize::try_from(left).unwrap_or(usize::MAX).min(wanted))
    }

    fn advance(&mut self, count: usize) -> io::Result<usize> {
        self.position += u64::try_from(count).map_err(io::Error::other)?;
        Ok(count)
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.at_position(buffer.len())?;
        let count = self.file.read(&mut buffer[..count])?;
        self.advance(count)
    }
}

impl Write for Window {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.at_position(buffer.len())?;
        let count = self.file.write(&buffer[..count])?;
        self.advance(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let length = self.range.end - self.range.start;
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with its peers' opinion: gdisk, mtools and e2fsck find nothing to complain about.
    #[test]
    fn peers_accept_the_disk() {
        let dir = std::env::temp_dir().join(format!("slotmgr-disk-{}", std::process::id()));
        fs_err::create_dir_all(&dir).unwrap();
        let image = dir.join("image");
        fs_err::write(&image, b"slot content").unwrap();
        let esp: [(&str, &[u8]); 2] = [
            ("EFI/BOOT/BOOTX64.EFI", &[7; 100_000]),
            (GRUBENV, &[b'#'; 1024]),
        ];
        let contents = Contents {
            esp: &esp,
            slot_a: Some(&image),
            slot_b: None,
        };
        let disk = Disk::create(&dir.join("disk"), &contents).unwrap();

        let verdict = captured(Command::new("sgdisk").arg("-v").arg(&disk.path)).unwrap();
        assert!(verdict.contains("No problems found"), "{verdict}");
        let esp_start = disk.partition(ESP).unwrap().start;
        let mtools = format!("{}@@{esp_start}", disk.path.display());
        let env = captured(Command::new("mtype").args(["-i", &mtools, "::/grub/grubenv"])).unwrap();
        assert_eq!(env, "#".repeat(1024));
        let data = disk.partition(DATA).unwrap();
        let check = format!("{}?offset={}", disk.path.display(), data.start);
        captured(Command::new("e2fsck").args(["-fn", &check])).unwrap();

        disk.write_esp(GRUBENV, &[b'x'; 1024]).unwrap();
        assert_eq!(disk.read_esp(GRUBENV).unwrap(), [b'x'; 1024]);
        assert_eq!(disk.read_esp("EFI/BOOT/BOOTX64.EFI").unwrap(), [7; 100_000]);
        let mut slot = [0; 12];
        disk.window(SLOT_A).unwrap().read_exact(&mut slot).unwrap();
        assert_eq!(&slot, b"slot content");
        fs_err::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn an_image_larger_than_its_slot_is_an_error() {
        let dir = std::env::temp_dir().join(format!("slotmgr-large-{}", std::process::id()));
        fs_err::create_dir_all(&dir).unwrap();
        let image = dir.join("image");
        fs_err::File::create(&image)
            .unwrap()
            .set_len(65 * MIB)
            .unwrap();
        let contents = Contents {
            esp: &[],
            slot_a: Some(&image),
            slot_b: None,
        };
        let error = Disk::create(&dir.join("disk"), &contents).unwrap_err();
        fs_err::remove_dir_all(&dir).unwrap();
        assert!(error.to_string().contains("rootfs.A"), "{error}");
    }
}
