//! Hardware watchdogs: a timer that restarts the machine unless somebody feeds it.
//!
//! Source: the kernel's `Documentation/watchdog/watchdog-api.rst` and
//! `include/uapi/linux/watchdog.h`.
//!
//! **Opening the device starts the timer.** Dropping a [`Watchdog`] leaves it running: the machine
//! restarts when the timeout is over, unless somebody else opens the device and feeds it. Only
//! [`Watchdog::stop`] stops it, and only where the driver and the kernel's configuration allow it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const CARD_RESET: u32 = 0x20;
pub(crate) const SET_TIMEOUT: u32 = 0x80;
pub(crate) const MAGIC_CLOSE: u32 = 0x100;
pub(crate) const PRETIMEOUT: u32 = 0x200;
pub(crate) const ALARM_ONLY: u32 = 0x400;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RawInfo {
    options: u32,
    firmware: u32,
    pub(crate) identity: [u8; 32],
}

mod raw {
    use super::RawInfo;
    use crate::request;
    use libc::c_int;

    nix::ioctl_read_bad!(get_support, request::WDIOC_GETSUPPORT, RawInfo);
    nix::ioctl_read_bad!(get_boot_status, request::WDIOC_GETBOOTSTATUS, c_int);
    nix::ioctl_none_bad!(keep_alive, request::WDIOC_KEEPALIVE);
    nix::ioctl_readwrite_bad!(set_timeout, request::WDIOC_SETTIMEOUT, c_int);
    nix::ioctl_read_bad!(get_timeout, request::WDIOC_GETTIMEOUT, c_int);
    nix::ioctl_read_bad!(get_time_left, request::WDIOC_GETTIMELEFT, c_int);
}

/// Why a watchdog could not be used. Only [`NotStopped`](WatchdogError::NotStopped) is about a
/// timer that runs although the caller wanted it not to.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// There is no such device: no driver, or the wrong name.
    #[error("there is no watchdog {}; is its driver loaded?", path.display())]
    Missing {
        /// The device node.
        path: PathBuf,
    },
    /// A watchdog has one user at a time; usually it is systemd (`RuntimeWatchdogSec=`).
    #[error("{} is in use by another program (systemd's RuntimeWatchdogSec=?)", path.display())]
    InUse {
        /// The device node.
        path: PathBuf,
    },
    /// The path is something else. Character devices were opened to find out, others were not.
    #[error("{} is not a watchdog device", path.display())]
    NotAWatchdog {
        /// The path.
        path: PathBuf,
    },
    /// The timeout is zero, longer than the hardware can, or cannot be changed.
    #[error("{} does not take a timeout of {seconds} s", path.display())]
    Timeout {
        /// The device node.
        path: PathBuf,
        /// What was asked for.
        seconds: u64,
    },
    /// The driver cannot be stopped. The timer is running, and goes on running.
    #[error("{} cannot be stopped once it runs; it must be fed", path.display())]
    NotStopped {
        /// The device node.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// The device node.
        path: PathBuf,
        /// What was being done, as a verb.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// What a driver says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The driver's name.
    pub identity: String,
    /// The card's firmware version, 0 if it has none.
    pub firmware: u32,
    options: u32,
}

impl Info {
    /// The timeout can be changed.
    #[must_use]
    pub fn sets_timeout(&self) -> bool {
        self.options & SET_TIMEOUT != 0
    }

    /// It can be stopped (unless the kernel was built with `nowayout`).
    #[must_use]
    pub fn can_stop(&self) -> bool {
        self.options & MAGIC_CLOSE != 0
    }

    /// It can warn before it bites.
    #[must_use]
    pub fn has_pretimeout(&self) -> bool {
        self.options & PRETIMEOUT != 0
    }

    /// It raises an alarm, but does **not** restart the machine.
    #[must_use]
    pub fn only_alarms(&self) -> bool {
        self.options & ALARM_ONLY != 0
    }
}

