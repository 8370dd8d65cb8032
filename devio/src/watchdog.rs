//! The hardware watchdog: opening, timeout, feeding, stopping.
//!
//! Closing the device without [`Watchdog::stop`] leaves the timer running: a program that dies
//! does not save the machine from its reset. That is the point of it.
//!
//! Source of the request numbers: `include/uapi/linux/watchdog.h` of the kernel's user API.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const WATCHDOG: u8 = b'W';

/// The answer of WDIOC_GETSUPPORT.
#[repr(C)]
#[derive(Default)]
struct RawInfo {
    options: u32,
    firmware: u32,
    identity: [u8; 32],
}

mod raw {
    use super::{RawInfo, WATCHDOG};

    nix::ioctl_read!(wdioc_getsupport, WATCHDOG, 0, RawInfo);
    nix::ioctl_read!(wdioc_getbootstatus, WATCHDOG, 2, nix::libc::c_int);
    nix::ioctl_readwrite!(wdioc_settimeout, WATCHDOG, 6, nix::libc::c_int);
    nix::ioctl_read!(wdioc_gettimeout, WATCHDOG, 7, nix::libc::c_int);
}

/// What a watchdog can do, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    options: u32,
    /// The driver's name for it.
    pub identity: String,
}

impl Info {
    const SETTIMEOUT: u32 = 0x80;
    const MAGICCLOSE: u32 = 0x100;
    const ALARMONLY: u32 = 0x400;

    /// Its timeout can be set.
    #[must_use]
    pub fn sets_timeout(&self) -> bool {
        self.options & Self::SETTIMEOUT != 0
    }

    /// It runs on when it is closed without [`Watchdog::stop`]; one that cannot tell the
    /// difference stops at every close, so also when its program dies.
    #[must_use]
    pub fn outlives_its_program(&self) -> bool {
        self.options & Self::MAGICCLOSE != 0
    }

    /// It only raises an alarm; the machine is not reset.
    #[must_use]
    pub fn only_alarms(&self) -> bool {
        self.options & Self::ALARMONLY != 0
    }
}

/// Why a watchdog could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// EBUSY: a watchdog has one owner, and that is somebody else; mostly systemd.
    #[error("{} is held by another program", path.display())]
    InUse {
        /// The device node.
        path: PathBuf,
    },
    /// There is none, or its driver is gone.
    #[error("there is no {}", path.display())]
    Missing {
        /// The device node.
        path: PathBuf,
    },
    /// Anything else: no permission…
    #[error("cannot open {}", path.display())]
    Io {
        /// The device node.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A watchdog that is held by this program. On a real device the timer runs from the opening on.
#[derive(Debug)]
pub struct Watchdog {
    file: File,
}

impl Watchdog {
    /// Opens the device, which **starts its timer**. Programs that are started do not inherit it.
    ///
    /// # Errors
    /// As [`OpenError`] names them.
    pub fn open(path: &Path) -> Result<Watchdog, OpenError> {
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_CLOEXEC)
            .open(path);
        let path = || path.to_owned();
        match opened {
            Ok(file) => Ok(Watchdog { file }),
            Err(source) => Err(match source.raw_os_error() {
                Some(libc::EBUSY) => OpenError::InUse { path: path() },
                Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
                    OpenError::Missing { path: path() }
                }
                _ => OpenError::Io {
                    path: path(),
                    source,
                },
            }),
        }
    }

    /// What it is and can do.
    ///
    /// # Errors
    /// What the kernel says; `ENOTTY` if it is not a watchdog.
    pub fn info(&self) -> io::Result<Info> {
        let mut info = RawInfo::default();
        // SAFETY: the kernel writes one struct watchdog_info, whose layout RawInfo has, through a
        // pointer that lives for the call; the descriptor is open.
        unsafe { raw::wdioc_getsupport(self.file.as_raw_fd(), &mut info) }?;
        let end = info.identity.iter().position(|byte| *byte == 0);
        let name = &info.identity[..end.unwrap_or(info.identity.len())];
        Ok(Info {
            options: info.options,
            identity: String::from_utf8_lossy(name).into_owned(),
        })
    }

    /// The flags with which the driver explains the last reset; 0 says nothing.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn boot_status(&self) -> io::Result<i32> {
        let mut flags = 0;
        // SAFETY: the kernel writes one int through a pointer that lives for the call.
        unsafe { raw::wdioc_getbootstatus(self.file.as_raw_fd(), &mut flags) }?;
        Ok(flags)
    }

    /// Sets the timeout in seconds, and says which one it has become: hardware rounds.
    ///
    /// # Errors
    /// `EINVAL` for one that the hardware cannot do, `EOPNOTSUPP` if it cannot be set at all.
    pub fn set_timeout(&self, seconds: u32) -> io::Result<u32> {
        let mut value = i32::try_from(seconds).unwrap_or(i32::MAX);
        // SAFETY: the kernel reads and writes one int through a pointer that lives for the call.
        unsafe { raw::wdioc_settimeout(self.file.as_raw_fd(), &mut value) }?;
        u32::try_from(value).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// The timeout that holds, in seconds.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn timeout(&self) -> io::Result<u32> {
        let mut value = 0;
        // SAFETY: the kernel writes one int through a pointer that lives for the call.
        unsafe { raw::wdioc_gettimeout(self.file.as_raw_fd(), &mut value) }?;
        u32::try_from(value).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Starts the timer anew.
    ///
    /// # Errors
    /// What the kernel says; the timer runs on.
    pub fn feed(&mut self) -> io::Result<()> {
        // Every character but one feeds.
        self.file.write_all(b".")
    }

    /// Stops the timer and closes the device. With `nowayout` the kernel lets it run on.
    ///
    /// # Errors
    /// What the kernel says; the timer runs on.
    pub fn stop(mut self) -> io::Result<()> {
        self.file.write_all(b"V")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_the_device() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watchdog");
        File::create(&path).unwrap();
        let mut watchdog = Watchdog::open(&path).unwrap();
        watchdog.feed().unwrap();
        watchdog.feed().unwrap();
        watchdog.stop().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "..V");
    }

    #[test]
    fn what_is_no_watchdog_is_told_apart() {
        let missing = Watchdog::open(Path::new("/no/such/watchdog")).unwrap_err();
        assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
        let watchdog = Watchdog::open(Path::new("/dev/null")).unwrap();
        let error = watchdog.set_timeout(60).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        assert!(watchdog.info().is_err() && watchdog.timeout().is_err());
        assert!(watchdog.boot_status().is_err());
    }

    #[test]
    fn the_requests_have_the_numbers_of_the_kernel() {
        // From the header, for the architectures where _IOR is the common one.
        if cfg!(any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "arm"
        )) {
            assert_eq!(size_of::<RawInfo>(), 40);
            assert_eq!(
                nix::request_code_read!(WATCHDOG, 0, size_of::<RawInfo>()),
                0x8028_5700
            );
            assert_eq!(
                nix::request_code_readwrite!(WATCHDOG, 6, size_of::<i32>()),
                0xc004_5706
            );
        }
    }
}
