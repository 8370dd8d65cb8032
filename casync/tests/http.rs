//! A store and a file on a web server that does what web servers do on bad days.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may stop where it stands.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use casync::Blob;
use casync::chunk::{ChunkId, DigestKind};
use casync::codec::{Encoder, Packing};
use casync::http::{
    self, Address, Client, Halt, HttpError, HttpFile, HttpStore, Patience, Settings, Wait,
};
use casync::index::IndexChunk;
use casync::store::{FetchError, Fetcher};

/// What came in.
struct Request {
    path: String,
    range: Option<(usize, usize)>,
    headers: String,
    /// How often this path was asked for before.
    before: usize,
}

type Plan = dyn Fn(&Request) -> Vec<u8> + Send + Sync;

/// A server on the loopback whose every answer, to the byte, the test makes up.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(plan: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/store", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, plan): (_, Arc<Plan>) = (Arc::clone(&seen), Arc::new(plan));
        let counts = Arc::new(Mutex::new(BTreeMap::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                let (seen, plan, counts) = (kept.clone(), plan.clone(), counts.clone());
                thread::spawn(move || serve(stream, &*plan, &seen, &counts));
            }
        });
        Self {
            address,
            seen,
            connections,
        }
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    plan: &Plan,
    seen: &Mutex<Vec<String>>,
    counts: &Mutex<BTreeMap<String, usize>>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut first, mut headers) = (String::new(), String::new());
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                break;
            }
            headers.push_str(&line.to_lowercase());
        }
        let path = first.split(' ').nth(1).unwrap().to_owned();
        let range = headers
            .lines()
            .find_map(|line| line.strip_prefix("range: bytes="));
        let range = range.and_then(|range| range.split_once('-'));
        let range = range.map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
        seen.lock().unwrap().push(format!("{path} {headers}"));
        let before = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(path.clone()).or_insert(0);
            *count += 1;
            *count - 1
        };
        let request = Request {
            path,
            range,
            headers,
            before,
        };
        let answer = plan(&request);
        if answer.is_empty() || stream.write_all(&answer).is_err() {
            return;
        }
        // An answer that does not say how long it is, or lies, ends with the connection.
        let text = String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
        if text.contains("X-End: yes") {
            return;
        }
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", "", body)
}

/// Counts the time instead of letting it pass.
#[derive(Default)]
struct Counted(Mutex<Vec<Duration>>);

impl Wait for Counted {
    fn pause(&self, time: Duration, _: &Halt) {
        self.0.lock().unwrap().push(time);
    }

    fn now(&self) -> u64 {
        // Sun, 06 Nov 1994 08:49:37 GMT
        784_111_777
    }

    fn chance(&self) -> u32 {
        u32::MAX
    }
}

fn client(wait: &Arc<Counted>, headers: &[(&str, &str)]) -> Client {
    let patience = Patience {
        stall: Duration::from_millis(300),
        tries: 3,
        ..Patience::default()
    };
    let own = |(name, value): &(&str, &str)| http::header(name, value).unwrap();
    let settings = Settings {
        patience,
        wait: wait.clone(),
        headers: headers.iter().map(own).collect(),
        ..Settings::default()
    };
    Client::new(settings).unwrap()
}

const CHUNK: &[u8] = b"a chunk, a chunk, a chunk, a chunk, a chunk, a chunk";

