//! What the kernel tells about the system that runs.

use std::fmt;
use std::path::PathBuf;

/// Everything that can tell which slot runs. The caller gathers it; nothing here looks by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What a person said (`--override-boot-slot`); beats the command line.
    pub chosen: Option<String>,
    /// `rauc.slot=` of the kernel command line.
    pub slot_parameter: Option<String>,
    /// `root=` or `systemd.verity_root_data=`, as the path of a slot's device in `system.conf`.
    pub root_device: Option<PathBuf>,
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
        match &self.root_device {
            Some(device) => write!(f, ", root is {}", device.display()),
            None => f.write_str(", root= names no configured slot"),
        }
    }
}

/// The parts of the kernel command line that tell which slot runs.
///
/// `root_device` is the value as a path below `/dev`: `PARTLABEL=x` becomes
/// `/dev/disk/by-partlabel/x`, and so on; the caller resolves links.
#[must_use]
pub fn parse_cmdline(cmdline: &str) -> Evidence {
    let mut evidence = Evidence::default();
    for word in words(cmdline) {
        let (key, value) = word.split_once('=').unwrap_or((&word, ""));
        match key {
            "rauc.slot" => evidence.slot_parameter = Some(value.to_owned()),
            "rauc.external" => evidence.external = true,
            "root" if value == "/dev/nfs" => evidence.external = true,
            "root" | "systemd.verity_root_data" => evidence.root_device = root_path(value),
            _ => {}
        }
    }
    evidence
}

fn root_path(value: &str) -> Option<PathBuf> {
    let by = |kind: &str, name: &str| Some(PathBuf::from(format!("/dev/disk/by-{kind}/{name}")));
    match value.split_once('=') {
        Some(("PARTLABEL", name)) => by("partlabel", name),
        Some(("PARTUUID", name)) => by("partuuid", &name.to_lowercase()),
        Some(("UUID", name)) => by("uuid", name),
        Some(("LABEL", name)) => by("label", name),
        _ if value.starts_with('/') => Some(PathBuf::from(value)),
        _ => None,
    }
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
            evidence.root_device,
            Some("/dev/disk/by-partlabel/rootfs.A".into())
        );
        assert!(!evidence.external);
        assert!(parse_cmdline("root=/dev/nfs").external);
        assert!(parse_cmdline("rauc.external quiet").external);
        assert_eq!(
            parse_cmdline("root=/dev/sda2").root_device,
            Some("/dev/sda2".into())
        );
        assert_eq!(
            parse_cmdline("root=\"PARTLABEL=my root\"").root_device,
            Some("/dev/disk/by-partlabel/my root".into())
        );
        assert_eq!(
            parse_cmdline("root=PARTUUID=AB-01").root_device,
            Some("/dev/disk/by-partuuid/ab-01".into())
        );
        assert_eq!(parse_cmdline("").slot_parameter, None);
    }
}
