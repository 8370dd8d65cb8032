//! Every section and key of `system.conf`, up to RAUC 1.15 and its `[polling]`, and some of our own:
//! `install-failed`, `gpt-disk`, `tryboot-config`.

use bundle_format::keyfile::{KeyFile, Section};

use super::ConfigError;
use crate::config::spelling::nearest;

/// `name` ends with a dot where the section's name goes on: `[slot.rootfs.0]`.
struct Known {
    name: &'static str,
    keys: &'static [&'static str],
}

const SECTIONS: [Known; 11] = [
    Known {
        name: "system",
        keys: &[
            "compatible",
            "bootloader",
            "bundle-formats",
            "min-bundle-version",
            "mountprefix",
            "grubenv",
            "barebox-statename",
            "barebox-dtbpath",
            "boot-attempts",
            "boot-attempts-primary",
            "efi-use-bootnext",
            "gpt-disk",
            "tryboot-config",
            "systemd-boot-entries",
            "activate-installed",
            "prevent-late-fallback",
            "statusfile",
            "data-directory",
            "max-bundle-download-size",
            "max-bundle-signature-size",
            "variant-name",
            "variant-file",
            "variant-dtb",
            "perform-pre-check",
        ],
    },
    Known {
        name: "keyring",
        keys: &[
            "path",
            "directory",
            "check-crl",
            "allow-partial-chain",
            "use-bundle-signing-time",
            "check-purpose",
            "allowed-signer-cns",
        ],
    },
    Known {
        name: "casync",
        keys: &["storepath", "tmppath", "install-args", "use-desync"],
    },
    Known {
        name: "encryption",
        keys: &["key", "cert"],
    },
    Known {
        name: "autoinstall",
        keys: &["path"],
    },
    Known {
        name: "streaming",
        keys: &[
            "sandbox-user",
            "tls-cert",
            "tls-key",
            "tls-ca",
            "send-headers",
        ],
    },
    Known {
        name: "handlers",
        keys: &[
            "system-info",
            "pre-install",
            "post-install",
            "install-failed",
            "bootloader-custom-backend",
        ],
    },
    Known {
        name: "polling",
        keys: &[
            "url",
            "interval-sec",
            "max-interval-sec",
            "inhibit-files",
            "candidate-criteria",
            "install-criteria",
            "reboot-criteria",
            "reboot-cmd",
        ],
    },
    Known {
        name: "log.",
        keys: &["filename", "format", "events", "max-size", "max-files"],
    },
    Known {
        name: "artifacts.",
        keys: &["path", "type", "description", "parent-class"],
    },
    Known {
        name: "slot.",
        keys: &[
            "device",
            "type",
            "bootname",
            "parent",
            "description",
            "allow-mounted",
            "readonly",
            "install-same",
            "force-install-same",
            "ignore-checksum",
            "extra-mount-opts",
            "extra-mkfs-opts",
            "resize",
            "region-start",
            "region-size",
            "size-limit",
            "efi-loader",
            "efi-cmdline",
        ],
    },
];

impl Known {
    fn fits(&self, section: &str) -> bool {
        match self.name.strip_suffix('.') {
            Some(_) => section.starts_with(self.name),
            None => section == self.name,
        }
    }
}

/// Checks the names of all sections and keys; values come later.
pub(super) fn check_names(keys: &KeyFile) -> Result<(), ConfigError> {
    for section in keys.sections() {
        let known = SECTIONS
            .iter()
            .find(|known| known.fits(&section.name))
            .ok_or_else(|| unknown_section(keys, section))?;
        for entry in &section.entries {
            if known.keys.contains(&entry.key.as_str()) {
                continue;
            }
            return Err(ConfigError::UnknownKey {
                place: keys.place(entry.line),
                section: section.name.clone(),
                key: entry.key.clone(),
                hint: hint_for_key(&entry.key, known),
            });
        }
    }
    Ok(())
}

fn hint_for_key(key: &str, here: &Known) -> String {
    if let Some(meant) = nearest(key, here.keys.iter().copied()) {
        return format!(". Did you mean `{meant}`?");
    }
    let elsewhere = SECTIONS.iter().find(|known| known.keys.contains(&key));
    elsewhere.map_or(String::new(), |known| {
        format!(". It belongs into [{}]", pattern(known))
    })
}

fn unknown_section(keys: &KeyFile, section: &Section) -> ConfigError {
    let hint = if section.name == "update" || section.name.starts_with("image.") {
        ". It belongs into a bundle's manifest".to_owned()
    } else {
        let (first, rest) = section.name.split_once('.').unwrap_or((&section.name, ""));
        let names = SECTIONS
            .iter()
            .map(|known| known.name.trim_end_matches('.'));
        let meant = nearest(first, names);
        meant.map_or(String::new(), |meant| match rest {
            "" => format!(". Did you mean [{meant}]?"),
            rest => format!(". Did you mean [{meant}.{rest}]?"),
        })
    };
    ConfigError::UnknownSection {
        place: keys.place(section.line),
        section: section.name.clone(),
        hint,
    }
}

fn pattern(known: &Known) -> String {
    match known.name {
        "slot." => "slot.CLASS.INDEX".to_owned(),
        name if name.ends_with('.') => format!("{name}NAME"),
        name => name.to_owned(),
    }
}
