//! A web server on the loopback that serves files by ranges, counts what it sends, and misbehaves on
//! request.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Answers with this status.
    Status(u16),
    /// Answers 503, and to come back after so many seconds.
    Busy(u32),
    /// Sends these bytes as if they were the file.
    Instead(&'static [u8]),
    /// Sends half of what it promised, then closes.
    Short,
    /// Sends so many bytes, then closes.
    CutAfter(usize),
    /// Answers 200 with the whole file.
    NoRanges,
    /// Answers with a range that nobody asked for.
    OtherRange,
    /// Answers as if another file stood there.
    OtherFile,
    /// Sends other bytes, and says that the file is the same.
    Lie,
    /// Never stops sending, and does not say how much it will be.
    Endless,
    /// Sends half of the answer and then nothing, without closing.
    Stall,
    /// Closes without a word.
    Close,
}

/// What came in.
#[derive(Debug, Clone)]
pub struct Request {
    /// Counted from 0, over all connections.
    pub number: usize,
    pub path: String,
    pub range: Option<(u64, u64)>,
    /// All header lines, in lower case.
    pub headers: String,
}

type Plan = dyn Fn(&Request) -> Fault + Send + Sync;

/// A running server; it ends with the test's process.
pub struct Server {
    /// The address of what it serves: a file, or the directory without a slash at its end.
    pub url: String,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    /// Bytes of bodies by path.
    sent: BTreeMap<String, u64>,
}

#[derive(Clone)]
enum Content {
    /// At any path.
    File(Arc<Vec<u8>>),
    Directory(PathBuf),
}

impl Content {
    /// Length of what is at `path`, and the bytes that are asked for: first, last, and themselves.
    fn at(&self, path: &str, range: Option<(u64, u64)>) -> Option<(u64, Part)> {
        let cut = |len: u64| {
            let (first, last) = range.unwrap_or((0, len - 1));
            (first, last.min(len - 1))
        };
        match self {
            Content::File(file) => {
                let (first, last) = cut(file.len() as u64);
                let range = usize::try_from(first).unwrap()..=usize::try_from(last).unwrap();
                Some((file.len() as u64, (first, last, file[range].to_vec())))
            }
            Content::Directory(root) => {
                let path = path.split('?').next().unwrap().trim_start_matches('/');
                let file = std::fs::File::open(root.join(path)).ok()?;
                let len = file.metadata().unwrap().len();
                let (first, last) = cut(len);
                let mut bytes = vec![0; usize::try_from(last + 1 - first).unwrap()];
                file.read_exact_at(&mut bytes, first).unwrap();
                Some((len, (first, last, bytes)))
            }
        }
    }
}

type Part = (u64, u64, Vec<u8>);

impl Server {
    /// Serves `file`; `plan` says what goes wrong with which request, counted from 0.
    pub fn start(file: Vec<u8>, plan: impl Fn(usize) -> Fault + Send + Sync + 'static) -> Server {
        let content = Content::File(Arc::new(file));
        Server::serving(content, "/update.raucb", move |request| {
            plan(request.number)
        })
    }

    /// Serves everything below `root`.
    pub fn of(root: &Path, plan: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> Server {
        Server::serving(Content::Directory(root.to_owned()), "", plan)
    }

    fn serving(
        content: Content,
        path: &str,
        plan: impl Fn(&Request) -> Fault + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Log::default()));
        let plan: Arc<Plan> = Arc::new(plan);
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (content, plan, log) = (content.clone(), plan.clone(), kept.clone());
                thread::spawn(move || serve(stream, &content, &*plan, &log));
            }
        });
        Server { url, log }
    }

    /// What was asked for.
    pub fn log(&self) -> Vec<Request> {
        self.log.lock().unwrap().requests.clone()
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.log.lock().unwrap().requests.len()
    }

    /// Bytes of all bodies that were sent.
    pub fn sent(&self) -> u64 {
        self.log.lock().unwrap().sent.values().sum()
    }

    /// Bytes of bodies that were sent of files whose path ends so.
    pub fn sent_of(&self, end: &str) -> u64 {
        let log = self.log.lock().unwrap();
        let sent = log.sent.iter().filter(|(path, _)| path.ends_with(end));
        sent.map(|(_, bytes)| bytes).sum()
    }
}

