//! Stores that lie, indices that cannot be, seeds that change: what is wrong is named, the system that
//! runs is not touched, and the next run goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::os::unix::fs::FileExt as _;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use casync::codec::{Encoder, Packing};
use support::chunks::{IMAGE, Lab, lab};
use support::noise;
use support::rig::stderr;
use support::server::{Fault, Request, Server};

/// Bytes of a pack or delta that are more than its head: only chunks are read from here on.
const DATA: u64 = 500_000;

impl Lab {
    /// The update failed and said so; B is what starts, and A is not.
    fn stays_on_b(&self, output: &Output, expected: &[&str]) {
        let message = stderr(output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        for text in expected {
            assert!(message.contains(text), "no {text:?} in: {message}");
        }
        let env = String::from_utf8(self.rig.snapshot().env).unwrap();
        assert!(env.contains("A_OK=0"), "A is not condemned: {env}");
        assert_eq!(self.rig.start(), "B");
    }

    /// From a server without faults the update is installed; gives the bytes of chunks.
    fn goes_on(&self) -> u64 {
        self.fetched(&self.serve(|_| Fault::None))
    }

    /// Serves with one fault for each chunk whose turn `when` says it is; gives the names of these.
    fn with_bad_chunks(
        &self,
        fault: Fault,
        when: impl Fn(usize) -> bool + Send + Sync + 'static,
    ) -> (Server, Arc<Mutex<Vec<String>>>) {
        let bad = Arc::new(Mutex::new(Vec::new()));
        let (seen, names) = (AtomicUsize::new(0), Arc::clone(&bad));
        let server = self.serve(move |request| {
            let Some(id) = chunk_of(request) else {
                return Fault::None;
            };
            if !when(seen.fetch_add(1, Ordering::Relaxed)) {
                return Fault::None;
            }
            names.lock().unwrap().push(id);
            fault
        });
        (server, bad)
    }
}

/// The chunk that is asked for.
fn chunk_of(request: &Request) -> Option<String> {
    let name = request.path.strip_suffix(".cacnk")?;
    Some(name.rsplit('/').next().unwrap().to_owned())
}

/// How often it was asked for.
fn asked_for(server: &Server, id: &str) -> usize {
    let log = server.log();
    log.iter().filter_map(chunk_of).filter(|c| c == id).count()
}

/// 64 MiB of zeros, in a few KiB.
fn bomb(packing: Packing) -> &'static [u8] {
    let mut packed = Vec::new();
    let zeros = vec![0; 64 << 20];
    Encoder::new(packing)
        .unwrap()
        .encode(&zeros, &mut packed)
        .unwrap();
    packed.leak()
}

#[test]
fn one_chunk_that_is_not_there_is_named_with_its_store() {
    let lab = lab();
    let (server, bad) = lab.with_bad_chunks(Fault::Status(404), |turn| turn == 2);
    let output = lab.update(&server, &[]);
    let id = bad.lock().unwrap()[0].clone();
    let of_store = format!("{}/store.castr", server.url);
    lab.stays_on_b(&output, &[&id, &of_store, "not in the store"]);
    let (first, rest) = (server.sent_of(".cacnk"), lab.goes_on());
    assert!(first + rest < 900_000, "{first} and {rest}");
}

#[test]
fn bombs_stop_at_the_length_that_is_signed() {
    for packing in [Packing::Zstd { level: 3 }, Packing::Xz, Packing::Gzip] {
        let lab = lab();
        let (server, bad) = lab.with_bad_chunks(Fault::Instead(bomb(packing)), |_| true);
        let output = lab.update(&server, &[]);
        let message = stderr(&output);
        let named = |id: &String| message.contains(id);
        assert!(bad.lock().unwrap().iter().any(named), "{message}");
        lab.stays_on_b(&output, &[&server.url, "more than"]);
        lab.goes_on();
    }
}

#[test]
fn a_server_that_is_busy_for_a_while_is_waited_for() {
    let lab = support::chunks::lab();
    let (server, bad) = lab.with_bad_chunks(Fault::Busy(1), |turn| turn < 3);
    assert!(lab.fetched(&server) < 900_000);
    let bad = bad.lock().unwrap().clone();
    assert_eq!(bad.len(), 3);
    for id in &bad {
        let refused = bad.iter().filter(|other| *other == id).count();
        assert_eq!(asked_for(&server, id), refused + 1);
    }

    // And one that wants to be left alone for a day is left.
    let lab = support::chunks::lab();
    let (server, bad) = lab.with_bad_chunks(Fault::Busy(86_400), |_| true);
    let output = lab.update(&server, &[]);
    let message = stderr(&output);
    let named = |id: &String| message.contains(id);
    assert!(bad.lock().unwrap().iter().any(named), "{message}");
    lab.stays_on_b(&output, &[&server.url, "503"]);
    lab.goes_on();
}

