//! Whom to trust and how to open bundles: from options and from `system.conf`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bundle_format::cms::{CheckTime, DecryptionKey, Policy};
use bundle_format::manifest::Format;
use bundle_format::{Limits, Manifest, Trust};
use bundle_tool::cli::Environment;
use bundle_tool::open::Source;
use slotmgr::config::{Encryption, Keyring, SystemConf, find_system_conf};

use crate::arguments::Global;

/// Largest `system.conf` that is read, in bytes.
const MAX_CONF_SIZE: u64 = 1 << 20;

/// What stands for a `system.conf` where there is none: a build machine needs no slots.
const NO_CONF: &[u8] = b"[system]\ncompatible=none\nbootloader=noop\n";

/// Everything that opening and checking a bundle depends on.
pub(crate) struct Config {
    keyring: Keyring,
    formats: Vec<Format>,
    limits: Limits,
    decryption: Option<DecryptionKey>,
}

impl Config {
    /// Reads `system.conf` (if there is one), with the changes that options make to it.
    pub(crate) fn load(global: &Global, environment: &Environment) -> Result<Self> {
        let path = global
            .conf
            .clone()
            .or_else(|| find_system_conf(Path::new("/")));
        let name = path
            .as_ref()
            .map_or("--confopt".into(), |path| path.display().to_string());
        let mut text = match &path {
            Some(path) => read(path).with_context(|| format!("cannot read {name}"))?,
            None => NO_CONF.to_vec(),
        };
        for option in &global.confopt {
            text = changed(&text, option)?;
        }
        let base = path
            .as_deref()
            .and_then(Path::parent)
            .unwrap_or(Path::new(""));
        let conf = SystemConf::parse(&text, &name, base)
            .with_context(|| format!("the configuration {name} cannot be used"))?;
        let keyring = match &global.keyring {
            Some(path) => conf.keyring.with_file(path),
            None => conf.keyring,
        };
        let mut limits = Limits::default();
        if let Some(size) = conf.system.max_signature_size {
            limits.max_signature_size = size;
        }
        Ok(Self {
            keyring,
            formats: conf.system.formats,
            limits,
            decryption: decryption(&conf.encryption, global, environment)?,
        })
    }

    /// Whom to trust.
    pub(crate) fn trust(&self) -> Result<Trust> {
        match self.keyring.trust(Policy::default())? {
            Some(trust) => Ok(trust),
            None => bail!(
                "no keyring is given: use --keyring, or a system.conf with path= in [keyring]"
            ),
        }
    }

    /// Whom to trust, at any time.
    pub(crate) fn trust_at_any_time(&self) -> Result<Trust> {
        Ok(self.trust()?.with_time(CheckTime::Ignore))
    }

    /// The keyring in `file` with the other rules of `system.conf`.
    pub(crate) fn trust_of(&self, file: &Path) -> Result<Option<Trust>> {
        Ok(self.keyring.with_file(file).trust(Policy::default())?)
    }

    /// The keyring for a new bundle: `signing`, else the one for old bundles, else none.
    pub(crate) fn trust_for_new(&self, signing: Option<&Path>) -> Result<Option<Trust>> {
        match signing {
            Some(file) => self.trust_of(file),
            None => Ok(self.keyring.trust(Policy::default())?),
        }
    }

    /// The bundle at `path`, to be opened.
    pub(crate) fn source<'a>(&'a self, path: &'a Path) -> Source<'a> {
        Source {
            path,
            limits: &self.limits,
            decryption: self.decryption.as_ref(),
        }
    }

    /// What the bundle at `path` says about itself, without any check; refuses formats that
    /// `bundle-formats` excludes.
    pub(crate) fn manifest(&self, path: &Path) -> Result<Manifest> {
        let manifest = self.source(path).open()?.manifest_unverified()?;
        let format = manifest.bundle.format;
        if !self.formats.contains(&format) {
            bail!(
                "bundle-formats in the configuration excludes the format {}",
                format.name()
            );
        }
        Ok(manifest)
    }
}

/// The key that opens encrypted bundles: from the options, else that of this device.
fn decryption(
    own: &Encryption,
    global: &Global,
    environment: &Environment,
) -> Result<Option<DecryptionKey>> {
    let (key, certificate) = match &global.key {
        Some(key) => (Some(key), &global.cert),
        None => (own.key.as_ref(), &own.cert),
    };
    let Some(key) = key else {
        return Ok(None);
    };
    let passphrase = environment.key_passphrase.as_deref();
    let key = DecryptionKey::from_files(key, passphrase, certificate.as_deref())?;
    Ok(Some(key))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let size = fs_err::metadata(path)?.len();
    if size > MAX_CONF_SIZE {
        bail!("it has {size} bytes, more than {MAX_CONF_SIZE}");
    }
    Ok(fs_err::read(path)?)
}

/// `conf` with one setting from `--confopt` in the place of its own.
fn changed(conf: &[u8], option: &str) -> Result<Vec<u8>> {
    let parts = option.split_once(':').and_then(|(section, rest)| {
        rest.split_once('=')
            .map(|(key, value)| (section, key, value))
    });
    let Some((section, key, value)) = parts else {
        bail!("--confopt has to be SECTION:KEY=VALUE, not '{option}'");
    };
    let text = std::str::from_utf8(conf).context("the configuration is not UTF-8 text")?;
    let mut inside = false;
    let mut changed = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.trim_end() == format!("[{section}]");
        }
        let is_replaced = inside
            && line
                .split_once('=')
                .is_some_and(|(found, _)| found.trim() == key);
        // An empty line keeps the numbers of the lines behind it.
        changed.push_str(if is_replaced { "" } else { line });
        changed.push('\n');
    }
    changed.push_str(&format!("[{section}]\n{key}={value}\n"));
    Ok(changed.into_bytes())
}

#[cfg(test)]
mod tests {
    use bundle_format::keyfile::KeyFile;

    use super::*;

    #[test]
    fn one_setting_takes_the_place_of_another() {
        let conf = b"[system]\ncompatible=a\n\n[keyring]\npath = k.pem\ncheck-crl=true\n";
        let text = changed(conf, "keyring:path=/other=1.pem").unwrap();
        let keys = KeyFile::parse(&text, "conf").unwrap();
        let mut section = keys.reader("keyring").unwrap();
        assert_eq!(
            section.string("path").unwrap().as_deref(),
            Some("/other=1.pem")
        );
        assert_eq!(section.bool("check-crl").unwrap(), Some(true));
        let text = changed(NO_CONF, "system:bundle-formats=verity").unwrap();
        let conf = SystemConf::parse(&text, "conf", Path::new("")).unwrap();
        assert_eq!(conf.system.formats, [Format::Verity]);
        for wrong in ["", "system:bundle-formats", "a=b"] {
            assert!(changed(NO_CONF, wrong).is_err(), "{wrong}");
        }
    }
}
