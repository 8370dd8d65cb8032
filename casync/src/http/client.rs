//! Requests, each tried as often as it may help.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use ureq::http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, DATE, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
};
use ureq::http::{HeaderMap, HeaderName, Response, StatusCode};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, Proxy, ProxyProtocol, RequestBuilder};

use super::address::Address;
use super::date;
use super::failure::{Failure, HttpError, no_answer, refused};
use super::halt::Halt;
use super::patience::{Patience, Wait};
use super::rate::Meter;
use super::settings::{Header, Settings, SettingsError};

/// Redirections that are followed for one request, as many as RAUC follows.
const REDIRECTIONS: usize = 8;

/// Bytes that are taken from a connection at once, and after which the rate is looked at.
const GULP: usize = 64 * 1024;

/// Connections to one server that are kept for the next request: as many as ask at the same time.
const KEPT: usize = 16;

/// How often somebody who waits for an answer looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// Asks web servers. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    patience: Patience,
    wait: Arc<dyn Wait>,
    halt: Arc<Halt>,
    headers: Arc<[Header]>,
    meter: Arc<Meter>,
}

/// What is asked for beside the address.
#[derive(Clone, Copy, Default)]
pub(super) struct Question<'q> {
    /// First and last byte; all if there is none.
    pub(super) range: Option<(u64, u64)>,
    /// A part of this version is wanted, and of no other.
    pub(super) version: Option<&'q str>,
    /// Sent beside the client's own headers, and like them to one server only.
    pub(super) headers: &'q [Header],
}

