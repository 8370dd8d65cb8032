//! How this machine asks web servers for bundles and chunks.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::Result;
use bundle_format::ReadAt;
use casync::http::{Address, Client, Header, HttpFile, Proxy};
use token_key::TokenAccess;

use super::machine_facts::MachineFacts;
use super::session::{Session, Surroundings};
use crate::config::InfoHeader;
use crate::program::Stop;
use crate::service::Origin;
use crate::source::{Access, HttpReader, info_headers};

/// A client with the settings of this machine and this call.
#[derive(Clone)]
pub(crate) struct Remote {
    client: Client,
    rate: Option<NonZeroU64>,
}

/// Bytes by which it is told how fast a server is, and the time after which fewer have to do.
const SAMPLE: u64 = 8 << 20;
const SAMPLED: Duration = Duration::from_secs(1);
/// As many are read at once.
const PIECE: usize = 64 << 10;

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

    /// How long it takes to fetch `bytes`, by the limit that is set or, if there is none, by how fast the
    /// beginning of `bundle` comes now; `None` if it does not.
    pub fn seconds(&self, bytes: u64, bundle: &Address, stop: &Stop) -> Option<u64> {
        if bytes == 0 {
            return Some(0);
        }
        let limit = self.rate.map(u64::from);
        bytes.checked_div(limit.or_else(|| self.measured(bundle, stop))?)
    }

    /// Bytes in a second, fetched as an installation fetches them: in parts ahead of each other. The few
    /// small requests that opened the bundle would tell of the way to the server, and not how wide it is.
    fn measured(&self, bundle: &Address, stop: &Stop) -> Option<u64> {
        let file = HttpFile::open(self.client.clone(), bundle.clone()).ok()?;
        let reader = HttpReader::new(file, stop.clone());
        let (begin, mut at, mut piece) = (Instant::now(), 0, vec![0; PIECE]);
        let whole = 0..reader.len();
        reader.expect(std::slice::from_ref(&whole));
        while at < reader.len().min(SAMPLE) && begin.elapsed() < SAMPLED {
            let left = usize::try_from(reader.len() - at).unwrap_or(PIECE);
            let piece = &mut piece[..left.min(PIECE)];
            reader.read_exact_at(piece, at).ok()?;
            at += piece.len() as u64;
        }
        let micros = u64::try_from(begin.elapsed().as_micros()).ok()?;
        at.saturating_mul(1_000_000).checked_div(micros)
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
