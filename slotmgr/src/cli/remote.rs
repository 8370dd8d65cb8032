//! How this machine asks web servers for bundles and chunks.

use std::num::NonZeroU64;

use anyhow::Result;
use casync::http::{Address, Client, Header, HttpFile, Proxy};
use token_key::TokenAccess;

use super::machine_facts::MachineFacts;
use super::session::{Session, Surroundings};
use crate::config::InfoHeader;
use crate::program::Stop;
use crate::service::Origin;
use crate::source::{Access, info_headers};

/// A client with the settings of this machine and this call.
#[derive(Clone)]
pub(crate) struct Remote {
    client: Client,
    rate: Option<NonZeroU64>,
}

/// Bytes of which it can be told how fast they came.
const SAMPLE: u64 = 64 * 1024;

impl Remote {
    /// `stop` ends what it is waiting for.
    pub fn new(
        session: &Session,
        (asked, token): (&Origin, &TokenAccess),
        stop: &Stop,
    ) -> Result<Remote> {
        let access = Access {
            asked,
            streaming: &session.conf.streaming,
            rate: session.own.download.rate,
            proxy: Proxy::try_from_env(),
            token,
        };
        let client = access.client()?;
        let waiting = client.clone();
        stop.also(move || waiting.stop());
        Ok(Remote {
            client,
            rate: access.rate,
        })
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How long it takes to fetch `bytes`, by the limit that is set or, if there is none, by what all
    /// that came until now took; `None` if that was too little to tell.
    pub fn seconds(&self, bytes: u64) -> Option<u64> {
        let (sample, took) = (self.client.received(), self.client.asking());
        let by_sample = || {
            let micros = u64::try_from(took.as_micros()).ok().filter(|us| *us > 0)?;
            (sample >= SAMPLE).then(|| sample.saturating_mul(1_000_000) / micros)
        };
        let rate = self.rate.map(u64::from).or_else(by_sample)?;
        bytes.checked_div(rate)
    }

    /// Opens a bundle: the first request tells the server who asks.
    pub fn bundle(&self, address: &Address, told: &[Header]) -> Result<HttpFile> {
        let client = self.client.clone();
        Ok(HttpFile::open_telling(client, address.clone(), told)?)
    }
}

/// What this machine tells of itself.
pub(super) fn told(session: &Session, around: &Surroundings, stop: &Stop) -> Result<Vec<Header>> {
    let wanted = &session.conf.streaming.send_headers;
    if wanted.is_empty() && session.conf.handlers.system_info.is_none() {
        return Ok(Vec::new());
    }
    let facts = MachineFacts::gather(&session.conf, &session.path, stop)?;
    let fact = |name: &str| {
        let mut told = facts.told.iter();
        told.find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    };
    let file = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        text.split_whitespace().next().map(str::to_owned)
    };
    Ok(info_headers(wanted, &facts.told, &|info| match info {
        InfoHeader::BootId => Some(around.boot_id.clone()),
        InfoHeader::MachineId => file("/etc/machine-id"),
        InfoHeader::SystemVersion => fact("RAUC_SYSTEM_VERSION"),
        InfoHeader::Serial => fact("RAUC_SYSTEM_SERIAL"),
        InfoHeader::Variant => facts.variant.clone(),
        InfoHeader::TransactionId => Some(around.transaction.clone()),
        InfoHeader::Uptime => file("/proc/uptime"),
    }))
}
