//! The Raspberry Pi's firmware: `autoboot.txt` and `tryboot` (`bootloader=tryboot`, which RAUC does
//! not have).
//!
//! ```text
//! [all]
//! tryboot_a_b=1
//! boot_partition=2
//! [tryboot]
//! boot_partition=3
//! ```
//!
//! The firmware starts the partition of `[all]`, and once, if the restart asked for it with the
//! flag `tryboot`, the one of `[tryboot]`. The boot name of a slot is its partition's number, one
//! digit. *Condemn* has nothing to write: a slot in `[tryboot]` is not started by itself. *Arm* asks
//! for the flag at the next restart (`/run/systemd/reboot-param`): it is gone if the power fails
//! first, and the old system starts. *Confirm* exchanges the two digits: one write of one sector,
//! in place, so that the file never changes its size or its place.
//!
//! There is one try, whatever is configured. What the firmware has started stands in the device
//! tree (`/proc/device-tree/chosen/bootloader/`).
//!
//! Source: Raspberry Pi documentation, "autoboot.txt" and "Fail-safe OS updates (tryboot)".

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::names::Names;
use super::{BootChange, BootEnv, BootError, BootState, ChangeKind, Standing};
use crate::slot::Layout;
use crate::storage::{Area, Disks, EnvCopy, SECTOR, Storage, read_all};

/// Largest `autoboot.txt`, in bytes: the firmware reads no more, and it is one sector.
const MAX_CONFIG: u64 = SECTOR as u64;

/// What the restart has to be told: partition 0 means "as autoboot.txt says".
const PARAMETER: &str = "0 tryboot";

/// Where the firmware tells of itself, and where the restart is told.
#[derive(Debug, Clone)]
pub struct FirmwareFiles {
    /// Four bytes, big-endian: 1 if the flag was set.
    pub tryboot: PathBuf,
    /// Four bytes, big-endian: the partition that was started.
    pub partition: PathBuf,
    /// Read by systemd when it restarts the machine.
    pub reboot_parameter: PathBuf,
}

impl Default for FirmwareFiles {
    fn default() -> Self {
        FirmwareFiles {
            tryboot: "/proc/device-tree/chosen/bootloader/tryboot".into(),
            partition: "/proc/device-tree/chosen/bootloader/partition".into(),
            reboot_parameter: "/run/systemd/reboot-param".into(),
        }
    }
}

/// The backend for `bootloader=tryboot`.
#[derive(Debug)]
pub struct Tryboot {
    names: Names,
    files: FirmwareFiles,
}

/// The file, and where the two digits are in it.
struct Config {
    text: Vec<u8>,
    all: usize,
    tryboot: usize,
}

impl Config {
    fn parse(text: Vec<u8>) -> Result<Config, &'static str> {
        let (mut section, mut all, mut tryboot, mut enabled) = (Vec::new(), None, None, false);
        for line in lines(&text) {
            let content = text.get(line.clone()).unwrap_or_default().trim_ascii();
            if content.starts_with(b"[") {
                section = content.to_vec();
            } else if let Some(value) = content.strip_prefix(b"boot_partition=") {
                let place = match section.as_slice() {
                    b"[all]" => &mut all,
                    b"[tryboot]" => &mut tryboot,
                    _ => {
                        return Err(
                            "boot_partition stands in a section other than [all] and [tryboot]",
                        );
                    }
                };
                let digit = matches!(value, [b'1'..=b'9']);
                let at = text
                    .get(line.clone())
                    .and_then(|l| l.iter().rposition(u8::is_ascii_digit));
                match at.filter(|_| digit && place.is_none()) {
                    Some(at) => *place = Some(line.start + at),
                    None => return Err("boot_partition must be one digit, once in each section"),
                }
            } else if content == b"tryboot_a_b=1" && section == b"[all]" {
                enabled = true;
            }
        }
        match (all, tryboot) {
            (Some(all), Some(tryboot)) if enabled => Ok(Config { text, all, tryboot }),
            _ => Err(
                "it needs tryboot_a_b=1 and boot_partition in [all], boot_partition in [tryboot]",
            ),
        }
    }

    fn digit(&self, at: usize) -> String {
        let digit = self.text.get(at).copied().unwrap_or_default();
        char::from(digit).to_string()
    }

    fn exchanged(&self) -> Vec<u8> {
        let mut text = self.text.clone();
        text.swap(self.all, self.tryboot);
        text
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    text.split(|byte| *byte == b'\n').map(move |line| {
        let range = start..start + line.len();
        start = range.end + 1;
        range
    })
}

impl Tryboot {
    /// For the slots of `layout` that have a boot name.
    #[must_use]
    pub fn new(layout: &Layout, files: FirmwareFiles) -> Self {
        Tryboot {
            names: Names::of(layout),
            files,
        }
    }

    fn load(disks: &mut dyn Disks) -> Result<(Box<dyn Storage>, Config), BootError> {
        let mut storage = disks
            .open(Area::BootEnv(EnvCopy::First))
            .map_err(BootError::Open)?;
        let text = read_all(storage.as_mut(), MAX_CONFIG).map_err(io_error("reading"))?;
        let config = Config::parse(text).map_err(BootError::Tryboot)?;
        Ok((storage, config))
    }

    /// The partition that the firmware started. Off a Raspberry Pi: nothing.
    fn started(&self) -> Option<String> {
        last_byte(&self.files.partition).map(|number| number.to_string())
    }

    /// The same, if it was because of the flag.
    fn trying(&self) -> Option<String> {
        let flag = last_byte(&self.files.tryboot) == Some(1);
        self.started().filter(|_| flag)
    }

