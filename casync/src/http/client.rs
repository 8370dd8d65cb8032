//! Requests, each tried as often as it may help.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use ureq::http::header::{ACCEPT_ENCODING, LOCATION, RANGE, RETRY_AFTER};
use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use super::address::Address;
use super::patience::{Patience, Wait};

/// Redirections that are followed for one request.
const REDIRECTIONS: usize = 5;

/// Asks web servers. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    patience: Patience,
    wait: Arc<dyn Wait>,
    headers: Vec<(String, String)>,
}

/// Why there is no answer that can be used. Addresses are shown without their secrets.
#[derive(Debug, Error)]
pub enum HttpError {
    /// There is no such file.
    #[error("{0} is not there")]
    NotFound(Address),
    /// The server does not want to, or a try after some time is of no use.
    #[error("{address} answers {status}")]
    Status {
        /// Of what.
        address: Address,
        /// The status.
        status: StatusCode,
    },
    /// It failed as often as it was tried.
    #[error("cannot read {address}, tried {tries} times")]
    GaveUp {
        /// What.
        address: Address,
        /// How often.
        tries: u32,
        /// What was wrong in the end.
        source: io::Error,
    },
    /// The answer is longer than what was asked for can be.
    #[error("{address} has more than {max} bytes")]
    TooLong {
        /// What.
        address: Address,
        /// The bound.
        max: u64,
    },
    /// The server does not serve parts of files.
    #[error("{0} is not served in parts: the server ignores ranges")]
    NoRanges(Address),
    /// Another part than the one that was asked for.
    #[error("{address} answers with another range: `{range}`")]
    OtherRange {
        /// Of what.
        address: Address,
        /// Its `Content-Range`.
        range: String,
    },
    /// Another file has come to stand there.
    #[error("{0} has changed while it was read")]
    Changed(Address),
    /// It leads nowhere, in a circle, or out of TLS.
    #[error("{0} is redirected too often, to nowhere, or from https to http")]
    Redirect(Address),
}

/// Whether another try may help.
pub(super) enum Failure {
    Passing(io::Error, Option<Duration>),
    Final(HttpError),
}

/// An answer with a status of success.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Client {
    /// A client that sends these headers (name and value) with every request to the server that is
    /// asked, and not to others that it redirects to.
    #[must_use]
    pub fn new(patience: Patience, wait: Arc<dyn Wait>, headers: Vec<(String, String)>) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirections are followed here, where it is known what must not go along.
            .max_redirects(0)
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.stall))
            .timeout_per_read(Some(patience.stall))
            .timeout_per_call(Some(patience.answer))
            .tls_config(tls)
            .user_agent(concat!("slotmgr/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.new_agent(),
            patience,
            wait,
            headers,
        }
    }

    /// Replaces `into` by the whole file, of `max` bytes at most.
    pub fn get(&self, address: &Address, max: u64, into: &mut Vec<u8>) -> Result<(), HttpError> {
        self.patiently(address, || {
            let answer = self.ask(address, None)?;
            if answer.status != StatusCode::OK {
                return Err(refused(address, answer.status));
            }
            into.clear();
            // One byte more than allowed shows that there are more.
            read(answer.body, max.saturating_add(1), into)?;
            if u64::try_from(into.len()).map_or(true, |len| len > max) {
                let address = address.clone();
                return Err(Failure::Final(HttpError::TooLong { address, max }));
            }
            Ok(())
        })
    }

    /// Tries until it works, is of no use, or patience ends.
    pub(super) fn patiently<T>(
        &self,
        address: &Address,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, HttpError> {
        let mut tried = 0;
        loop {
            let (source, retry_after) = match attempt() {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(source, retry_after)) => (source, retry_after),
            };
            tried += 1;
            let chance = self.wait.chance();
            match self.patience.pause(tried, retry_after, chance) {
                Some(pause) => self.wait.pause(pause),
                None => {
                    return Err(HttpError::GaveUp {
                        address: address.clone(),
                        tries: tried,
                        source,
                    });
                }
            }
        }
    }

    /// One request, for all or for a range, first and last byte.
    pub(super) fn ask(
        &self,
        address: &Address,
        range: Option<(u64, u64)>,
    ) -> Result<Answer, Failure> {
        let mut at = address.clone();
        for _ in 0..=REDIRECTIONS {
            let mut request = self
                .agent
                .get(at.whole())
                .header(ACCEPT_ENCODING, "identity");
            if let Some((first, last)) = range {
                request = request.header(RANGE, format!("bytes={first}-{last}"));
            }
            if at.same_server(address) {
                for (name, value) in &self.headers {
                    request = request.header(name, value);
                }
            }
            let response = request.call().map_err(|error| {
                // Only the kind of failure: ureq's own messages may hold the address.
                Failure::Passing(io::Error::other(without(&error.to_string(), &at)), None)
            })?;
            let (head, body) = response.into_parts();
            if !head.status.is_redirection() {
                let headers = head.headers;
                check(address, head.status, &headers)?;
                return Ok(Answer {
                    status: head.status,
                    headers,
                    body,
                });
            }
            let next = head.headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let lost = || Failure::Final(HttpError::Redirect(address.clone()));
            at = next.and_then(|to| at.follow(to)).ok_or_else(lost)?;
        }
        Err(Failure::Final(HttpError::Redirect(address.clone())))
    }
}

fn check(address: &Address, status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let address = address.clone();
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(Failure::Final(HttpError::NotFound(address)))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Err(passing(status, headers))
        }
        status if status.is_server_error() => Err(passing(status, headers)),
        status => Err(refused(&address, status)),
    }
}

pub(super) fn refused(address: &Address, status: StatusCode) -> Failure {
    let address = address.clone();
    Failure::Final(HttpError::Status { address, status })
}

/// `Retry-After` in seconds; as a date it is left to the growing pauses.
fn passing(status: StatusCode, headers: &HeaderMap) -> Failure {
    let after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let after = after.and_then(|text| text.trim().parse().ok());
    let error = io::Error::other(format!("the server answers {status}"));
    Failure::Passing(error, after.map(Duration::from_secs))
}

/// Appends up to `limit` bytes of an answer.
pub(super) fn read(mut body: Body, limit: u64, into: &mut Vec<u8>) -> Result<(), Failure> {
    let mut reader = body.as_reader().take(limit);
    let read = reader.read_to_end(into);
    read.map(|_| ())
        .map_err(|error| Failure::Passing(error, None))
}

/// A message without the address's query, should it be in there.
fn without(message: &str, address: &Address) -> String {
    message.replace(&address.whole(), &address.to_string())
}