fn wanted() -> IndexChunk {
    IndexChunk {
        start: 0,
        len: u32::try_from(CHUNK.len()).unwrap(),
        id: DigestKind::Sha512_256.id_of(CHUNK),
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(Packing::default()).unwrap();
    encoder.encode(bytes, &mut out).unwrap();
    out
}

fn path_of(id: &ChunkId) -> String {
    let hex = id.to_string();
    format!("/store/{}/{hex}.cacnk", &hex[..4])
}

/// What comes of one chunk from this server, and the pauses that were made.
fn fetch(server: &Server) -> (Result<Vec<u8>, FetchError>, Vec<Duration>) {
    let wait = Arc::new(Counted::default());
    let address = Address::parse(&server.address).unwrap();
    let store = HttpStore::new(client(&wait, &[]), address);
    let mut fetcher = Fetcher::new(DigestKind::Sha512_256);
    let chunk = fetcher.fetch(&[&store], &wanted(), Vec::new());
    let pauses = wait.0.lock().unwrap().clone();
    (chunk.map(|chunk| chunk.into_inner()), pauses)
}

#[test]
fn a_chunk_comes_from_the_path_that_casync_has() {
    let server = Server::start(|request| {
        assert_eq!(request.path, path_of(&wanted().id));
        ok(&packed(CHUNK))
    });
    assert_eq!(fetch(&server).0.unwrap(), CHUNK);
}

#[test]
fn what_passes_is_tried_again_and_the_server_says_when() {
    let server = Server::start(|request| match request.before {
        0 => answer("503 Busy", "Retry-After: 7\r\n", b""),
        1 => Vec::new(),
        _ => ok(&packed(CHUNK)),
    });
    let (chunk, pauses) = fetch(&server);
    assert_eq!(chunk.unwrap(), CHUNK);
    assert_eq!(pauses, [Duration::from_secs(7), Duration::from_secs(1)]);
}

#[test]
fn a_connection_that_was_closed_is_made_anew_at_once() {
    let server = Server::start(|request| match request.before {
        0 => Vec::new(),
        _ => ok(&packed(CHUNK)),
    });
    let (chunk, pauses) = fetch(&server);
    assert_eq!(chunk.unwrap(), CHUNK);
    assert_eq!(pauses, []);
}

#[test]
fn a_chunk_that_is_cut_off_each_time_is_given_up() {
    let server = Server::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\nX-End: yes\r\n\r\n";
        [head.as_bytes(), &[7; 200_000]].concat()
    });
    let (client, mut into) = (client(&Arc::default(), &[]), Vec::new());
    let address = Address::parse(&server.address).unwrap();
    let error = client.get(&address, 1 << 20, &mut into).unwrap_err();
    assert!(error.to_string().contains("tried 3 times"), "{error}");
}

#[test]
fn one_connection_serves_all_parts_whatever_is_answered_between() {
    let (server, file) = file_server(|request, answer| match request.before {
        2 => self::answer("503 Busy", "", b"come back later"),
        _ => answer,
    });
    let (client, address) = (
        client(&Arc::default(), &[]),
        Address::parse(&server.address).unwrap(),
    );
    let served = HttpFile::open(client, address).unwrap();
    for part in 0..4 {
        let mut bytes = [0; 100];
        let at = part * 100;
        served.read_exact_at(at as u64, &mut bytes).unwrap();
        assert_eq!(bytes, file[at..at + 100]);
    }
    assert_eq!(server.requests().len(), 6);
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn a_date_to_come_back_at_is_held_against_the_servers_clock() {
    // The server's clock says 30 s before the date; without one, ours says 10 s.
    for (headers, expected) in [
        (
            "Retry-After: Sun, 06 Nov 1994 09:00:30 GMT\r\nDate: Sun, 06 Nov 1994 09:00:00 GMT\r\n",
            30,
        ),
        ("Retry-After: Sun, 06 Nov 1994 08:49:47 GMT\r\n", 10),
    ] {
        let server = Server::start(move |request| match request.before {
            0 => answer("503 Busy", headers, b""),
            _ => ok(&packed(CHUNK)),
        });
        let (chunk, pauses) = fetch(&server);
        assert_eq!(chunk.unwrap(), CHUNK);
        assert_eq!(pauses, [Duration::from_secs(expected)], "{headers}");
    }
}

#[test]
fn every_bad_answer_is_an_error_that_names_chunk_and_server() {
    let short = || {
        let whole = packed(CHUNK);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-End: yes\r\n\r\n",
            whole.len()
        );
        [head.as_bytes(), &whole[..whole.len() / 2]].concat()
    };
    let endless = || {
        let head = b"HTTP/1.1 200 OK\r\nX-End: yes\r\n\r\n".to_vec();
        [head, vec![7; 4 << 20]].concat()
    };
    let cases: Vec<(&str, Box<Plan>, &str, usize)> = vec![
        (
            "404",
            Box::new(|_| answer("404 No", "", b"")),
            "not in the store",
            1,
        ),
        (
            "403",
            Box::new(|_| answer("403 No", "", b"")),
            "answers 403",
            1,
        ),
        (
            "503",
            Box::new(|_| answer("503 Busy", "", b"")),
            "tried 3 times",
            3,
        ),
        (
            "429, far too long",
            Box::new(|_| answer("429 Slow", "Retry-After: 99999\r\n", b"")),
            "tried 1 times",
            1,
        ),
        ("short", Box::new(move |_| short()), "tried 3 times", 3),
        ("closed", Box::new(|_| Vec::new()), "tried 3 times", 3),
        ("endless", Box::new(move |_| endless()), "more than", 1),
        (
            "another chunk",
            Box::new(|_| ok(&packed(b"other"))),
            "gives 5 bytes",
            1,
        ),
        (
            "a web page",
            Box::new(|_| ok(b"<html>sorry</html>")),
            "the store",
            1,
        ),
        (
            "206 unasked",
            Box::new(|_| answer("206 Part", "", b"x")),
            "answers 206",
            1,
        ),
        (
            "a circle",
            Box::new(|r| answer("302 Go", &format!("Location: {}\r\n", r.path), b"")),
            "redirected",
            9,
        ),
    ];
    for (name, plan, expected, requests) in cases {
        let server = Server::start(plan);
        let error = fetch(&server).0.expect_err(name).to_string();
        assert!(error.contains(&wanted().id.to_string()), "{name}: {error}");
        assert!(error.contains(&server.address), "{name}: {error}");
        assert!(error.contains(expected), "{name}: {error}");
        assert_eq!(server.requests().len(), requests, "{name}: {error}");
    }
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let server = Server::start(|_| {
        thread::sleep(Duration::from_millis(1_000));
        ok(&packed(CHUNK))
    });
    let error = fetch(&server).0.unwrap_err().to_string();
    assert!(error.contains("tried 3 times"), "{error}");
}