    fn asked_for(&self) -> bool {
        std::fs::read_to_string(&self.files.reboot_parameter)
            .is_ok_and(|text| text.trim() == PARAMETER)
    }

    /// Volatile: what is asked for is gone when the power is.
    fn ask(&self, parameter: Option<&str>) -> Result<(), BootError> {
        let path = &self.files.reboot_parameter;
        let done = match parameter {
            Some(text) => fs_err::create_dir_all(path.parent().unwrap_or(path))
                .and_then(|()| fs_err::write(path, text)),
            None => match std::fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        done.map_err(|source| BootError::RebootParameter {
            path: path.clone(),
            source,
        })
    }

    fn exchange(storage: &mut dyn Storage, config: &Config) -> Result<(), BootError> {
        let new = config.exchanged();
        // From here on the old or the new sector is there, as a whole.
        storage.write_at(&new, 0).map_err(io_error("writing"))?;
        storage.sync().map_err(io_error("syncing"))?;
        match read_all(storage, MAX_CONFIG).map_err(io_error("reading back"))? == new {
            true => Ok(()),
            false => Err(BootError::ReadBack),
        }
    }
}

/// Of a number of the device tree, big-endian.
fn last_byte(path: &Path) -> Option<u8> {
    std::fs::read(path).ok()?.last().copied()
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> BootError {
    move |source| BootError::Io { doing, source }
}

impl BootEnv for Tryboot {
    fn name(&self) -> &'static str {
        "tryboot"
    }

    fn read(&self, disks: &mut dyn Disks) -> Result<BootState, BootError> {
        let (_, config) = Tryboot::load(disks)?;
        let (all, tryboot) = (config.digit(config.all), config.digit(config.tryboot));
        let (trying, next) = (self.trying(), self.asked_for());
        let standing = |name: &str| match name {
            name if name == all => Standing::Good,
            name if name == tryboot && next => Standing::Trial { left: 1 },
            name if name == tryboot && trying.as_deref() == Some(name) => {
                Standing::Trial { left: 0 }
            }
            _ => Standing::Bad,
        };
        let order = match next {
            true => [tryboot.as_str(), all.as_str()],
            false => [all.as_str(), tryboot.as_str()],
        };
        Ok(BootState {
            order: order
                .iter()
                .filter_map(|name| self.names.slot(name))
                .collect(),
            standings: self
                .names
                .iter()
                .map(|(id, name)| (id, standing(name)))
                .collect(),
        })
    }

    fn apply(&self, disks: &mut dyn Disks, change: BootChange) -> Result<(), BootError> {
        let Some(name) = self.names.name(change.slot()) else {
            return Ok(()); // A slot that the bootloader does not know cannot be started anyway.
        };
        let (mut storage, config) = Tryboot::load(disks)?;
        let (all, tryboot) = (config.digit(config.all), config.digit(config.tryboot));
        if name != all && name != tryboot {
            return Err(BootError::Tryboot(
                "the slot's boot name is no boot_partition of it",
            ));
        }
        match change.kind() {
            // The last word is the file's; what was asked for goes first, so that nothing is
            // started in between that is neither old nor new.
            ChangeKind::Bad if name == tryboot => self.ask(None),
            ChangeKind::Bad => {
                self.ask(None)?;
                Tryboot::exchange(storage.as_mut(), &config)
            }
            // Of the two, the one under [all] is started, always: there is no late fallback. What
            // does not run has not proved itself, and may be half written.
            ChangeKind::Good | ChangeKind::GoodAlone
                if name == tryboot && self.started().as_deref() != Some(name) =>
            {
                Err(BootError::Tryboot(
                    "it cannot call a slot good that does not run, since it would be started from \
                     then on, untried (make it active instead: it is tried once)",
                ))
            }
            ChangeKind::Good | ChangeKind::GoodAlone if name == tryboot => {
                Tryboot::exchange(storage.as_mut(), &config)?;
                self.ask(None)
            }
            ChangeKind::Good | ChangeKind::GoodAlone => Ok(()),
            ChangeKind::Next(_) | ChangeKind::Prefer(_) if name == tryboot => {
                self.ask(Some(PARAMETER))
            }
            ChangeKind::Next(_) | ChangeKind::Prefer(_) => self.ask(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n";

    #[test]
    fn the_two_digits_change_places_and_nothing_else() {
        let config = Config::parse(GOOD.into()).unwrap();
        let other = GOOD
            .replace("=2", "=x")
            .replace("=3", "=2")
            .replace("=x", "=3");
        assert_eq!(config.exchanged(), other.into_bytes());
        let dos = GOOD.replace('\n', "\r\n");
        let config = Config::parse(dos.clone().into_bytes()).unwrap();
        assert_eq!(
            (config.digit(config.all), config.digit(config.tryboot)),
            ("2".into(), "3".into())
        );
        assert_eq!(config.exchanged().len(), dos.len());
    }

    #[test]
    fn files_that_could_not_be_exchanged_in_place_are_refused() {
        for bad in [
            "",
            &GOOD.replace("tryboot_a_b=1\n", ""),
            &GOOD.replace("=3", "=13"),
            &GOOD.replace("[tryboot]\n", ""),
            &GOOD.replace("[tryboot]", "[none]"),
            &format!("{GOOD}boot_partition=4\n"),
            "boot_partition=2\n",
        ] {
            assert!(Config::parse(bad.as_bytes().to_vec()).is_err(), "{bad}");
        }
    }
}
