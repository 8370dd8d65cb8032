//! The kernel's watchdogs, and systemd as who feeds them after a trial.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use devio::watchdog::{Facts, Watchdog, WatchdogError};

use super::probe::output_of;
use super::watchdog::{Rack, Timer};
use crate::program::Stop;

/// What the kernel's own software watchdog calls itself: it does not notice a dead kernel.
const SOFTWARE: &str = "Software Watchdog";

/// Where the kernel lists them.
const CLASS: &str = "/sys/class/watchdog";

/// What systemd has open: it feeds one device, and tells nobody which one it really has.
const SYSTEMD_FILES: &str = "/proc/1/fd";

/// Before systemd is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// systemd answers at once, or it hangs.
const LIMIT: Duration = Duration::from_secs(5);

/// Those of this machine.
#[derive(Debug, Default)]
pub struct Kernel;

impl Rack for Kernel {
    fn devices(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(CLASS) else {
            return Vec::new();
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut devices: Vec<PathBuf> = names.map(|name| Path::new("/dev").join(name)).collect();
        devices.sort_by_key(|device| {
            let software = self.facts(device).identity.as_deref() == Some(SOFTWARE);
            (software, device.as_os_str().len(), device.clone())
        });
        devices
    }

    fn facts(&self, device: &Path) -> Facts {
        let name = device.file_name().unwrap_or_default();
        // Old drivers are not listed there: then nothing is known.
        Facts::read(&Path::new(CLASS).join(name)).unwrap_or_default()
    }

    fn open(&mut self, device: &Path) -> Result<Box<dyn Timer>, WatchdogError> {
        let watchdog = Watchdog::open(device)?;
        if watchdog.info().is_ok_and(|info| info.only_alarms()) {
            // Better none that is told of than one that does not restart the machine.
            watchdog.stop()?;
            return Err(WatchdogError::NotAWatchdog {
                path: device.to_owned(),
            });
        }
        Ok(Box::new(watchdog))
    }

    fn has_successor(&self) -> bool {
        systemd_runs() && !has_open(Path::new(SYSTEMD_FILES))
    }

    /// `RuntimeWatchdogUSec` of the manager: it opens its device and feeds it from then on.
    fn succeed(&mut self, timeout: Duration) -> Result<(), String> {
        let value = timeout.as_micros().to_string();
        let asked = [
            "busctl",
            "set-property",
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
            "RuntimeWatchdogUSec",
            "t",
            &value,
        ];
        // While it is asked, nobody feeds.
        match output_of(&asked, LIMIT.min(timeout / 2), &Stop::default()) {
            Some(_) => Ok(()),
            None => Err("busctl could not set RuntimeWatchdogUSec".to_owned()),
        }
    }

    fn pause(&mut self) {
        thread::sleep(PAUSE);
    }
}

/// Whether a process whose open files are listed in `files` feeds a watchdog.
fn has_open(files: &Path) -> bool {
    let entries = std::fs::read_dir(files).into_iter().flatten().flatten();
    let mut targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.any(|target| {
        let name = target.to_string_lossy();
        name.starts_with("/dev/watchdog")
    })
}

/// Whether systemd is the init of this machine.
pub(super) fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_tell_who_feeds() {
        let dir = tempfile::tempdir().unwrap();
        let link = |name: &str, target: &str| {
            fs_err::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
        };
        assert!(!has_open(&dir.path().join("none")));
        link("0", "/dev/null");
        link("1", "socket:[17]");
        assert!(!has_open(dir.path()));
        link("2", "/dev/watchdog0");
        assert!(has_open(dir.path()));
    }
}
