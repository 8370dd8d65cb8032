//! One range of a file on a web server, with patience.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use ureq::http::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, LAST_MODIFIED, RANGE};
use ureq::http::{HeaderMap, StatusCode};

/// How long to wait for what.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Until a connection stands.
    pub connect: Duration,
    /// Without a single byte coming.
    pub stall: Duration,
    /// Between two tries; doubled each time. Its length is one less than the number of tries.
    pub pauses: Vec<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(30),
            pauses: [500, 1_000, 2_000, 4_000, 8_000]
                .map(Duration::from_millis)
                .to_vec(),
        }
    }
}

/// Why a range could not be had.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or it broke, as often as it was tried.
    #[error("cannot read {url} at byte {offset}, tried {tries} times")]
    Transport {
        /// The bundle.
        url: String,
        /// First byte of the range.
        offset: u64,
        /// Number of tries.
        tries: usize,
        /// What happened last.
        #[source]
        source: io::Error,
    },
    /// The server does not want to.
    #[error("{url} answers {status}")]
    Status {
        /// The bundle.
        url: String,
        /// Number and words.
        status: StatusCode,
    },
    /// The server cannot serve parts of a file.
    #[error(
        "the server of {url} does not serve parts of a file (it answers 200 to a range request); \
         any ordinary web server can: put the bundle on one as a plain file"
    )]
    NoRanges {
        /// The bundle.
        url: String,
    },
    /// The answer is not what was asked for.
    #[error("the server of {url} answers with a range that was not asked for: `{answer}`")]
    WrongRange {
        /// The bundle.
        url: String,
        /// Its Content-Range.
        answer: String,
    },
    /// Another file stands there now.
    #[error("{url} changed while it was being read; start the installation again")]
    Changed {
        /// The bundle.
        url: String,
    },
}

/// What tells one version of a file on a server from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Bytes in all.
    pub len: u64,
    etag: Option<String>,
    modified: Option<String>,
}

/// One file on a web server.
#[derive(Debug, Clone)]
pub struct HttpClient {
    agent: ureq::Agent,
    url: String,
    retry: Retry,
}

/// A range, and the file that it is from.
#[derive(Debug)]
pub struct Part {
    /// The bytes: as many as asked for, fewer only at the end of the file.
    pub bytes: Vec<u8>,
    /// Of which file.
    pub identity: Identity,
}

/// Whether another try may help.
enum Failure {
    Passing(io::Error),
    Final(HttpError),
}

impl HttpClient {
    /// For the file at `url`; nothing is asked for yet.
    #[must_use]
    pub fn new(url: String, retry: Retry) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(retry.connect))
            .timeout_recv_response(Some(retry.stall))
            .timeout_per_read(Some(retry.stall))
            .user_agent(concat!("slotmgr/", env!("CARGO_PKG_VERSION")))
            .build();
        HttpClient {
            agent: config.new_agent(),
            url,
            retry,
        }
    }

    /// The address, for people.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Reads `len` bytes from `offset`.
    ///
    /// # Errors
    /// When the server does not want to, or cannot be reached as often as [`Retry`] says.
    pub fn part(&self, offset: u64, len: usize) -> Result<Part, HttpError> {
        let mut pauses = self.retry.pauses.iter();
        loop {
            match (self.try_part(offset, len), pauses.next()) {
                (Ok(part), _) => return Ok(part),
                (Err(Failure::Final(error)), _) => return Err(error),
                (Err(Failure::Passing(error)), Some(pause)) => {
                    tracing::debug!(%error, offset, "trying again in {pause:?}");
                    thread::sleep(*pause);
                }
                (Err(Failure::Passing(source)), None) => {
                    let (url, tries) = (self.url.clone(), self.retry.pauses.len() + 1);
                    return Err(HttpError::Transport {
                        url,
                        offset,
                        tries,
                        source,
                    });
                }
            }
        }
    }

    fn try_part(&self, offset: u64, len: usize) -> Result<Part, Failure> {
        let last = offset.saturating_add(len as u64).saturating_sub(1);
        let mut response = self
            .agent
            .get(&self.url)
            .header(RANGE, format!("bytes={offset}-{last}"))
            .header(ACCEPT_ENCODING, "identity")
            .call()
            .map_err(|error| Failure::Passing(io::Error::other(error)))?;
        self.check_status(response.status())?;
        let (expected, identity) = self.check_range(response.headers(), offset, last)?;
        let mut bytes = Vec::with_capacity(expected);
        let limit = expected as u64;
        response
            .body_mut()
            .as_reader()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(Failure::Passing)?;
        if bytes.len() < expected {
            let short = format!("the answer ended after {} of {expected} bytes", bytes.len());
            return Err(Failure::Passing(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                short,
            )));
        }
        Ok(Part { bytes, identity })
    }

    fn check_status(&self, status: StatusCode) -> Result<(), Failure> {
        let url = || self.url.clone();
        match status {
            StatusCode::PARTIAL_CONTENT => Ok(()),
            StatusCode::OK => Err(Failure::Final(HttpError::NoRanges { url: url() })),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => passing(status),
            status if status.is_server_error() => passing(status),
            status => Err(Failure::Final(HttpError::Status { url: url(), status })),
        }
    }

    /// The number of bytes that will come, and the file that they are from.
    fn check_range(
        &self,
        headers: &HeaderMap,
        offset: u64,
        last: u64,
    ) -> Result<(usize, Identity), Failure> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        let answer = text(CONTENT_RANGE).unwrap_or_default();
        let wrong = || HttpError::WrongRange {
            url: self.url.clone(),
            answer: answer.clone(),
        };
        let (first, end, len) = parse_range(&answer).ok_or_else(|| Failure::Final(wrong()))?;
        let asked = last.min(len.saturating_sub(1));
        if first != offset || end != asked || end < first {
            return Err(Failure::Final(wrong()));
        }
        let expected = usize::try_from(end - first + 1).map_err(|_| Failure::Final(wrong()))?;
        Ok((
            expected,
            Identity {
                len,
                etag: text(ETAG),
                modified: text(LAST_MODIFIED),
            },
        ))
    }
}

fn passing(status: StatusCode) -> Result<(), Failure> {
    Err(Failure::Passing(io::Error::other(format!(
        "the server answers {status}"
    ))))
}

/// `bytes 0-99/1234` as (0, 99, 1234).
fn parse_range(answer: &str) -> Option<(u64, u64, u64)> {
    let (range, len) = answer.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, len.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_range("bytes 0-99/1234"), Some((0, 99, 1234)));
        for bad in [
            "",
            "bytes */1234",
            "bytes 0-99/*",
            "bytes 0-/9",
            "items 0-1/2",
            "bytes -1-2/3",
        ] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }
}
