//! A bundle on a web server: ranges, patience, and what is not put up with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::time::Duration;

use bundle_format::ReadAt;
use slotmgr::source::{HttpReader, Retry, WINDOW};
use support::server::{Fault, Server};

fn retry() -> Retry {
    let moment = Duration::from_millis(1);
    Retry {
        connect: Duration::from_secs(5),
        stall: Duration::from_secs(5),
        pauses: vec![moment, moment],
    }
}

fn file() -> Vec<u8> {
    let windows = 5 * WINDOW + 12_345;
    (0..windows)
        .map(|i| u8::try_from((i / 7 + i / 4096) % 251).unwrap())
        .collect()
}

fn read_all(reader: &HttpReader) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(reader.len()).unwrap()];
    for (number, piece) in bytes.chunks_mut(100_000).enumerate() {
        reader.read_exact_at(piece, number as u64 * 100_000)?;
    }
    Ok(bytes)
}

fn open_error(fault: Fault) -> String {
    let server = Server::start(file(), move |_| fault);
    let Err(error) = HttpReader::open(&server.url, retry()) else {
        panic!("{fault:?} was put up with");
    };
    let cause = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{error}: {cause}")
}

#[test]
fn every_byte_is_fetched_once_when_it_is_read_in_order() {
    let server = Server::start(file(), |_| Fault::None);
    let reader = HttpReader::open(&server.url, retry()).unwrap();
    assert_eq!(reader.len(), file().len() as u64);
    assert!(read_all(&reader).unwrap() == file());
    let mut ranges = server.ranges();
    ranges.sort_unstable();
    let starts: Vec<u64> = ranges.iter().map(|(first, _)| *first).collect();
    let expected: Vec<u64> = (0..6).map(|window| window * WINDOW as u64).collect();
    assert_eq!(starts, expected);
}

#[test]
fn any_position_and_no_further_than_the_end() {
    let server = Server::start(file(), |_| Fault::None);
    let reader = HttpReader::open(&server.url, retry()).unwrap();
    let whole = file();
    for (offset, len) in [
        (whole.len() - 8, 8),
        (WINDOW - 3, 6),
        (0, 1),
        (2 * WINDOW, WINDOW + 1),
    ] {
        let mut bytes = vec![0; len];
        reader.read_exact_at(&mut bytes, offset as u64).unwrap();
        assert!(
            bytes == whole[offset..offset + len],
            "{len} bytes at {offset}"
        );
    }
    let mut bytes = [0; 2];
    assert!(
        reader
            .read_exact_at(&mut bytes, whole.len() as u64 - 1)
            .is_err()
    );
    assert!(reader.read_exact_at(&mut bytes, u64::MAX).is_err());
}

#[test]
fn a_passing_fault_is_tried_again() {
    for fault in [
        Fault::Status(503),
        Fault::Status(429),
        Fault::Short,
        Fault::Close,
    ] {
        let server = Server::start(
            file(),
            move |n| if n == 1 || n == 3 { fault } else { Fault::None },
        );
        let reader = HttpReader::open(&server.url, retry()).unwrap();
        assert!(read_all(&reader).unwrap() == file(), "{fault:?}");
        assert!(server.requests() > 6, "{fault:?}");
    }
}

#[test]
fn what_does_not_pass_is_told() {
    for (fault, expected) in [
        (Fault::Status(404), "answers 404"),
        (Fault::Status(403), "answers 403"),
        (Fault::NoRanges, "does not serve parts of a file"),
        (Fault::OtherRange, "a range that was not asked for"),
        (Fault::Status(500), "tried 3 times: the server answers 500"),
        (Fault::Short, "at byte 0, tried 3 times: "),
    ] {
        let message = open_error(fault);
        assert!(message.contains(expected), "{fault:?}: {message}");
    }
    let nobody = HttpReader::open("http://127.0.0.1:9/x", retry())
        .err()
        .unwrap();
    assert!(nobody.to_string().contains("tried 3 times"), "{nobody}");
}

#[test]
fn another_file_in_the_middle_is_noticed() {
    let plan = |n| {
        if n >= 2 {
            Fault::OtherFile
        } else {
            Fault::None
        }
    };
    let server = Server::start(file(), plan);
    let reader = HttpReader::open(&server.url, retry()).unwrap();
    let error = read_all(&reader).unwrap_err().to_string();
    assert!(error.contains("changed while it was being read"), "{error}");
}
