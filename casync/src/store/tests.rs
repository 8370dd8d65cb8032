use super::*;
use crate::chunk::DigestKind;
use crate::codec::{DecodeError, Encoder, Packing};
use crate::index::IndexChunk;

const CHUNK: &[u8] = b"a chunk, a chunk, a chunk, a chunk, a chunk";

fn wanted() -> IndexChunk {
    let id = DigestKind::Sha512_256.id_of(CHUNK);
    IndexChunk {
        start: 0,
        len: u32::try_from(CHUNK.len()).unwrap(),
        id,
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(Packing::default())
        .unwrap()
        .encode(bytes, &mut out)
        .unwrap();
    out
}

fn store(name: &str, form: StoredForm, stored: Vec<u8>) -> MemoryStore {
    let mut store = MemoryStore::new(name);
    store.put(wanted().id, form, stored);
    store
}

#[test]
fn a_lying_store_is_passed_over_for_the_next_one() {
    let other = CHUNK.to_ascii_uppercase();
    let lying = [
        MemoryStore::new("empty"),
        store("other bytes", StoredForm::Packed, packed(&other)),
        store("other raw bytes", StoredForm::Raw, other),
        store(
            "cut short",
            StoredForm::Packed,
            packed(CHUNK)[..10].to_vec(),
        ),
        store("a bomb", StoredForm::Packed, packed(&vec![0; 1 << 20])),
        store("no format", StoredForm::Packed, CHUNK.to_vec()),
        store("a web page", StoredForm::Packed, b"<html>404".to_vec()),
        store("too long", StoredForm::Raw, vec![0; 100_000]),
    ];
    let good = store("good", StoredForm::Packed, packed(CHUNK));
    let mut stores: Vec<&dyn ChunkStore> = lying.iter().map(|s| s as &dyn ChunkStore).collect();
    let mut fetcher = Fetcher::new(DigestKind::Sha512_256);
    let error = fetcher.fetch(&stores, &wanted(), Vec::new()).unwrap_err();
    assert!(!error.is_missing());
    let kinds: Vec<_> = error
        .attempts
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(kinds.len(), lying.len());
    let is_wrong = |n: usize| matches!(error.attempts[n].1, AttemptError::Wrong(_));
    assert!(is_wrong(1) && is_wrong(2), "{error}");
    let bomb = &error.attempts[4].1;
    assert!(
        matches!(bomb, AttemptError::Decode(DecodeError::TooLong { .. })),
        "{bomb}"
    );
    stores.push(&good);
    let chunk = fetcher.fetch(&stores, &wanted(), Vec::new()).unwrap();
    assert_eq!((chunk.bytes(), chunk.id()), (CHUNK, wanted().id));
}

#[test]
fn a_message_names_the_chunk_and_every_store() {
    let (one, two) = (
        MemoryStore::new("/srv/a.castr"),
        store("http://b", StoredForm::Raw, vec![1]),
    );
    let mut fetcher = Fetcher::new(DigestKind::Sha512_256);
    let error = fetcher
        .fetch(&[&one, &two], &wanted(), Vec::new())
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&wanted().id.to_string()), "{text}");
    assert!(
        text.contains("/srv/a.castr: the chunk is not in the store; http://b: the stored"),
        "{text}"
    );
    let nowhere = fetcher.fetch(&[&one], &wanted(), Vec::new()).unwrap_err();
    assert!(nowhere.is_missing());
}

#[test]
fn the_wrong_digest_is_a_wrong_chunk() {
    let store = store("good", StoredForm::Raw, CHUNK.to_vec());
    let error = Fetcher::new(DigestKind::Sha256)
        .fetch(&[&store], &wanted(), Vec::new())
        .unwrap_err();
    assert!(matches!(error.attempts[0].1, AttemptError::Wrong(_)));
}

#[test]
fn files_that_a_power_cut_left_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::new(dir.path(), 0, Durability::AtSync);
    let chunk = crate::chunk::HashedChunk::new(DigestKind::Sha512_256, CHUNK);
    let put = || {
        Chopper::new(&store, Packing::default())
            .put(&chunk)
            .unwrap()
    };
    let made = Chopped::Put(packed(CHUNK).len());
    assert_eq!(put(), made);
    assert_eq!(put(), Chopped::Present);
    let path = store.path_of(&wanted().id, StoredForm::Packed);
    let whole = fs_err::read(&path).unwrap();
    let other = packed(&CHUNK.to_ascii_uppercase());
    for left in [&[][..], &whole[..10], &[0; 20], &other] {
        fs_err::remove_file(&path).unwrap();
        fs_err::write(&path, left).unwrap();
        assert_eq!(put(), made, "{left:?}");
        assert_eq!(fs_err::read(&path).unwrap(), whole);
    }
    // Of another tool, and without compression: as good as ours.
    fs_err::remove_file(&path).unwrap();
    fs_err::write(store.path_of(&wanted().id, StoredForm::Raw), CHUNK).unwrap();
    assert_eq!(put(), Chopped::Present);
    store.sync().unwrap();
}

#[test]
fn a_chunk_that_is_in_the_image_twice_is_put_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirStore::new(dir.path(), 0, Durability::AtSync);
    let chopper = Chopper::new(&store, Packing::default());
    let chunk = crate::chunk::HashedChunk::new(DigestKind::Sha512_256, CHUNK);
    assert!(matches!(chopper.put(&chunk).unwrap(), Chopped::Put(_)));
    assert_eq!(chopper.put(&chunk).unwrap(), Chopped::Present);
}
