//! What the kernel tells about the system that runs.

use std::fmt;
use std::path::PathBuf;

/// Everything that can tell which slot runs. The caller gathers it; nothing here looks by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What a person said (`--override-boot-slot`); beats the command line. As the next two it is a
    /// boot name, the name of a slot, or its device as `system.conf` has it.
    pub chosen: Option<String>,
    /// `rauc.slot=` of the kernel command line.
    pub slot_parameter: Option<String>,
    /// What the bootloader itself says that it has started.
    pub bootloader: Option<String>,
    /// `root=` and then `systemd.verity_root_data=`, as paths of slots' devices in `system.conf`.
    pub roots: Vec<PathBuf>,
    /// The slot device that the kernel has mounted as `/`, in the same form.
    pub root_mounted_from: Option<PathBuf>,
    /// `rauc.external`, or the root is on NFS.
    pub external: bool,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "not given".into());
        if let Some(chosen) = &self.chosen {
            return write!(f, "no slot is called `{chosen}`");
        }
        write!(f, "rauc.slot is {}", said(&self.slot_parameter))?;
        write!(f, ", the bootloader says {}", said(&self.bootloader))?;
        match self.roots.first() {
            Some(device) => write!(f, ", root is {}", device.display()),
            None => f.write_str(", root= names no configured slot"),
        }
    }
}

/// The parts of the kernel command line that tell which slot runs.
///
/// `roots` are values as paths below `/dev`: `PARTLABEL=x` becomes `/dev/disk/by-partlabel/x`, and so
/// on; the caller resolves links.
#[must_use]
pub fn parse_cmdline(cmdline: &str) -> Evidence {
    let mut evidence = Evidence::default();
    let (mut root, mut verity) = (None, None);
    for word in words(cmdline) {
        let (key, value) = word.split_once('=').unwrap_or((&word, ""));
        match key {
            "rauc.slot" => evidence.slot_parameter = Some(value.to_owned()),
            "rauc.external" => evidence.external = true,
            "root" if value == "/dev/nfs" => evidence.external = true,
            "root" => root = root_path(value),
            "systemd.verity_root_data" => verity = root_path(value),
            _ => {}
        }
    }
    evidence.roots = root.into_iter().chain(verity).collect();
    evidence
}

/// The value of `KEY=VALUE` on a kernel command line; the last one counts.
#[must_use]
pub fn parameter(cmdline: &str, key: &str) -> Option<String> {
    let words = words(cmdline);
    let mut pairs = words.iter().filter_map(|word| word.split_once('='));
    let found = pairs.rfind(|(name, _)| *name == key);
    found.map(|(_, value)| value.to_owned())
}

fn root_path(value: &str) -> Option<PathBuf> {
    let by = |kind: &str, name: &str| {
        let name = link_name(name);
        Some(PathBuf::from(format!("/dev/disk/by-{kind}/{name}")))
    };
    match value.split_once('=') {
        Some(("PARTLABEL", name)) => by("partlabel", name),
        Some(("PARTUUID", name)) => by("partuuid", &name.to_lowercase()),
        Some(("UUID", name)) => by("uuid", name),
        Some(("LABEL", name)) => by("label", name),
        _ if value.starts_with('/') => Some(PathBuf::from(value)),
        _ => None,
    }
}

/// A label as udev writes it into the name of a link: blanks, slashes and the like as `\xNN`.
fn link_name(label: &str) -> String {
    let mut name = String::new();
    for character in label.chars() {
        match character {
            c if c.is_ascii_alphanumeric() || !c.is_ascii() || "#+-.:=@_".contains(c) => {
                name.push(c);
            }
            c => name.push_str(&format!("\\x{:02x}", u32::from(c))),
        }
    }
    name
}

/// Splits as the kernel does: at blanks outside double quotes; the quotes go.
fn words(cmdline: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in cmdline.chars() {
        match character {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => words.push(String::new()),
            c => {
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let evidence = parse_cmdline("quiet root=PARTLABEL=rootfs.A rauc.slot=A panic=1\n");
        assert_eq!(evidence.slot_parameter.as_deref(), Some("A"));
        assert_eq!(
            evidence.roots,
            [PathBuf::from("/dev/disk/by-partlabel/rootfs.A")]
        );
        assert!(!evidence.external);
        assert!(parse_cmdline("root=/dev/nfs").external);
        assert!(parse_cmdline("rauc.external quiet").external);
        for (cmdline, expected) in [
            ("root=/dev/sda2", &["/dev/sda2"][..]),
            (
                "root=\"PARTLABEL=my root\"",
                &["/dev/disk/by-partlabel/my\\x20root"],
            ),
            ("root=LABEL=a/../b", &["/dev/disk/by-label/a\\x2f..\\x2fb"]),
            ("root=PARTUUID=AB-01", &["/dev/disk/by-partuuid/ab-01"]),
            ("root=UUID=AB-01", &["/dev/disk/by-uuid/AB-01"]),
            (
                "systemd.verity_root_data=PARTUUID=1 root=/dev/a root=/dev/b",
                &["/dev/b", "/dev/disk/by-partuuid/1"],
            ),
            ("root=254:1", &[]),
        ] {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(parse_cmdline(cmdline).roots, expected, "{cmdline}");
        }
        assert_eq!(parse_cmdline("").slot_parameter, None);
    }
}
