//! A web server on the loopback that serves one file by ranges, and misbehaves on request.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What goes wrong with a request. Requests are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Answers with this status.
    Status(u16),
    /// Sends half of what it promised, then closes.
    Short,
    /// Answers 200 with the whole file.
    NoRanges,
    /// Answers with a range that nobody asked for.
    OtherRange,
    /// Answers as if another file stood there.
    OtherFile,
    /// Closes without a word.
    Close,
}

type Plan = dyn Fn(usize) -> Fault + Send + Sync;

/// A running server; it ends with the test's process.
pub struct Server {
    pub url: String,
    served: Arc<AtomicUsize>,
    ranges: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Server {
    /// Serves `file`; `plan` says what goes wrong with which request.
    pub fn start(file: Vec<u8>, plan: impl Fn(usize) -> Fault + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/update.raucb", listener.local_addr().unwrap());
        let served = Arc::new(AtomicUsize::new(0));
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let server = Server {
            url,
            served: served.clone(),
            ranges: ranges.clone(),
        };
        let (file, plan): (_, Arc<Plan>) = (Arc::new(file), Arc::new(plan));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (file, plan) = (file.clone(), plan.clone());
                let (served, ranges) = (served.clone(), ranges.clone());
                thread::spawn(move || serve(stream, &file, &*plan, &served, &ranges));
            }
        });
        server
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// Which ranges were asked for, first and last byte.
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        self.ranges.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    file: &[u8],
    plan: &Plan,
    served: &AtomicUsize,
    ranges: &Mutex<Vec<(u64, u64)>>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut range = None;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
                let (first, last) = value.trim().split_once('-').unwrap();
                range = Some((first.parse().unwrap(), last.parse().unwrap()));
            }
            if line == "\r\n" {
                break;
            }
        }
        let (first, last): (u64, u64) = range.expect("every request names a range");
        ranges.lock().unwrap().push((first, last));
        let fault = plan(served.fetch_add(1, Ordering::SeqCst));
        if answer(&mut stream, file, (first, last), fault).is_err() || fault != Fault::None {
            return;
        }
    }
}

fn answer(
    stream: &mut TcpStream,
    file: &[u8],
    (first, last): (u64, u64),
    fault: Fault,
) -> std::io::Result<()> {
    let len = file.len() as u64;
    let last = last.min(len - 1);
    let body = &file[usize::try_from(first).unwrap()..=usize::try_from(last).unwrap()];
    let head = |status: &str, length: usize, more: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n")
    };
    let range = |shift: u64, etag: &str| {
        format!(
            "Content-Range: bytes {}-{}/{len}\r\nETag: \"{etag}\"\r\n",
            first + shift,
            last + shift
        )
    };
    match fault {
        Fault::Close => Ok(()),
        Fault::Status(code) => stream.write_all(head(&format!("{code} x"), 0, "").as_bytes()),
        Fault::NoRanges => {
            stream.write_all(head("200 OK", file.len(), "").as_bytes())?;
            stream.write_all(file)
        }
        Fault::Short => {
            stream.write_all(head("206 x", body.len(), &range(0, "v1")).as_bytes())?;
            stream.write_all(&body[..body.len() / 2])
        }
        Fault::OtherRange => {
            stream.write_all(head("206 x", body.len(), &range(1, "v1")).as_bytes())?;
            stream.write_all(body)
        }
        Fault::OtherFile | Fault::None => {
            let etag = if fault == Fault::None { "v1" } else { "v2" };
            stream.write_all(head("206 x", body.len(), &range(0, etag)).as_bytes())?;
            stream.write_all(body)
        }
    }
}
