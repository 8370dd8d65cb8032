//! Why there is no answer, and whether another try may help.

use std::io;
use std::time::Duration;

use thiserror::Error;
use ureq::http::StatusCode;

use super::address::Address;
#[cfg(feature = "held-key")]
use super::held::Handshake;

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
    /// No secure connection, for a reason that does not pass.
    #[error("no secure connection for {address}")]
    Tls {
        /// For what.
        address: Address,
        /// What the TLS library says.
        source: io::Error,
    },
    /// It leads nowhere, in a circle, or out of TLS.
    #[error("{0} is redirected too often, to nowhere, or from https to http")]
    Redirect(Address),
    /// [`super::Client::stop`] was called.
    #[error("{0} is not read any further: it was asked to stop")]
    Stopped(Address),
}

/// Whether another try may help.
pub(super) enum Failure {
    /// Perhaps; the server may have said when.
    Passing(io::Error, Option<Duration>),
    /// The connection ended too early. Once, another one is tried at once.
    Lost(io::Error),
    /// The same, and a good part of what is wanted had come, which is not asked for again: this was no
    /// failed try.
    Cut,
    Final(HttpError),
}

/// What a request that brought no answer failed by.
pub(super) fn no_answer(error: &ureq::Error, address: &Address) -> Failure {
    // Only the kind of failure: ureq's own messages may hold the address.
    let message = match error {
        // Without "other: " before it.
        ureq::Error::Other(other) => other.to_string(),
        error => error.to_string(),
    };
    let source = io::Error::other(without(&message, address));
    match error {
        error if is_final(error) => Failure::Final(HttpError::Tls {
            address: address.clone(),
            source,
        }),
        ureq::Error::Io(error) if is_lost(error) => Failure::Lost(source),
        _ => Failure::Passing(source, None),
    }
}

/// Whether there was a connection, and the server has closed it without an answer.
fn is_lost(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Whether no secure connection can come about.
fn is_final(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::NativeTls(_) | ureq::Error::Tls(_) => true,
        #[cfg(feature = "held-key")]
        ureq::Error::Other(other) => other.is::<Handshake>(),
        _ => false,
    }
}

pub(super) fn refused(address: &Address, status: StatusCode) -> Failure {
    let address = address.clone();
    Failure::Final(HttpError::Status { address, status })
}

/// A message without the address's query, should it be in there.
fn without(message: &str, address: &Address) -> String {
    message.replace(&address.whole(), &address.to_string())
}