#[test]
fn a_missing_chunk_is_looked_for_in_the_next_store() {
    let empty = Server::start(|_| answer("404 No", "", b""));
    let full = Server::start(|_| ok(&packed(CHUNK)));
    let wait = Arc::new(Counted::default());
    let store = |server: &Server| {
        HttpStore::new(client(&wait, &[]), Address::parse(&server.address).unwrap())
    };
    let (empty, full) = (store(&empty), store(&full));
    let mut fetcher = Fetcher::new(DigestKind::Sha512_256);
    let chunk = fetcher
        .fetch(&[&empty, &full], &wanted(), Vec::new())
        .unwrap();
    assert_eq!(chunk.bytes(), CHUNK);
    let error = fetcher.fetch(&[&empty], &wanted(), Vec::new()).unwrap_err();
    assert!(error.is_missing());
}

#[test]
fn secrets_go_to_their_server_alone_and_into_no_message() {
    let other = Server::start(|_| ok(&packed(CHUNK)));
    let there = other.address.clone();
    let first = Server::start(move |request| {
        assert!(request.headers.contains("authorization: bearer geheim"));
        answer(
            "307 Elsewhere",
            &format!("Location: {there}{}\r\n", request.path),
            b"",
        )
    });
    let wait = Arc::new(Counted::default());
    let client = client(
        &wait,
        &[("Authorization", "Bearer geheim"), ("X-Token", "geheim")],
    );
    let address = Address::parse(&format!("{}?token=geheim", first.address)).unwrap();
    let store = HttpStore::new(client.clone(), address);
    let mut fetcher = Fetcher::new(DigestKind::Sha512_256);
    fetcher.fetch(&[&store], &wanted(), Vec::new()).unwrap();
    assert_eq!(other.requests().len(), 1);
    let sent = other.requests().concat();
    assert!(
        !sent.contains("bearer") && !sent.contains("x-token"),
        "{sent}"
    );

    let refusing = Server::start(|_| answer("503 No", "", b""));
    let address = Address::parse(&format!("{}?token=geheim", refusing.address)).unwrap();
    let store = HttpStore::new(client, address);
    let error = fetcher.fetch(&[&store], &wanted(), Vec::new()).unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(!told.contains("geheim"), "{told}");
}