/// An answer with a status of success.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Client {
    /// A client with these settings.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let patience = settings.patience;
        if let Some(proxy) = &settings.proxy {
            check_proxy(proxy)?;
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Redirections are followed here, where it is known what must not go along.
            .max_redirects(0)
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.stall))
            .timeout_per_read(Some(patience.stall))
            .timeout_per_call(Some(patience.answer))
            .max_idle_connections(2 * KEPT)
            .max_idle_connections_per_host(KEPT)
            .proxy(settings.proxy)
            .user_agent(concat!("slotmgr/", env!("CARGO_PKG_VERSION")));
        let halt = Arc::new(Halt::default());
        let meter = Meter::new(
            settings.rate,
            (Arc::clone(&settings.wait), Arc::clone(&halt)),
        );
        Ok(Self {
            agent: settings.tls.agent(config)?,
            patience,
            headers: settings.headers.into(),
            meter: Arc::new(meter),
            wait: settings.wait,
            halt,
        })
    }

    /// A clone for other servers: what it was given to be sent with every request is not theirs to know.
    #[must_use]
    pub fn without_headers(&self) -> Self {
        Self {
            headers: Arc::default(),
            ..self.clone()
        }
    }

    /// Ends what this client and its clones are doing, however silent a server is, and whatever they
    /// are told to do later. May be called from any thread.
    pub fn stop(&self) {
        self.halt.now();
        self.agent.clone().shutdown();
    }

    /// Bytes of files that came so far, by this client and its clones.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.meter.total()
    }

    /// Replaces `into` by the whole file, of `max` bytes at most.
    pub fn get(&self, address: &Address, max: u64, into: &mut Vec<u8>) -> Result<(), HttpError> {
        self.patiently(address, || {
            let answer = self.ask(address, &Question::default())?;
            if answer.status != StatusCode::OK {
                return Err(refused(address, answer.status));
            }
            into.clear();
            // One byte more than allowed shows that there are more.
            self.read(answer.body, max.saturating_add(1), into)?;
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
            let attempted = attempt();
            if self.halt.is_wanted() && attempted.is_err() {
                return Err(HttpError::Stopped(address.clone()));
            }
            let (source, retry_after) = match attempted {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Cut) => {
                    tried = 0;
                    continue;
                }
                // A connection that was kept may have been closed meanwhile, and one that breaks says
                // nothing of the next.
                Err(Failure::Lost(_)) if tried == 0 => {
                    tried = 1;
                    continue;
                }
                Err(Failure::Lost(source)) => (source, None),
                Err(Failure::Passing(source, retry_after)) => (source, retry_after),
            };
            tried += 1;
            let chance = self.wait.chance();
            match self.patience.pause(tried, retry_after, chance) {
                Some(pause) => self.wait.pause(pause, &self.halt),
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
        question: &Question<'_>,
    ) -> Result<Answer, Failure> {
        let mut at = address.clone();
        for _ in 0..=REDIRECTIONS {
            let mut request = self
                .agent
                .get(at.whole())
                .header(ACCEPT_ENCODING, "identity");
            if let Some((first, last)) = question.range {
                request = request.header(RANGE, format!("bytes={first}-{last}"));
            }
            if let Some(version) = question.version {
                request = request.header(IF_RANGE, version);
            }
            if at.same_server(address) {
                for (name, value) in self.headers.iter().chain(question.headers) {
                    request = request.header(name, value);
                }
                if let Some(basic) = address.authorization() {
                    request = request.header(AUTHORIZATION, basic);
                }
            }
            let response = self.call(request, &at)?;
            let (head, body) = response.into_parts();
            if head.status.is_success() {
                return Ok(Answer {
                    status: head.status,
                    headers: head.headers,
                    body,
                });
            }
            pass_over(body);
            if !head.status.is_redirection() {
                return Err(self.refusal(address, head.status, &head.headers));
            }
            let next = head.headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let lost = || Failure::Final(HttpError::Redirect(address.clone()));
            at = next.and_then(|to| at.follow(to)).ok_or_else(lost)?;
        }
        Err(Failure::Final(HttpError::Redirect(address.clone())))
    }

    /// Makes a request on a thread of its own: a name that is looked up and a connection that is made
    /// cannot be interrupted, but they can be left. They end by themselves when their time is over.
    fn call(
        &self,
        request: RequestBuilder<WithoutBody>,
        at: &Address,
    ) -> Result<Response<Body>, Failure> {
        let (sender, answer) = sync_channel(1);
        // Nobody may be left who wants to know.
        thread::spawn(move || drop(sender.send(request.call())));
        while !self.halt.is_wanted() {
            match answer.recv_timeout(LOOK) {
                Ok(called) => return called.map_err(|error| no_answer(&error, at)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let lost = io::Error::other("the thread that asks ended early");
                    return Err(Failure::Passing(lost, None));
                }
            }
        }
        Err(Failure::Final(HttpError::Stopped(at.clone())))
    }

    /// What a status other than of success means.
    fn refusal(&self, address: &Address, status: StatusCode, headers: &HeaderMap) -> Failure {
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Failure::Final(HttpError::NotFound(address.clone()))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                self.passing(status, headers)
            }
            status if status.is_server_error() => self.passing(status, headers),
            status => refused(address, status),
        }
    }

    /// `Retry-After`, in seconds or as a date. A date is held against the server's own clock if it
    /// tells it: that of a device may stand at 1970.
    fn passing(&self, status: StatusCode, headers: &HeaderMap) -> Failure {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
        let seconds = |text: &str| text.parse().ok();
        let until_date = |until: &str| {
            let now = text(DATE).and_then(date::seconds);
            let now = now.unwrap_or_else(|| self.wait.now());
            Some(date::seconds(until)?.saturating_sub(now))
        };
        let after = text(RETRY_AFTER).and_then(|text| seconds(text).or_else(|| until_date(text)));
        let error = io::Error::other(format!("the server answers {status}"));
        Failure::Passing(error, after.map(Duration::from_secs))
    }

    /// Appends up to `limit` bytes of an answer.
    pub(super) fn read(
        &self,
        mut body: Body,
        limit: u64,
        into: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let ends_there = body.content_length() == Some(limit);
        let mut reader = body.as_reader().take(limit);
        loop {
            let before = into.len();
            let read = reader.by_ref().take(GULP as u64).read_to_end(into);
            // What came before an error has come, too.
            self.meter.took((into.len() - before) as u64);
            if read.map_err(Failure::Lost)? == 0 {
                break;
            }
            // The rest may be here already, or come before the connection is shut down.
            if self.halt.is_wanted() {
                let stopped = io::ErrorKind::ConnectionAborted.into();
                return Err(Failure::Lost(stopped));
            }
        }
        if ends_there {
            finish(reader.into_inner());
        }
        Ok(())
    }
}

/// Reads the end of an answer of which nothing is left to come: only then the connection is kept for the
/// next request. If it cannot be kept, a new one is made.
fn finish(mut reader: impl Read) {
    let _ = reader.read(&mut [0]);
}

/// Reads what nobody wants to know, if it is short, for the same reason.
pub(super) fn pass_over(mut body: Body) {
    if body.content_length().is_some_and(|len| len <= GULP as u64) {
        let _ = io::copy(&mut body.as_reader(), &mut io::sink());
    }
}

fn check_proxy(proxy: &Proxy) -> Result<(), SettingsError> {
    match proxy.protocol() {
        ProxyProtocol::Http => Ok(()),
        _ => {
            let scheme = proxy.uri().scheme_str().unwrap_or_default();
            Err(SettingsError::Proxy(scheme.to_owned()))
        }
    }
}
