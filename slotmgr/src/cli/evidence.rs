//! Gathers what can tell which slot runs: what a person says, the kernel's command line, the
//! bootloader, and what is mounted.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::boot::BootEnv;
use crate::slot::{Evidence, Layout, parse_cmdline};

/// The evidence for a machine that was started with `cmdline`; paths are those of `layout`.
pub(super) fn gather(
    layout: &Layout,
    env: &dyn BootEnv,
    cmdline: &str,
    chosen: Option<String>,
) -> Evidence {
    let said = parse_cmdline(cmdline);
    // Asking may mean to run a program: only if nothing better is known.
    let better = chosen.is_some() || said.external || said.slot_parameter.is_some();
    let bootloader = match better {
        true => None,
        false => env.current(cmdline).unwrap_or_else(|error| {
            tracing::warn!("the bootloader does not tell which slot runs: {error}");
            None
        }),
    };
    let named = |name: Option<String>| name.map(|name| as_slot_device(layout, name));
    let roots = said.roots.iter().filter_map(|root| device_of(layout, root));
    Evidence {
        chosen: named(chosen),
        slot_parameter: named(said.slot_parameter),
        bootloader: named(bootloader),
        roots: roots.collect(),
        root_mounted_from: mounted(layout),
        external: said.external,
    }
}

/// A name that is a path may be another path of a slot's device.
fn as_slot_device(layout: &Layout, name: String) -> String {
    let path = Path::new(&name);
    match path
        .is_absolute()
        .then(|| device_of(layout, path))
        .flatten()
    {
        Some(device) => device.display().to_string(),
        None => name,
    }
}

/// The slot device that `path` leads to, as `system.conf` has it.
fn device_of(layout: &Layout, path: &Path) -> Option<PathBuf> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let wanted = real(path);
    let mut devices = layout.iter().map(|(_, slot)| &slot.device);
    devices.find(|device| real(device) == wanted).cloned()
}

/// The slot device that is mounted as `/`.
fn mounted(layout: &Layout) -> Option<PathBuf> {
    let root = std::fs::metadata("/").ok()?.dev();
    let mut devices = layout.iter().map(|(_, slot)| &slot.device);
    let found = devices.find(|device| {
        let number = std::fs::metadata(device).ok().map(|node| node.rdev());
        // rdev is 0 for regular files.
        number.is_some_and(|number| number != 0 && number == root)
    });
    found.cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{BootChange, BootError, BootState};
    use crate::config::SystemConf;
    use crate::storage::Disks;

    /// A bootloader that knows what it has started, or does not.
    struct Knows(Option<&'static str>);

    impl BootEnv for Knows {
        fn name(&self) -> &'static str {
            "knows"
        }

        fn read(&self, _: &mut dyn Disks) -> Result<BootState, BootError> {
            Err(BootError::ReadBack)
        }

        fn apply(&self, _: &mut dyn Disks, _: BootChange) -> Result<(), BootError> {
            Err(BootError::ReadBack)
        }

        fn current(&self, _: &str) -> Result<Option<String>, BootError> {
            match self.0 {
                Some("broken") => Err(BootError::ReadBack),
                name => Ok(name.map(str::to_owned)),
            }
        }
    }

    /// RAUC's order, with real links: what a person says, external, rauc.slot, the bootloader,
    /// root, verity's data; and by boot name, slot name, device.
    #[test]
    fn which_slot_runs() {
        let dir = tempfile::tempdir().unwrap();
        for device in ["a", "b"] {
            fs_err::write(dir.path().join(device), b"").unwrap();
        }
        std::os::unix::fs::symlink("b", dir.path().join("link")).unwrap();
        let conf = "[system]\ncompatible=x\nbootloader=grub\n\
                    [slot.rootfs.0]\ndevice=a\nbootname=A\n[slot.rootfs.1]\ndevice=link\nbootname=B\n";
        fs_err::write(dir.path().join("system.conf"), conf).unwrap();
        let layout = SystemConf::load(&dir.path().join("system.conf"))
            .unwrap()
            .layout;
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (a, b) = (path("a"), path("b"));
        type Row<'r> = (
            &'r str,
            Option<&'static str>,
            Option<&'r str>,
            Option<usize>,
        );
        // Command line, bootloader, said by a person: the index of the slot, or nothing.
        let table: [Row<'_>; 16] = [
            ("rauc.slot=B", None, None, Some(1)),
            ("rauc.slot=rootfs.1", None, None, Some(1)),
            (&format!("rauc.slot={b}"), None, None, Some(1)),
            ("rauc.slot=A", Some("B"), None, Some(0)),
            (&format!("root={a}"), Some("B"), None, Some(1)),
            (&format!("root={b}"), None, None, Some(1)),
            (&format!("root={b}"), Some("broken"), None, Some(1)),
            (
                &format!("systemd.verity_root_data={b}"),
                None,
                None,
                Some(1),
            ),
            (
                &format!("systemd.verity_root_data={b} root=/dev/mapper/x"),
                None,
                None,
                Some(1),
            ),
            (
                &format!("systemd.verity_root_data={b} root={a}"),
                None,
                None,
                Some(0),
            ),
            ("rauc.external rauc.slot=A", Some("A"), None, None),
            ("root=/dev/nfs rauc.slot=A", Some("A"), None, None),
            ("rauc.external", None, Some("A"), Some(0)),
            ("rauc.slot=A", None, Some(&b), Some(1)),
            ("rauc.slot=A", None, Some("C"), None),
            ("quiet", None, None, None),
        ];
        for (cmdline, bootloader, chosen, expected) in table {
            let chosen = chosen.map(str::to_owned);
            let evidence = gather(&layout, &Knows(bootloader), cmdline, chosen.clone());
            let found = layout
                .booted(&evidence)
                .ok()
                .and_then(|running| running.id())
                .map(|id| id.index());
            assert_eq!(found, expected, "{cmdline}, {bootloader:?}, {chosen:?}");
        }
    }
}