/// A server with a file of 1000 bytes; `change` may spoil an answer to a range.
fn file_server(
    change: impl Fn(&Request, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> (Server, Vec<u8>) {
    let file: Vec<u8> = (0..=249).cycle().take(1000).collect();
    let served = file.clone();
    let server = Server::start(move |request| {
        let (first, last) = request.range.expect("every request names a range");
        let headers = format!("Content-Range: bytes {first}-{last}/1000\r\nETag: \"v1\"\r\n");
        change(request, answer("206 Part", &headers, &served[first..=last]))
    });
    (server, file)
}

fn read(server: &Server, offset: u64, len: usize) -> Result<Vec<u8>, String> {
    let wait = Arc::new(Counted::default());
    let address = Address::parse(&server.address).unwrap();
    let file = HttpFile::open(client(&wait, &[]), address).map_err(|e| e.to_string())?;
    let mut bytes = vec![0; len];
    file.read_exact_at(offset, &mut bytes)
        .map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn replaced(answer: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = answer
        .windows(from.len())
        .position(|part| part == from.as_bytes())
        .unwrap();
    [&answer[..at], to.as_bytes(), &answer[at + from.len()..]].concat()
}

#[test]
fn a_file_is_read_by_ranges() {
    let (server, file) = file_server(|_, answer| answer);
    assert_eq!(read(&server, 100, 50).unwrap(), file[100..150]);
    assert_eq!(read(&server, 990, 10).unwrap(), file[990..]);
    assert!(read(&server, 990, 11).is_err());
    assert!(read(&server, u64::MAX, 11).is_err());
}

#[test]
fn what_was_cut_off_is_continued_and_not_begun_again() {
    let len = 1_000_000_usize;
    let file: Vec<u8> = (0..=250).cycle().take(len).collect();
    let served = file.clone();
    // Every answer is cut off after 100,000 bytes: more cuts than tries.
    let server = Server::start(move |request| {
        let (first, last) = request.range.unwrap();
        let head = format!(
            "HTTP/1.1 206 Part\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{len}\r\n\
             ETag: \"v1\"\r\nX-End: yes\r\n\r\n",
            last - first + 1
        );
        let end = (first + 100_000).min(last + 1);
        [head.as_bytes(), &served[first..end]].concat()
    });
    let wait = Arc::new(Counted::default());
    let address = Address::parse(&server.address).unwrap();
    let whole = HttpFile::open(client(&wait, &[]), address).unwrap();
    let mut bytes = vec![0; len];
    whole.read_exact_at(0, &mut bytes).unwrap();
    assert!(bytes == file);
    assert_eq!(*wait.0.lock().unwrap(), [], "each cut after progress");
    let requests = server.requests();
    assert_eq!(requests.len(), 11, "the first byte, and ten parts");
    assert!(
        requests[10].contains("range: bytes=900000-999999"),
        "{}",
        requests[10]
    );
    assert!(requests[1].contains("if-range: \"v1\""), "{}", requests[1]);
}

#[test]
fn headers_of_the_first_request_are_sent_once() {
    let (server, _) = file_server(|_, answer| answer);
    let wait = Arc::new(Counted::default());
    let address = server.address.replace("http://", "http://us:er@");
    let told = [http::header("RAUC-Serial", "7").unwrap()];
    let file = HttpFile::open_telling(client(&wait, &[]), Address::parse(&address).unwrap(), &told);
    file.unwrap().read_exact_at(5, &mut [0; 3]).unwrap();
    let requests = server.requests();
    let has = |text: &str| {
        requests
            .iter()
            .map(|r| r.contains(text))
            .collect::<Vec<_>>()
    };
    assert_eq!(has("rauc-serial: 7"), [true, false]);
    assert_eq!(has("authorization: basic dxm6zxi="), [true, true]);
}

#[test]
fn a_proxy_that_is_reached_by_anything_but_http_is_refused() {
    for (address, scheme) in [
        ("https://proxy.example:8443", "https"),
        ("socks5://proxy.example", "socks5"),
    ] {
        let settings = Settings {
            proxy: Some(http::Proxy::new(address).unwrap()),
            ..Settings::default()
        };
        let refused = Client::new(settings).map(drop).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains(&format!("{scheme}://")), "{text}");
    }
}

#[test]
fn a_proxy_is_asked_in_the_servers_place() {
    let proxy = Server::start(|request| {
        assert_eq!(request.path, "nowhere.invalid:80");
        answer("502 Bad", "", b"")
    });
    let wait = Arc::new(Counted::default());
    let settings = Settings {
        patience: Patience {
            tries: 1,
            ..Patience::default()
        },
        wait: wait.clone(),
        proxy: Some(http::Proxy::new(proxy.address.trim_end_matches("/store")).unwrap()),
        ..Settings::default()
    };
    let address = Address::parse("http://nowhere.invalid/x").unwrap();
    let opened = HttpFile::open(Client::new(settings).unwrap(), address);
    assert!(opened.is_err());
    assert_eq!(proxy.requests().len(), 1);
}

#[test]
fn ranges_that_are_not_what_was_asked_for() {
    let not_first = |request: &Request| request.range != Some((0, 1));
    let (server, _) = file_server(|_, _| ok(&[0; 1000]));
    assert!(read(&server, 0, 10).unwrap_err().contains("ignores ranges"));
    let (server, _) = file_server(move |request, answer| match not_first(request) {
        true => replaced(&answer, "bytes 100-", "bytes 101-"),
        false => answer,
    });
    assert!(
        read(&server, 100, 10)
            .unwrap_err()
            .contains("another range: `bytes 101-109/1000`")
    );
    for (from, to) in [("\"v1\"", "\"v2\""), ("/1000", "/1001")] {
        let (server, _) = file_server(move |request, answer| match not_first(request) {
            true => replaced(&answer, from, to),
            false => answer,
        });
        let error = read(&server, 100, 10).unwrap_err();
        assert!(error.contains("has changed while it was read"), "{error}");
    }
    // A file without any version that lies about its length is read as far as it says.
    let (server, _) = file_server(|_, answer| replaced(&answer, "Content-Range: ", "X-Range: "));
    assert!(read(&server, 0, 10).unwrap_err().contains("another range"));
}

/// A small server that people start by hand, and that has its own idea of a range that ends at 0.
#[test]
fn busybox_serves_parts() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    fs_err::write(dir.path().join("file"), &bytes).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut httpd = std::process::Command::new("busybox")
        .args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"])
        .arg(dir.path())
        .spawn()
        .expect("Debian's busybox-static");
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(httpd.try_wait().unwrap().is_none(), "it ended");
        thread::sleep(Duration::from_millis(10));
    }
    let wait = Arc::new(Counted::default());
    let address = Address::parse(&format!("http://127.0.0.1:{port}/file")).unwrap();
    let found = HttpFile::open(client(&wait, &[]), address).map(|file| {
        let (mut part, mut first) = (vec![0; 300], [9]);
        file.read_exact_at(0, &mut first)?;
        assert_eq!(first, [0]);
        file.read_exact_at(99_700, &mut part).map(|()| part)
    });
    httpd.kill().unwrap();
    httpd.wait().unwrap();
    assert_eq!(found.unwrap().unwrap(), bytes[99_700..]);
}

