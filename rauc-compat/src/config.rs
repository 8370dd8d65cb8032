//! Whom to trust and how to open bundles: from options and from `system.conf`.

use std::path::{Path, PathBuf};

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
    mount_prefix: PathBuf,
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
        for setting in &global.confopt {
            text = setting.replace(&text);
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
            mount_prefix: global.mount.clone().unwrap_or(conf.system.mount_prefix),
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

    /// Below which directory bundles are mounted.
    pub(crate) fn mount_prefix(&self) -> &Path {
        &self.mount_prefix
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
    let certificate = certificate.as_deref();
    let key = token_key::decryption_key(key, passphrase, certificate, &environment.token)?;
    Ok(Some(key))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let size = fs_err::metadata(path)?.len();
    if size > MAX_CONF_SIZE {
        bail!("it has {size} bytes, more than {MAX_CONF_SIZE}");
    }
    Ok(fs_err::read(path)?)
}

#[cfg(test)]
mod tests {
    use slotmgr::config::Setting;

    use super::*;

    #[test]
    fn a_setting_counts_where_there_is_no_file() {
        let setting: Setting = "system:bundle-formats=verity".parse().unwrap();
        let conf = SystemConf::parse(&setting.replace(NO_CONF), "conf", Path::new("")).unwrap();
        assert_eq!(conf.system.formats, [Format::Verity]);
    }
}
