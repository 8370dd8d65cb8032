//! Which system this is.

use anyhow::{Result, bail};

use super::{Package, names};

/// What `/etc/os-release` says about the system.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Release {
    pub id: String,
    pub codename: String,
}

impl Release {
    pub fn parse(os_release: &str) -> Self {
        let value = |key: &str| {
            os_release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(|value| value.trim_matches(['"', '\'']).to_owned())
                .unwrap_or_default()
        };
        Self {
            id: value("ID"),
            codename: value("VERSION_CODENAME"),
        }
    }

    /// Whether packages can be installed here by themselves.
    pub fn check(&self, missing: &[Package]) -> Result<()> {
        if self.id != "debian" {
            bail!(
                "this system is {:?}, and packages are installed by themselves on Debian only. \
                 Install these by hand: {}",
                self.id,
                names(missing)
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_with_and_without_quotes() {
        let release = Release::parse("ID=debian\nVERSION_CODENAME=\"trixie\"\nID_LIKE=x\n");
        assert_eq!(
            release,
            Release {
                id: "debian".into(),
                codename: "trixie".into()
            }
        );
        let error = Release::default()
            .check(&[Package::any("gcc")])
            .unwrap_err();
        assert!(error.to_string().ends_with("by hand: gcc"), "{error}");
    }
}