impl From<RawInfo> for Info {
    fn from(raw: RawInfo) -> Self {
        let name = raw.identity.split(|b| *b == 0).next().unwrap_or_default();
        Self {
            identity: String::from_utf8_lossy(name).into_owned(),
            firmware: raw.firmware,
            options: raw.options,
        }
    }
}

/// A running watchdog. See the module for what dropping it means.
#[derive(Debug)]
#[must_use = "the timer is running: dropped unfed, it restarts the machine"]
pub struct Watchdog {
    file: File,
    path: PathBuf,
}

impl Watchdog {
    /// Opens the device, and thereby **starts the timer** with the timeout that it has.
    ///
    /// # Errors
    /// [`WatchdogError::InUse`] and the others as named. Where the device was opened before the
    /// error was found, it is fed and closed as by [`stop`](Self::stop).
    pub fn open(path: &Path) -> Result<Self, WatchdogError> {
        let at = || path.to_owned();
        let opening = |source: io::Error| match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
                WatchdogError::Missing { path: at() }
            }
            Some(libc::EBUSY) => WatchdogError::InUse { path: at() },
            _ => WatchdogError::Io {
                path: at(),
                what: "open",
                source,
            },
        };
        // Looked at first: opening and writing to something else could do harm.
        let meta = std::fs::metadata(path).map_err(opening)?;
        if !meta.file_type().is_char_device() {
            return Err(WatchdogError::NotAWatchdog { path: at() });
        }
        let file = OpenOptions::new().write(true).open(path).map_err(opening)?;
        let watchdog = Self { file, path: at() };
        match watchdog.info() {
            Ok(_) => Ok(watchdog),
            Err(WatchdogError::Io { source, .. })
                if source.raw_os_error() == Some(libc::ENOTTY) =>
            {
                Err(WatchdogError::NotAWatchdog { path: at() })
            }
            Err(other) => {
                // It runs, and nobody would feed it. That it cannot be stopped is the lesser
                // news than the error that is told.
                let _ = watchdog.stop();
                Err(other)
            }
        }
    }

    /// The device node.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the driver says of itself.
    ///
    /// # Errors
    /// [`WatchdogError::Io`].
    pub fn info(&self) -> Result<Info, WatchdogError> {
        let mut raw = RawInfo::default();
        // SAFETY: WDIOC_GETSUPPORT writes a `struct watchdog_info`; `raw` has its layout and
        // outlives the call.
        unsafe { raw::get_support(self.file.as_raw_fd(), &raw mut raw) }
            .map_err(|e| self.io("ask for the abilities of", e))?;
        Ok(raw.into())
    }

    /// Starts the timer anew.
    ///
    /// # Errors
    /// [`WatchdogError::Io`]; the timer goes on running.
    pub fn keep_alive(&self) -> Result<(), WatchdogError> {
        // SAFETY: WDIOC_KEEPALIVE ignores its argument and touches no memory of ours.
        unsafe { raw::keep_alive(self.file.as_raw_fd()) }.map_err(|e| self.io("feed", e))?;
        Ok(())
    }

    /// Sets the timeout, in whole seconds (fractions are dropped), and starts the timer anew with
    /// it. Gives the timeout that the driver really took, which may be another.
    ///
    /// # Errors
    /// [`WatchdogError::Timeout`] if the driver cannot do it; the old timeout stays.
    pub fn set_timeout(&self, timeout: Duration) -> Result<Duration, WatchdogError> {
        let seconds = timeout.as_secs();
        let refused = || WatchdogError::Timeout {
            path: self.path.clone(),
            seconds,
        };
        let mut value = libc::c_int::try_from(seconds).map_err(|_| refused())?;
        if value == 0 {
            return Err(refused());
        }
        // SAFETY: WDIOC_SETTIMEOUT reads and writes one int; `value` is one and outlives the call.
        match unsafe { raw::set_timeout(self.file.as_raw_fd(), &raw mut value) } {
            Ok(_) => Ok(whole_seconds(value)),
            Err(nix::Error::EINVAL | nix::Error::EOPNOTSUPP | nix::Error::ENOTTY) => Err(refused()),
            Err(e) => Err(self.io("set the timeout of", e)),
        }
    }

    /// The timeout in force; `None` if the driver does not tell.
    ///
    /// # Errors
    /// [`WatchdogError::Io`].
    pub fn timeout(&self) -> Result<Option<Duration>, WatchdogError> {
        let mut value: libc::c_int = 0;
        // SAFETY: WDIOC_GETTIMEOUT writes one int; `value` is one and outlives the call.
        let done = unsafe { raw::get_timeout(self.file.as_raw_fd(), &raw mut value) };
        self.told(done, value, "ask for the timeout of")
    }

    /// Time until the machine restarts; `None` if the driver does not tell.
    ///
    /// # Errors
    /// [`WatchdogError::Io`].
    pub fn time_left(&self) -> Result<Option<Duration>, WatchdogError> {
        let mut value: libc::c_int = 0;
        // SAFETY: WDIOC_GETTIMELEFT writes one int; `value` is one and outlives the call.
        let done = unsafe { raw::get_time_left(self.file.as_raw_fd(), &raw mut value) };
        self.told(done, value, "ask for the time left of")
    }

    /// Whether the driver says that the last restart was the watchdog's doing. A driver that
    /// cannot tell says no. For people, never for a decision: a power cut clears it.
    ///
    /// # Errors
    /// [`WatchdogError::Io`].
    pub fn caused_last_restart(&self) -> Result<bool, WatchdogError> {
        let mut value: libc::c_int = 0;
        // SAFETY: WDIOC_GETBOOTSTATUS writes one int; `value` is one and outlives the call.
        match unsafe { raw::get_boot_status(self.file.as_raw_fd(), &raw mut value) } {
            Ok(_) => Ok(value.cast_unsigned() & CARD_RESET != 0),
            Err(nix::Error::ENOTTY | nix::Error::EOPNOTSUPP) => Ok(false),
            Err(e) => Err(self.io("ask for the boot status of", e)),
        }
    }

    /// Closes the device and leaves the timer running, so that another program (systemd) can take
    /// over within `timeout`: fed once more, so that it has all of it.
    ///
    /// # Errors
    /// [`WatchdogError::Io`] if it could not be fed; it is closed and runs all the same.
    pub fn hand_over(self) -> Result<(), WatchdogError> {
        self.keep_alive()
    }

    /// Stops the timer: writes the magic `V` and closes.
    ///
    /// With `nowayout` the kernel ignores the `V` and says so only in its log; `nowayout` is to
    /// be seen in [`Facts`].
    ///
    /// # Errors
    /// [`WatchdogError::NotStopped`] if the driver has no magic close: it was fed once more.
    pub fn stop(mut self) -> Result<(), WatchdogError> {
        if !self.info()?.can_stop() {
            self.keep_alive()?;
            return Err(WatchdogError::NotStopped { path: self.path });
        }
        self.file
            .write_all(b"V")
            .map_err(|source| WatchdogError::Io {
                path: self.path.clone(),
                what: "stop",
                source,
            })
    }

    fn told(
        &self,
        done: nix::Result<libc::c_int>,
        value: libc::c_int,
        what: &'static str,
    ) -> Result<Option<Duration>, WatchdogError> {
        match done {
            Ok(_) => Ok(Some(whole_seconds(value))),
            Err(nix::Error::ENOTTY | nix::Error::EOPNOTSUPP) => Ok(None),
            Err(e) => Err(self.io(what, e)),
        }
    }

    fn io(&self, what: &'static str, errno: nix::Error) -> WatchdogError {
        WatchdogError::Io {
            path: self.path.clone(),
            what,
            source: errno.into(),
        }
    }
}