#[test]
fn a_client_that_is_stopped_leaves_a_silent_server_at_once() {
    // Takes the connection, and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    // Says half, and then nothing.
    let half = Server::start(|_| {
        let mut answer = ok(&[7; 200_000]);
        answer.truncate(100_000);
        answer
    });
    // Wants to be left alone for a minute.
    let busy = Server::start(|_| answer("503 Busy", "Retry-After: 60\r\n", b""));
    let mute = format!("http://{}/store", mute.local_addr().unwrap());
    for address in [&mute, &half.address, &busy.address] {
        let client = Client::new(Settings::default()).unwrap();
        let (asking, address) = (client.clone(), Address::parse(address).unwrap());
        let asked = thread::spawn(move || asking.get(&address, 1 << 20, &mut Vec::new()));
        thread::sleep(Duration::from_millis(300));
        assert!(!asked.is_finished(), "it waits");
        client.stop();
        let ended = asked.join().unwrap();
        assert!(matches!(ended, Err(HttpError::Stopped(_))), "{ended:?}");
        // And it asks for nothing any more.
        let address = Address::parse(&half.address).unwrap();
        let before = half.requests().len();
        let ended = client.get(&address, 1 << 20, &mut Vec::new());
        assert!(matches!(ended, Err(HttpError::Stopped(_))), "{ended:?}");
        assert_eq!(half.requests().len(), before);
    }
}

#[test]
fn a_limit_on_the_rate_does_not_hold_up_who_is_stopped() {
    let server = Server::start(|_| ok(&[7; 200_000]));
    let settings = Settings {
        rate: NonZeroU64::new(1_000),
        ..Settings::default()
    };
    let client = Client::new(settings).unwrap();
    let (asking, address) = (client.clone(), Address::parse(&server.address).unwrap());
    let asked = thread::spawn(move || asking.get(&address, 1 << 20, &mut Vec::new()));
    while client.received() == 0 {
        thread::sleep(Duration::from_millis(10));
    }
    client.stop();
    // Otherwise it would take minutes.
    assert!(asked.join().unwrap().is_err());
}