fn serve(stream: TcpStream, content: &Content, plan: &Plan, log: &Mutex<Log>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(mut request) = read_request(&mut reader) {
        {
            let mut log = log.lock().unwrap();
            request.number = log.requests.len();
            log.requests.push(request.clone());
        }
        let fault = plan(&request);
        let range = request.range.filter(|_| fault != Fault::NoRanges);
        let part = content.at(&request.path, range);
        let mut sent = 0;
        let done = answer(&mut stream, part, &request, fault, &mut sent);
        *log.lock().unwrap().sent.entry(request.path).or_default() += sent;
        if done.is_err() || !matches!(fault, Fault::None | Fault::Status(_)) {
            return;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return None;
    }
    let mut headers = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        headers.push_str(&line.to_lowercase());
    }
    let range = headers
        .lines()
        .find_map(|line| line.strip_prefix("range: bytes="));
    let range = range.and_then(|range| range.split_once('-'));
    Some(Request {
        number: 0,
        path: first.split(' ').nth(1).unwrap().to_owned(),
        range: range.map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())),
        headers,
    })
}

fn answer(
    stream: &mut TcpStream,
    part: Option<(u64, Part)>,
    request: &Request,
    fault: Fault,
    sent: &mut u64,
) -> std::io::Result<()> {
    let head = |status: &str, length: usize, more: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n")
    };
    let mut send = |stream: &mut TcpStream, bytes: &[u8]| {
        // Counted as it goes: a client that hangs up has not been sent the rest.
        for piece in bytes.chunks(16 * 1024) {
            stream.write_all(piece)?;
            *sent += piece.len() as u64;
        }
        Ok(())
    };
    let Some((len, (first, last, body))) = part else {
        return stream.write_all(head("404 x", 0, "").as_bytes());
    };
    let etag = if fault == Fault::OtherFile {
        "v2"
    } else {
        "v1"
    };
    let shift = u64::from(fault == Fault::OtherRange);
    let good = match request.range {
        None => head("200 OK", body.len(), ""),
        Some(_) => {
            let (first, last) = (first + shift, last + shift);
            let more = format!("Content-Range: bytes {first}-{last}/{len}\r\nETag: \"{etag}\"\r\n");
            head("206 x", body.len(), &more)
        }
    };
    match fault {
        Fault::Close => return Ok(()),
        Fault::Status(code) => {
            return stream.write_all(head(&format!("{code} x"), 0, "").as_bytes());
        }
        Fault::Busy(seconds) => {
            let more = format!("Retry-After: {seconds}\r\n");
            return stream.write_all(head("503 x", 0, &more).as_bytes());
        }
        Fault::Instead(bytes) => {
            stream.write_all(head("200 OK", bytes.len(), "").as_bytes())?;
            return send(stream, bytes);
        }
        Fault::NoRanges => {
            stream.write_all(head("200 OK", body.len(), "ETag: \"v1\"\r\n").as_bytes())?;
            return send(stream, &body);
        }
        Fault::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                send(stream, &[7; 16 * 1024])?;
            }
        }
        _ => stream.write_all(good.as_bytes())?,
    }
    match fault {
        Fault::Short => send(stream, &body[..body.len() / 2]),
        Fault::CutAfter(count) => send(stream, &body[..count.min(body.len())]),
        Fault::Stall => {
            send(stream, &body[..body.len() / 2])?;
            thread::sleep(Duration::from_secs(600));
            Ok(())
        }
        Fault::Lie => {
            let wrong: Vec<u8> = body.iter().map(|byte| byte ^ 0x55).collect();
            send(stream, &wrong)
        }
        _ => send(stream, &body),
    }
}
