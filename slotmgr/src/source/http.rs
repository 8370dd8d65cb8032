//! A bundle on a web server, read by position.
//!
//! What somebody expects to read ([`ReadAt::expect`]: the data of an image, and the part of the
//! hash tree over it) is fetched ahead in large parts, by a few threads, so that writing to flash and
//! waiting for the network overlap: the more parts at a time, the longer the way to the server is
//! beside what the reader takes. Everything else (a trailer, a superblock, a directory) is read
//! in pages. Nothing is fetched that nobody asked for, and nothing twice while it is kept.

mod cache;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bundle_format::{ReadAt, check_range};
use casync::Blob;

use crate::program::Stop;
use cache::{AHEAD_MOST, Cache, Found};

/// Requests at the same time: what is read ahead, and something beside it.
const WORKERS: usize = AHEAD_MOST + 1;

/// How often a reader that waits for the network looks whether it should stop.
const LOOK: Duration = Duration::from_millis(100);

/// A file on a web server.
pub struct HttpReader {
    shared: Arc<Shared>,
    requests: Sender<Range<u64>>,
    receiver: Arc<Mutex<Receiver<Range<u64>>>>,
    /// Threads that ask, as many as there once was work for.
    workers: Mutex<usize>,
    stop: Stop,
}

struct Shared {
    file: Box<dyn Blob + Send + Sync>,
    cache: Mutex<Cache>,
    arrived: Condvar,
    /// Requests that are made, or wait for a thread.
    under_way: AtomicUsize,
}

impl HttpReader {
    /// Reads `file`; `stop` ends all waiting.
    #[must_use]
    pub fn new(file: impl Blob + Send + 'static, stop: Stop) -> HttpReader {
        let shared = Arc::new(Shared {
            cache: Mutex::new(Cache::new(file.len())),
            file: Box::new(file),
            arrived: Condvar::new(),
            under_way: AtomicUsize::new(0),
        });
        let (requests, receiver) = channel();
        HttpReader {
            shared,
            requests,
            receiver: Arc::new(Mutex::new(receiver)),
            workers: Mutex::new(0),
            stop,
        }
    }

    /// Sends off what the cache wants.
    fn request(&self, ranges: Vec<Range<u64>>) {
        for range in ranges {
            let under_way = self.shared.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.have_workers(under_way.min(WORKERS));
            // Failing to send means that all workers are gone, which they are not while we live.
            let _ = self.requests.send(range);
        }
    }

    fn have_workers(&self, wanted: usize) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        while *workers < wanted {
            let (shared, receiver) = (Arc::clone(&self.shared), Arc::clone(&self.receiver));
            // The threads end when the reader, and with it the sending side, is dropped.
            thread::spawn(move || shared.work(&receiver));
            *workers += 1;
        }
    }

    /// Copies what there is at `offset` into the start of `buf`, as soon as there is something.
    fn read_some(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut cache = self.shared.lock();
        loop {
            match cache.look(offset, buf) {
                Found::Bytes(count) => {
                    self.request(cache.ahead());
                    return Ok(count);
                }
                Found::Failed(error) => return Err(error),
                Found::Coming => self.request(cache.ahead()),
                Found::Nothing => {
                    let wanted = cache.want(offset, buf.len());
                    self.request(vec![wanted]);
                    self.request(cache.ahead());
                }
            }
            if self.stop.is_wanted() {
                return Err(io::Error::other("it was asked to stop"));
            }
            let waited = self.shared.arrived.wait_timeout(cache, LOOK);
            cache = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, requests: &Mutex<Receiver<Range<u64>>>) {
        loop {
            let request = requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            let Ok(range) = request else { return };
            let result = self.fetch(&range);
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            self.lock().put(range.start, result);
            self.arrived.notify_all();
        }
    }

    fn fetch(&self, range: &Range<u64>) -> io::Result<Vec<u8>> {
        let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(range.start, &mut bytes)?;
        Ok(bytes)
    }
}

impl ReadAt for HttpReader {
    fn len(&self) -> u64 {
        self.shared.file.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(offset, buf.len(), self.len())?;
        let mut done = 0;
        while done < buf.len() {
            done += self.read_some(&mut buf[done..], offset + done as u64)?;
        }
        Ok(())
    }

    fn expect(&self, ranges: &[Range<u64>]) {
        let mut cache = self.shared.lock();
        cache.expect(ranges);
        self.request(cache.ahead());
    }
}
