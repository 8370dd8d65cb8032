//! A file on a web server, read by position.

use std::io;

use ureq::http::header::{CONTENT_RANGE, ETAG, LAST_MODIFIED};
use ureq::http::{HeaderMap, StatusCode};

use super::address::Address;
use super::client::{Client, Failure, HttpError, read, refused};
use crate::blob::Blob;

/// A file on a web server. Each read is one request: ask for much at once.
pub struct HttpFile {
    client: Client,
    address: Address,
    identity: Identity,
}

/// What tells one version of a file on a server from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    len: u64,
    etag: Option<String>,
    modified: Option<String>,
}

impl HttpFile {
    /// Asks for the first byte, which tells the length.
    pub fn open(client: Client, address: Address) -> Result<Self, HttpError> {
        let mut first = Vec::new();
        let identity = range(&client, &address, (0, 0), &mut first)?;
        Ok(Self {
            client,
            address,
            identity,
        })
    }

    /// The address, for messages.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Blob for HttpFile {
    fn len(&self) -> u64 {
        self.identity.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let Some(more) = buffer.len().checked_sub(1) else {
            return Ok(());
        };
        let more = u64::try_from(more).map_err(io::Error::other)?;
        let last = offset.checked_add(more).filter(|last| *last < self.len());
        let last = last.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut bytes = Vec::with_capacity(buffer.len());
        let found = range(&self.client, &self.address, (offset, last), &mut bytes);
        if found.map_err(io::Error::other)? != self.identity {
            return Err(io::Error::other(HttpError::Changed(self.address.clone())));
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }
}

/// Replaces `into` by exactly the bytes from the first to the last; says of which file they are.
fn range(
    client: &Client,
    address: &Address,
    (first, last): (u64, u64),
    into: &mut Vec<u8>,
) -> Result<Identity, HttpError> {
    client.patiently(address, || {
        let answer = client.ask(address, Some((first, last)))?;
        match answer.status {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => return Err(Failure::Final(HttpError::NoRanges(address.clone()))),
            status => return Err(refused(address, status)),
        }
        let identity = identity(address, &answer.headers, (first, last))?;
        into.clear();
        let expected = last - first + 1;
        read(answer.body, expected, into)?;
        if u64::try_from(into.len()).ok() != Some(expected) {
            let short = format!("the answer ended after {} of {expected} bytes", into.len());
            let short = io::Error::new(io::ErrorKind::UnexpectedEof, short);
            return Err(Failure::Passing(short, None));
        }
        Ok(identity)
    })
}

fn identity(
    address: &Address,
    headers: &HeaderMap,
    asked: (u64, u64),
) -> Result<Identity, Failure> {
    let text = |name| {
        let value = headers.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let answer = text(CONTENT_RANGE).unwrap_or_default();
    match parse(&answer) {
        Some((first, last, len)) if (first, last) == asked && last < len => Ok(Identity {
            len,
            etag: text(ETAG),
            modified: text(LAST_MODIFIED),
        }),
        _ => Err(Failure::Final(HttpError::OtherRange {
            address: address.clone(),
            range: answer,
        })),
    }
}

/// `bytes 0-99/1234` as (0, 99, 1234).
fn parse(answer: &str) -> Option<(u64, u64, u64)> {
    let (range, len) = answer.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, len.parse().ok()?))
}
