//! One setting of `system.conf` that an option replaces, as RAUC's `--confopt`.

use std::str::FromStr;

/// One setting, written `SECTION:KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    section: String,
    key: String,
    value: String,
}

/// The text is no setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a setting has to be SECTION:KEY=VALUE on one line, not '{0}'")]
pub struct NoSetting(String);

impl FromStr for Setting {
    type Err = NoSetting;

    fn from_str(text: &str) -> Result<Self, NoSetting> {
        let parts = text.split_once(':').and_then(|(section, rest)| {
            rest.split_once('=')
                .map(|(key, value)| (section, key, value))
        });
        match parts {
            Some((section, key, value)) if !text.contains('\n') => {
                Ok(Self::new(section, key, value))
            }
            _ => Err(NoSetting(text.to_owned())),
        }
    }
}

impl Setting {
    /// `value` for the key of the section.
    #[must_use]
    pub fn new(section: &str, key: &str, value: &str) -> Self {
        Self {
            section: section.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    /// `conf` with this setting in the place of its own. The lines keep their numbers.
    #[must_use]
    pub fn replace(&self, conf: &[u8]) -> Vec<u8> {
        let head = format!("[{}]", self.section).into_bytes();
        let mut inside = false;
        let mut changed = Vec::with_capacity(conf.len());
        for line in conf.split(|byte| *byte == b'\n') {
            if line.starts_with(b"[") {
                inside = line.trim_ascii_end() == head;
            }
            let key = line.split(|byte| *byte == b'=').next();
            let key = key.filter(|key| key.len() < line.len());
            let is_replaced =
                inside && key.is_some_and(|key| key.trim_ascii() == self.key.as_bytes());
            changed.extend_from_slice(if is_replaced { b"" } else { line });
            changed.push(b'\n');
        }
        changed.extend_from_slice(&head);
        changed.extend_from_slice(format!("\n{}={}\n", self.key, self.value).as_bytes());
        changed
    }
}

#[cfg(test)]
mod tests {
    use bundle_format::keyfile::KeyFile;

    use super::*;

    #[test]
    fn one_setting_takes_the_place_of_another() {
        let conf = b"[system]\ncompatible=a\n\n[keyring]\npath = k.pem\ncheck-crl=true";
        let setting: Setting = "keyring:path=/other=1.pem".parse().unwrap();
        let keys = KeyFile::parse(&setting.replace(conf), "conf").unwrap();
        let mut section = keys.reader("keyring").unwrap();
        let path = section.string("path").unwrap();
        assert_eq!(path.as_deref(), Some("/other=1.pem"));
        assert_eq!(section.bool("check-crl").unwrap(), Some(true));
    }

    #[test]
    fn a_section_may_be_new() {
        let setting = Setting::new("log.all", "filename", "events");
        let text = setting.replace(b"[system]\nfilename=kept\n");
        assert_eq!(
            text,
            b"[system]\nfilename=kept\n\n[log.all]\nfilename=events\n"
        );
    }

    #[test]
    fn what_is_none() {
        for wrong in ["", "system:bundle-formats", "a=b", "a:b=c\n[d]"] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
    }
}
