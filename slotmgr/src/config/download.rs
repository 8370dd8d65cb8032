//! `[download]` of `slotmgr.toml`.

use std::num::NonZeroU64;

use serde::Deserialize;

/// How much is fetched from web servers, and how fast.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DownloadConfig {
    /// Bytes per second at most.
    pub rate: Option<NonZeroU64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct RawDownload {
    max_kib_per_second: u64,
}

/// Largest limit that is understood: nobody limits to more.
const FASTEST_KIB: u64 = 100 << 20;

pub(super) fn settings(raw: &RawDownload) -> Result<DownloadConfig, String> {
    let kib = raw.max_kib_per_second;
    if kib > FASTEST_KIB {
        return Err(format!(
            "[download] max-kib-per-second = {kib} is not 0 to {FASTEST_KIB}"
        ));
    }
    Ok(DownloadConfig {
        rate: NonZeroU64::new(kib * 1024),
    })
}
