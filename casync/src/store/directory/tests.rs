use super::*;
use crate::chunk::DigestKind;
use std::os::unix::fs::{PermissionsExt, symlink};

fn id() -> ChunkId {
    DigestKind::Sha256.id_of(b"abc")
}

fn store(dir: &Path, durability: Durability) -> DirStore {
    DirStore::new(dir.join("x.castr"), 7, durability)
}

#[test]
fn a_chunk_has_casyncs_path_and_mode_and_no_temporary_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    for durability in [Durability::EachPut, Durability::AtSync] {
        let store = store(dir.path(), durability);
        store.put(&id(), StoredForm::Packed, b"stored").unwrap();
        store.put(&id(), StoredForm::Packed, b"again").unwrap();
        store.sync().unwrap();
        let sub = dir.path().join("x.castr/ba78");
        let names: Vec<_> = fs::read_dir(&sub)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, [format!("{}.cacnk", id()).as_str()]);
        let mode = fs::metadata(store.path_of(&id(), StoredForm::Packed))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o444);
        let mut into = b"old".to_vec();
        assert_eq!(
            store.get(&id(), 100, &mut into).unwrap(),
            StoredForm::Packed
        );
        assert_eq!(into, b"again");
    }
}

#[test]
fn missing_marked_empty_and_raw_chunks_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), Durability::EachPut);
    let mut into = Vec::new();
    assert!(
        matches!(store.get(&id(), 9, &mut into), Err(StoreError::Missing)),
        "no directory"
    );
    store.put(&id(), StoredForm::Raw, b"abc").unwrap();
    assert_eq!(store.get(&id(), 9, &mut into).unwrap(), StoredForm::Raw);
    assert!(store.has(&id()).unwrap());
    fs::remove_file(store.path_of(&id(), StoredForm::Raw)).unwrap();
    symlink("/dev/null", store.path_of(&id(), StoredForm::Packed)).unwrap();
    assert!(
        matches!(store.get(&id(), 9, &mut into), Err(StoreError::Missing)),
        "marked"
    );
    assert!(!store.has(&id()).unwrap());
    store.put(&id(), StoredForm::Packed, b"").unwrap();
    assert!(
        !store.has(&id()).unwrap(),
        "an empty file is what a power cut leaves"
    );
}

#[test]
fn what_is_no_file_is_refused_and_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), Durability::EachPut);
    let path = store.path_of(&id(), StoredForm::Packed);
    fs::create_dir_all(&path).unwrap();
    let mut into = Vec::new();
    assert!(matches!(
        store.get(&id(), 9, &mut into),
        Err(StoreError::Unreadable(_))
    ));
    let chunk = crate::index::IndexChunk {
        start: 0,
        len: 3,
        id: id(),
    };
    let error = crate::store::Fetcher::new(DigestKind::Sha256)
        .fetch(&[&store], &chunk, Vec::new())
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("x.castr: the store cannot be read: the chunk's name is not"),
        "{text}"
    );
    fs::remove_dir(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    assert!(matches!(
        store.get(&id(), 9, &mut into),
        Err(StoreError::Unreadable(_))
    ));
}

#[test]
fn a_file_longer_than_the_bound_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), Durability::EachPut);
    store.put(&id(), StoredForm::Packed, &[0; 101]).unwrap();
    let mut into = Vec::new();
    assert!(matches!(
        store.get(&id(), 100, &mut into),
        Err(StoreError::TooLong { max: 100 })
    ));
    for enough in [101, u64::MAX] {
        assert!(store.get(&id(), enough, &mut into).is_ok());
    }
}

#[test]
fn temporary_names_that_are_taken_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let one = store(dir.path(), Durability::EachPut);
    let sub = one
        .path_of(&id(), StoredForm::Raw)
        .parent()
        .unwrap()
        .to_owned();
    fs::create_dir_all(&sub).unwrap();
    File::create(sub.join(format!("{}.{:016x}.tmp", id(), 7))).unwrap();
    one.put(&id(), StoredForm::Packed, b"x").unwrap();
    assert!(one.has(&id()).unwrap());
}

#[test]
fn a_store_that_cannot_be_written_says_where() {
    let dir = tempfile::tempdir().unwrap();
    File::create(dir.path().join("x.castr")).unwrap();
    let error = store(dir.path(), Durability::EachPut)
        .put(&id(), StoredForm::Raw, b"x")
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot create the directory /"),
        "{error}"
    );
}
