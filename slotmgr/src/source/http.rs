//! A bundle on a web server, read by position.
//!
//! The file is seen as windows of 1 MiB. A few of them are kept; when windows are asked for one
//! after the other, the next ones are fetched ahead by two threads, so that writing to flash and
//! waiting for the network overlap.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use bundle_format::ReadAt;

use super::range::{HttpClient, HttpError, Identity, Retry};

/// Bytes of one request.
pub const WINDOW: usize = 1 << 20;

/// Windows that are kept: the two streams of a bundle (data and hash tree), some to go back to,
/// and those that come ahead.
const KEPT: usize = 12;

/// Windows that are fetched ahead.
const AHEAD: u64 = 3;

/// Requests at the same time.
const WORKERS: usize = 2;

/// A file on a web server.
pub struct HttpReader {
    shared: Arc<Shared>,
    requests: Sender<u64>,
}

struct Shared {
    client: HttpClient,
    identity: Identity,
    windows: Mutex<Windows>,
    arrived: Condvar,
}

#[derive(Default)]
struct Windows {
    /// The last ones used are at the end.
    kept: VecDeque<(u64, Slot)>,
    last: Option<u64>,
}

enum Slot {
    Coming,
    Here(Arc<Vec<u8>>),
    Failed(HttpError),
}

impl HttpReader {
    /// Asks for the first window, which also tells the length.
    ///
    /// # Errors
    /// When the server does not want to, does not serve ranges, or cannot be reached.
    pub fn open(url: &str, retry: Retry) -> Result<HttpReader, HttpError> {
        let client = HttpClient::new(url.to_owned(), retry);
        let part = client.part(0, WINDOW)?;
        let mut windows = Windows::default();
        windows
            .kept
            .push_back((0, Slot::Here(Arc::new(part.bytes))));
        let shared = Arc::new(Shared {
            client,
            identity: part.identity,
            windows: Mutex::new(windows),
            arrived: Condvar::new(),
        });
        let (requests, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..WORKERS {
            let (shared, receiver) = (Arc::clone(&shared), Arc::clone(&receiver));
            // The threads end when the reader, and with it the sending side, is dropped.
            thread::spawn(move || shared.work(&receiver));
        }
        Ok(HttpReader { shared, requests })
    }

    fn window(&self, number: u64) -> io::Result<Arc<Vec<u8>>> {
        let mut windows = self.shared.lock();
        let in_order = windows
            .last
            .is_none_or(|last| number == last + 1 || number == last);
        windows.last = Some(number);
        self.want(&mut windows, number);
        if in_order {
            for ahead in number + 1..=number + AHEAD {
                if ahead * (WINDOW as u64) < self.shared.identity.len {
                    self.want(&mut windows, ahead);
                }
            }
        }
        loop {
            let Some(place) = windows.kept.iter().position(|(n, _)| *n == number) else {
                // Pushed out by others before it was looked at: ask again.
                self.want(&mut windows, number);
                continue;
            };
            match windows.kept.remove(place) {
                Some((_, Slot::Here(bytes))) => {
                    windows
                        .kept
                        .push_back((number, Slot::Here(Arc::clone(&bytes))));
                    return Ok(bytes);
                }
                Some((_, Slot::Failed(error))) => return Err(io::Error::other(error)),
                Some(coming) => windows.kept.push_back(coming),
                None => {}
            }
            windows = self
                .shared
                .arrived
                .wait(windows)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn want(&self, windows: &mut Windows, number: u64) {
        if windows.kept.iter().any(|(n, _)| *n == number) {
            return;
        }
        windows.kept.push_back((number, Slot::Coming));
        // Failing to send means that all workers are gone, which they are not while we live.
        let _ = self.requests.send(number);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, requests: &Mutex<Receiver<u64>>) {
        loop {
            let request = requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            let Ok(number) = request else { return };
            let result = self.fetch(number);
            let slot = match result {
                Ok(bytes) => Slot::Here(Arc::new(bytes)),
                Err(error) => Slot::Failed(error),
            };
            let mut windows = self.lock();
            if let Some(place) = windows.kept.iter_mut().find(|(n, _)| *n == number) {
                place.1 = slot;
            }
            windows.forget_oldest();
            drop(windows);
            self.arrived.notify_all();
        }
    }

    fn fetch(&self, number: u64) -> Result<Vec<u8>, HttpError> {
        let part = self.client.part(number * WINDOW as u64, WINDOW)?;
        if part.identity != self.identity {
            return Err(HttpError::Changed {
                url: self.client.url().to_owned(),
            });
        }
        Ok(part.bytes)
    }
}

impl Windows {
    /// Only windows that are here can be forgotten: the others are waited for.
    fn forget_oldest(&mut self) {
        while self.kept.len() > KEPT {
            let here = |(_, slot): &(u64, Slot)| matches!(slot, Slot::Here(_));
            match self.kept.iter().position(here) {
                Some(place) => drop(self.kept.remove(place)),
                None => return,
            }
        }
    }
}

impl ReadAt for HttpReader {
    fn len(&self) -> u64 {
        self.shared.identity.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .filter(|end| *end <= self.len());
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let bytes = self.window(at / WINDOW as u64)?;
            let start = usize::try_from(at % WINDOW as u64).map_err(io::Error::other)?;
            let piece = bytes.get(start..).filter(|piece| !piece.is_empty());
            let piece = piece.ok_or(io::ErrorKind::UnexpectedEof)?;
            let count = piece.len().min(buf.len() - done);
            buf[done..done + count].copy_from_slice(&piece[..count]);
            done += count;
        }
        Ok(())
    }
}
