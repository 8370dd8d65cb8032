//! A machine in QEMU: a PC with UEFI firmware, a virtio disk and a serial console.
//!
//! Always emulated (`-accel tcg`), so that a host with and one without KVM behave the same.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cache::remove;
use crate::console::{Console, Watcher, Wires};

/// The firmware's code, and its variables as they are when new.
const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const FIRMWARE_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The serial console is the socket that QEMU gets as its standard input.
pub const CONSOLE: [&str; 4] = [
    "-chardev",
    "socket,id=console,fd=0",
    "-serial",
    "chardev:console",
];

/// From power-on to a shell: 15 s when nothing else runs on the host.
pub const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// From power-on to the boot loader's decision: 7 s.
pub const GRUB_LIMIT: Duration = Duration::from_secs(60);
/// From power-on to the boot script's decision on the ARM board: 2 s.
pub const UBOOT_LIMIT: Duration = Duration::from_secs(60);
/// A small command in the guest, or its end.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(40);

/// What a machine is made of.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The folder for the firmware's variables; they outlive the machine, as on a real one.
    pub dir: &'a Path,
    /// The disk image.
    pub disk: &'a Path,
    /// Where the console's output goes.
    pub log: &'a Path,
    /// The argument of `-netdev`, or no network at all.
    pub network: Option<&'a str>,
    /// Whether it has a watchdog.
    pub watchdog: Watchdog,
}

/// The watchdog of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watchdog {
    /// None.
    None,
    /// A PCI card with Intel's 6300ESB, which resets the machine.
    I6300esb,
}

/// A running machine. It loses its power when it is dropped.
pub struct Machine<'a> {
    /// Its serial console.
    pub console: Console<'a>,
    child: Child,
}

impl<'a> Machine<'a> {
    /// Turns the machine on.
    ///
    /// # Errors
    /// QEMU cannot be started, or a file is missing.
    pub fn start(setup: &Setup<'_>, watcher: Watcher<'a>) -> Result<Self> {
        Self::start_with(setup, "virtio-blk-pci,drive=disk,bootindex=0", watcher)
    }

    /// Turns the machine on; what the firmware starts is up to its variables alone. (Where QEMU is
    /// told an order of disks, the firmware of these machines makes `BootOrder` anew at each start.)
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_by_variables(setup: &Setup<'_>, watcher: Watcher<'a>) -> Result<Self> {
        Self::start_with(setup, "virtio-blk-pci,drive=disk", watcher)
    }

    fn start_with(setup: &Setup<'_>, disk: &str, watcher: Watcher<'a>) -> Result<Self> {
        let variables = setup.dir.join("firmware-variables.fd");
        if !variables.exists() {
            fs_err::copy(FIRMWARE_VARIABLES, &variables)?;
        }
        let mut command = tied("qemu-system-x86_64");
        command
            .args(["-accel", "tcg", "-M", "q35", "-cpu", "max", "-m", "512"])
            .args(["-display", "none", "-monitor", "none", "-nodefaults"])
            .args(CONSOLE)
            // The second serial port is for what commands print.
            .args(["-serial", "file:/dev/stdout"])
            .args([
                "-drive",
                &drive("if=pflash,unit=0,readonly=on", Path::new(FIRMWARE)),
            ])
            .args(["-drive", &drive("if=pflash,unit=1", &variables)])
            .args(["-drive", &drive("if=none,id=disk", setup.disk)])
            .args(["-device", disk]);
        if let Some(network) = setup.network {
            // Without its option ROM: nothing boots from the network here.
            command.args([
                "-netdev",
                network,
                "-device",
                "virtio-net-pci,netdev=n0,romfile=",
            ]);
        }
        if setup.watchdog == Watchdog::I6300esb {
            command.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
        }
        Self::run(&mut command, setup.log, watcher)
    }

    /// Starts QEMU as `command` says, with [`CONSOLE`] among its arguments.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(command: &mut Command, log: &Path, watcher: Watcher<'a>) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("a line for the console")?;
        let mut child = command
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?;
        // The command still has QEMU's end of the console: we would never see that QEMU ends.
        command.stdin(Stdio::null());
        let wires = Wires {
            console: ours,
            answers: child.stdout.take().context("QEMU has no output")?,
            answers_in_guest: "/dev/ttyS1",
        };
        let console = Console::new(wires, log, watcher)?;
        Ok(Self { console, child })
    }

    /// Types `poweroff` at the shell and waits until the machine is off.
    ///
    /// # Errors
    /// It does not turn itself off in time.
    pub fn power_off(mut self) -> Result<()> {
        self.console
            .send("umount /boot/efi; umount /data; sync; poweroff -f")?;
        self.console.wait_end(COMMAND_LIMIT)?;
        self.child.wait().context("waiting for QEMU")?;
        Ok(())
    }

    /// Takes the power away at once. What the machine had written before is on its disk.
    ///
    /// # Errors
    /// QEMU cannot be ended.
    pub fn cut_power(mut self) -> Result<()> {
        self.child.kill().context("ending QEMU")?;
        self.child.wait().context("waiting for QEMU")?;
        Ok(())
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command whose process the kernel kills when we end, in whatever way: Ctrl-C, a panic, a
/// SIGKILL. To be started from a thread that lives as long as the process may.
#[must_use]
pub fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Makes the folder `dir` for a machine that has never run.
///
/// # Errors
/// It cannot be made.
pub fn new_dir(dir: &Path) -> Result<PathBuf> {
    remove(dir)?;
    fs_err::create_dir_all(dir)?;
    Ok(dir.to_owned())
}

/// The argument of `-drive` for a raw image.
pub(crate) fn drive(options: &str, file: &Path) -> String {
    format!(
        "{options},format=raw,file={}",
        escaped(&file.to_string_lossy())
    )
}

/// A value as QEMU's option parser wants it.
pub(crate) fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_paths_are_doubled() {
        let argument = drive("if=none", Path::new("/a,b/disk"));
        assert_eq!(argument, "if=none,format=raw,file=/a,,b/disk");
    }
}