#[test]
fn a_server_that_falls_silent_in_a_chunk_is_asked_again() {
    let lab = lab();
    let (server, bad) = lab.with_bad_chunks(Fault::Stall, |turn| turn == 1);
    let output = lab.update(&server, &[]);
    lab.done(&output, &lab.second, "slot-a");
    let id = bad.lock().unwrap()[0].clone();
    assert_eq!(asked_for(&server, &id), 2);
}

#[test]
fn a_pack_that_turns_into_something_else_is_left_for_the_chunks() {
    for fault in [
        Fault::OtherFile,
        Fault::Lie,
        Fault::NoRanges,
        Fault::OtherRange,
        Fault::Status(404),
        Fault::Busy(86_400),
    ] {
        let lab = lab();
        lab.releases.pack(&lab.second);
        let server = lab.serve(move |request| {
            let data = request.range.is_some_and(|(first, _)| first > DATA);
            match request.path.ends_with(".pack") && data {
                true => fault,
                false => Fault::None,
            }
        });
        lab.fetched(&server);
        assert!(server.sent_of(".cacnk") > 100_000, "{fault:?}");
    }
}

/// Does something to an index.
type Spoil = Box<dyn Fn(&mut Vec<u8>)>;

#[test]
fn indices_that_cannot_be_are_refused_by_name() {
    let table = |number: usize| 64 + 40 * number;
    let put = |at: usize, value: u64| {
        move |bytes: &mut Vec<u8>| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes())
    };
    let cases: [(&str, Spoil); 7] = [
        ("chunk 3 at byte", Box::new(put(table(3), 17))),
        ("chunk 3 at byte", Box::new(put(table(3), u64::MAX - 1))),
        ("chunk 0 at byte", Box::new(put(table(0), 0))),
        ("bad chunk sizes", Box::new(put(40, 1 << 60))),
        ("bad chunk sizes", Box::new(put(32, 0))),
        ("feature flags", Box::new(put(16, 1 << 40))),
        ("cut short", Box::new(|bytes| bytes.truncate(5000))),
    ];
    let lab = lab();
    let mut good = Vec::new();
    lab.second.index.write_to(&mut good).unwrap();
    for (expected, spoil) in cases {
        let mut bytes = good.clone();
        spoil(&mut bytes);
        lab.releases.bundle(&lab.second.image, &bytes, "2");
        let output = lab.update(&lab.serve(|_| Fault::None), &[]);
        lab.stays_on_b(&output, &["rootfs.img.caibx", expected]);
    }
    lab.releases.bundle(&lab.second.image, &good, "2");
    lab.goes_on();
}

#[test]
fn an_index_of_another_image_is_refused_before_the_system_is_armed() {
    let lab = lab();
    // Everything about it is right, but it is not of the image that the manifest promises.
    let other = lab.releases.publish(&noise(8, IMAGE), "3");
    let mut bytes = Vec::new();
    other.index.write_to(&mut bytes).unwrap();
    lab.releases.bundle(&lab.second.image, &bytes, "2");
    let output = lab.update(&lab.serve(|_| Fault::None), &[]);
    lab.stays_on_b(&output, &["slot rootfs.0"]);
    bytes.clear();
    lab.second.index.write_to(&mut bytes).unwrap();
    lab.releases.bundle(&lab.second.image, &bytes, "2");
    lab.goes_on();
}

#[test]
fn a_prefix_outside_of_the_slot_spoils_its_piece_and_nothing_else() {
    let lab = lab();
    // What is new is found behind the end of the slot, where no device has anything.
    let mut base = lab.first.image.clone();
    base.extend(noise(12, 2 << 20));
    base.extend(noise(77, 70_000));
    lab.releases.delta_of(&base, &lab.first, &lab.second);
    let server = lab.serve(|_| Fault::None);
    lab.fetched(&server);
    assert!(server.sent_of(".delta") > 0);
    let chunks = server.sent_of(".cacnk");
    assert!((60_000..500_000).contains(&chunks), "{chunks}");
}

#[test]
fn a_seed_that_changes_underneath_is_fetched_for_what_it_no_longer_has() {
    let lab = lab();
    let slot = fs_err::OpenOptions::new()
        .write(true)
        .open(lab.rig.path("slot-b"))
        .unwrap()
        .into_file();
    // It was read and indexed; then, while the first chunk is fetched, somebody writes to it.
    let server = lab.serve(move |request| {
        if chunk_of(request).is_some() {
            slot.write_all_at(&noise(3, 1 << 20), 6 << 20).unwrap();
        }
        Fault::None
    });
    let output = lab.update(&server, &[]);
    lab.done(&output, &lab.second, "slot-a");
    let message = stderr(&output);
    assert!(message.contains("were not what was expected"), "{message}");
    assert!(server.sent_of(".cacnk") > 1 << 20);
}