fn whole_seconds(value: libc::c_int) -> Duration {
    Duration::from_secs(u64::try_from(value).unwrap_or(0))
}

/// What sysfs tells of a watchdog without opening it, and thereby without starting it
/// (`/sys/class/watchdog/watchdogN`). Attributes that the kernel does not show are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The driver's name.
    pub identity: Option<String>,
    /// Whether somebody has it running (`state`).
    pub active: Option<bool>,
    /// Whether closing cannot stop it.
    pub no_way_out: Option<bool>,
    /// The timeout in force.
    pub timeout: Option<Duration>,
    /// The longest timeout of the hardware; 0 stands for no limit there, and is `None` here.
    pub max_timeout: Option<Duration>,
    /// Time left.
    pub time_left: Option<Duration>,
    /// Whether the last restart was its doing.
    pub caused_last_restart: Option<bool>,
}

impl Facts {
    /// Reads the attributes in `directory`.
    ///
    /// # Errors
    /// Only if there is no such directory.
    pub fn read(directory: &Path) -> io::Result<Self> {
        std::fs::read_dir(directory)?;
        let text = |name: &str| {
            let text = std::fs::read_to_string(directory.join(name)).ok()?;
            Some(text.trim_end().to_owned())
        };
        let number = |name: &str| text(name)?.parse::<u64>().ok();
        let seconds = |name: &str| number(name).map(Duration::from_secs);
        Ok(Self {
            identity: text("identity"),
            active: text("state").map(|s| s == "active"),
            no_way_out: number("nowayout").map(|n| n != 0),
            timeout: seconds("timeout"),
            max_timeout: seconds("max_timeout").filter(|t| !t.is_zero()),
            time_left: seconds("timeleft"),
            caused_last_restart: number("bootstatus").map(|n| n & u64::from(CARD_RESET) != 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_watchdog_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let open = |path: &Path| Watchdog::open(path).map(|w| w.path().to_owned());
        assert!(matches!(
            open(&dir.path().join("x")),
            Err(WatchdogError::Missing { .. })
        ));
        assert!(matches!(
            open(dir.path()),
            Err(WatchdogError::NotAWatchdog { .. })
        ));
        assert!(matches!(
            open(Path::new("/dev/null")),
            Err(WatchdogError::NotAWatchdog { .. })
        ));
    }

    #[test]
    fn info_is_read_from_the_kernels_bytes() {
        let mut raw = RawInfo {
            options: 0x8180,
            firmware: 7,
            identity: [0; 32],
        };
        raw.identity[..17].copy_from_slice(b"Software Watchdog");
        let info = Info::from(raw);
        assert_eq!(
            (info.identity.as_str(), info.firmware),
            ("Software Watchdog", 7)
        );
        assert!(info.sets_timeout() && info.can_stop());
        assert!(!info.only_alarms() && !info.has_pretimeout());
        let full = Info::from(RawInfo {
            identity: [b'x'; 32],
            ..raw
        });
        assert_eq!(full.identity.len(), 32);
    }

    #[test]
    fn facts_come_from_files_and_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Facts::read(dir.path()).unwrap(), Facts::default());
        assert!(Facts::read(&dir.path().join("x")).is_err());
        for (name, text) in [
            ("identity", "i6300ESB timer\n"),
            ("state", "active\n"),
            ("nowayout", "0\n"),
            ("timeout", "30\n"),
            ("max_timeout", "0\n"),
            ("bootstatus", "32\n"),
        ] {
            let mut file = File::create(dir.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        let facts = Facts::read(dir.path()).unwrap();
        assert_eq!(facts.identity.as_deref(), Some("i6300ESB timer"));
        assert_eq!((facts.active, facts.no_way_out), (Some(true), Some(false)));
        assert_eq!(facts.timeout, Some(Duration::from_secs(30)));
        assert_eq!((facts.max_timeout, facts.time_left), (None, None));
        assert_eq!(facts.caused_last_restart, Some(true));
    }
}
