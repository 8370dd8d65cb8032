//! A file on a web server, read by position.

use std::io;

use ureq::http::header::{CONTENT_RANGE, ETAG, LAST_MODIFIED};
use ureq::http::{HeaderMap, StatusCode};

use super::address::Address;
use super::client::{Client, Question, pass_over};
use super::failure::{Failure, HttpError, refused};
use super::settings::Header;
use crate::blob::Blob;

/// A file on a web server. Each read is one request: ask for much at once.
pub struct HttpFile {
    client: Client,
    address: Address,
    identity: Identity,
}

/// What is asked for to learn how long a file is. Not the first byte alone: busybox's server takes a
/// range that ends at 0 for one without an end.
const BEGINNING: (u64, u64) = (0, 1);

/// Bytes of one answer after which a cut is no failed try any more: on a link that breaks every
/// minute a long file is still fetched, and a server that gives a byte at a time is not put up with.
const GOOD_PART: usize = 16 * 1024;

/// What tells one version of a file on a server from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    len: u64,
    etag: Option<String>,
    modified: Option<String>,
}

impl Identity {
    /// What `If-Range` may name: a weak `ETag` does not promise equal bytes.
    fn strong(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }
}

impl HttpFile {
    /// Asks for the beginning, which tells the length.
    pub fn open(client: Client, address: Address) -> Result<Self, HttpError> {
        Self::open_telling(client, address, &[])
    }

    /// The same; `headers` go with this first request only, and not to other servers.
    pub fn open_telling(
        client: Client,
        address: Address,
        headers: &[Header],
    ) -> Result<Self, HttpError> {
        let question = Question {
            range: Some(BEGINNING),
            headers,
            ..Question::default()
        };
        let identity = client.patiently(&address, || {
            let answer = client.ask(&address, &question)?;
            pass_over(answer.body);
            match answer.status {
                StatusCode::PARTIAL_CONTENT => identity(&address, &answer.headers, BEGINNING),
                StatusCode::OK => Err(Failure::Final(HttpError::NoRanges(address.clone()))),
                status => Err(refused(&address, status)),
            }
        })?;
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

    /// Appends the bytes from `first` to `last` to `into`, as one answer gives them. What it gave
    /// before it was cut off is there as well.
    fn part(&self, (first, last): (u64, u64), into: &mut Vec<u8>) -> Result<(), Failure> {
        let question = Question {
            range: Some((first, last)),
            version: self.identity.strong(),
            ..Question::default()
        };
        let changed = || Failure::Final(HttpError::Changed(self.address.clone()));
        let answer = self.client.ask(&self.address, &question)?;
        match answer.status {
            StatusCode::PARTIAL_CONTENT => {}
            // Told which version is wanted, a server sends all of another one.
            StatusCode::OK if text(&answer.headers, ETAG) != self.identity.etag => {
                return Err(changed());
            }
            StatusCode::OK => {
                return Err(Failure::Final(HttpError::NoRanges(self.address.clone())));
            }
            status => return Err(refused(&self.address, status)),
        }
        if identity(&self.address, &answer.headers, (first, last))? != self.identity {
            return Err(changed());
        }
        let expected = last - first + 1;
        let before = into.len();
        let read = self.client.read(answer.body, expected, into);
        let got = into.len() - before;
        let short = || {
            let short = format!("the answer ended after {got} of {expected} bytes");
            Failure::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, short))
        };
        match read {
            Ok(()) if u64::try_from(got).ok() == Some(expected) => Ok(()),
            _ if got >= GOOD_PART => Err(Failure::Cut),
            Ok(()) => Err(short()),
            Err(failure) => Err(failure),
        }
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
        // The first byte alone is asked for with the second, as in the beginning.
        let last = match last {
            0 => BEGINNING.1.min(self.len().saturating_sub(1)),
            last => last,
        };
        let mut bytes = Vec::with_capacity(buffer.len());
        let read = self.client.patiently(&self.address, || {
            let done = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            self.part((offset.saturating_add(done), last), &mut bytes)
        });
        read.map_err(io::Error::other)?;
        buffer.copy_from_slice(&bytes[..buffer.len()]);
        Ok(())
    }
}

fn text(headers: &HeaderMap, name: ureq::http::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn identity(
    address: &Address,
    headers: &HeaderMap,
    asked: (u64, u64),
) -> Result<Identity, Failure> {
    let answer = text(headers, CONTENT_RANGE).unwrap_or_default();
    match parse(&answer) {
        // A file may end before what was asked for.
        Some((first, last, len))
            if first == asked.0 && last == asked.1.min(len.saturating_sub(1)) && last < len =>
        {
            Ok(Identity {
                len,
                etag: text(headers, ETAG),
                modified: text(headers, LAST_MODIFIED),
            })
        }
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
