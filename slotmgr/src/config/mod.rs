//! Configuration: RAUC's `system.conf`, and our own `slotmgr.toml` beside it.

mod check;
mod data;
mod download;
mod keyring;
mod setting;
mod slotmgr_toml;
mod spelling;
mod system_conf;
mod trial;

pub use check::{Action, CheckConfig, Condition};
pub use data::DataConfig;
pub(crate) use download::DELTA_CPU;
pub use download::DownloadConfig;
pub use keyring::Keyring;
pub use setting::{NoSetting, Setting};
pub use slotmgr_toml::{SlotmgrToml, TomlError, VersionFloor};
pub use system_conf::{
    Activation, Bootloader, Casync, ConfigError, Encryption, EventKind, EventLog, Handlers,
    InfoHeader, LateFallback, LogFormat, Repository, RepositoryKind, StatusPlace, Streaming,
    System, SystemConf, VariantSource,
};
pub use trial::{Afterwards, TrialConfig, WatchdogConfig, WatchdogDemand};

use std::path::{Path, PathBuf};

/// Where `system.conf` is looked for when no option says it, in this order; RAUC's places.
pub const SEARCH_PATH: [&str; 3] = [
    "/etc/rauc/system.conf",
    "/run/rauc/system.conf",
    "/usr/lib/rauc/system.conf",
];

/// The first file of [`SEARCH_PATH`] that exists below `root` (`/`).
#[must_use]
pub fn find_system_conf(root: &Path) -> Option<PathBuf> {
    SEARCH_PATH
        .iter()
        .map(|path| root.join(&path[1..]))
        .find(|path| path.exists())
}
