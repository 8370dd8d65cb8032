use super::*;
use crate::limits::INDEX_CHUNKS;
use proptest::prelude::*;

fn sample(chunks: &[u32]) -> Index {
    let digest = DigestKind::Sha512_256;
    let mut index = Index::new(FeatureFlags::for_blob(digest), ChunkSizes::default());
    for len in chunks {
        index.push(*len, digest.id_of(&len.to_le_bytes())).unwrap();
    }
    index
}

fn bytes_of(index: &Index) -> Vec<u8> {
    let mut bytes = Vec::new();
    index.write_to(&mut bytes).unwrap();
    bytes
}

fn with_word(bytes: &[u8], offset: usize, word: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
    bytes
}

fn message(bytes: &[u8]) -> String {
    let error = Index::read_from(bytes).unwrap_err();
    let cause = std::error::Error::source(&error);
    cause.map_or(error.to_string(), |cause| format!("{error}: {cause}"))
}

#[test]
fn what_was_written_is_read() {
    for chunks in [&[][..], &[1], &[100, 262_144, 7]] {
        let index = sample(chunks);
        let bytes = bytes_of(&index);
        assert_eq!(
            u64::try_from(bytes.len()),
            Ok(encoded_len(u64::try_from(chunks.len()).unwrap()))
        );
        assert_eq!(Index::read_from(&bytes[..]).unwrap(), index);
    }
    assert_eq!((encoded_len(0), encoded_len(1)), (104, 144));
}

#[test]
fn chunks_are_found_by_number_and_offset() {
    let index = sample(&[100, 262_144, 7]);
    assert_eq!((index.len(), index.image_len()), (3, 262_251));
    let second = index.get(1).unwrap();
    assert_eq!(
        (second.start, second.len, second.end()),
        (100, 262_144, 262_244)
    );
    assert_eq!(index.chunks()[1], second);
    let at = |offset| index.number_at(offset);
    assert_eq!(
        (at(0), at(99), at(100), at(262_250), at(262_251)),
        (Some(0), Some(0), Some(1), Some(2), None)
    );
    assert_eq!(index.get(3), None);
    assert!(sample(&[]).is_empty());
}

#[test]
fn malformed_indices_are_refused_and_the_message_says_where() {
    let good = bytes_of(&sample(&[100, 200]));
    let two = good.len() - 40;
    let table: Vec<(Vec<u8>, &str)> = vec![
        (
            with_word(&good, 0, 49),
            "header size at byte 0 is 0x31, not 0x30",
        ),
        (with_word(&good, 8, 1), "header type at byte 8"),
        (
            with_word(&good, 16, 1 << 40),
            "byte 16 of the index: unknown feature flags 0x0000010000000000",
        ),
        (with_word(&good, 16, 3), "contradict each other"),
        (
            with_word(&good, 24, 0),
            "byte 24 of the index: chunk size 0 is not within",
        ),
        (with_word(&good, 24, 1 << 20), "not in order"),
        (
            with_word(&good, 32, 1 << 40),
            "chunk size 1099511627776 is not within",
        ),
        (
            with_word(&good, 40, (128 << 20) + 1),
            "chunk size 134217729",
        ),
        (with_word(&good, 48, 136), "table size at byte 48"),
        (with_word(&good, 56, 0), "table type at byte 56"),
        (
            with_word(&good, 64, 0),
            "chunk 0 at byte 64 of the index ends at 0, not behind 0",
        ),
        (
            with_word(&good, 104, 100),
            "chunk 1 at byte 104 of the index ends at 100, not behind 100",
        ),
        (with_word(&good, 104, 50), "not behind 100"),
        (
            with_word(&good, 64, 262_145),
            "chunk 0 at byte 64 of the index has 262145 bytes, more than 262144",
        ),
        (with_word(&good, 104, u64::MAX), "more than 262144"),
        (
            with_word(&good, two, 1),
            "chunk 2 at byte 144 of the index ends at 1",
        ),
        (with_word(&good, two + 8, 1), "tail filler at byte 152"),
        (with_word(&good, two + 16, 47), "index offset at byte 160"),
        (
            with_word(&good, two + 24, 0),
            "table size at byte 168 is 0x0, not 0x88",
        ),
        (
            with_word(&good, two + 32, 0),
            "chunk 2 at byte 144 of the index ends at 0",
        ),
        (
            [&good[..], &[0]].concat(),
            "bytes follow the end of the index at byte 184",
        ),
        (
            good[..two].to_vec(),
            "ends within the table at byte 144; it was cut short",
        ),
        (
            good[..good.len() - 1].to_vec(),
            "ends within the table at byte 144",
        ),
        (good[..63].to_vec(), "ends within the header at byte 56"),
        (Vec::new(), "ends within the header at byte 0"),
    ];
    for (bytes, expected) in table {
        let message = message(&bytes);
        assert!(
            message.contains(expected),
            "{message:?} should contain {expected:?}"
        );
    }
}

#[test]
fn every_shorter_part_of_an_index_is_refused() {
    let good = bytes_of(&sample(&[100, 200]));
    for len in 0..good.len() {
        let error = Index::read_from(&good[..len]).unwrap_err();
        assert!(
            matches!(error, IndexError::Truncated { .. }),
            "{len}: {error}"
        );
    }
}

#[test]
fn an_endless_index_is_given_up() {
    struct Endless {
        head: Vec<u8>,
        at: usize,
        end: u64,
    }
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.at == self.head.len() {
                self.end += 1;
                self.head = [&self.end.to_le_bytes()[..], &[0; 32]].concat();
                self.at = 0;
            }
            let n = buffer.len().min(self.head.len() - self.at);
            buffer[..n].copy_from_slice(&self.head[self.at..self.at + n]);
            self.at += n;
            Ok(n)
        }
    }
    let head = bytes_of(&sample(&[]))[..64].to_vec();
    let mut reader = IndexReader::new(Endless {
        head,
        at: 0,
        end: 0,
    })
    .unwrap();
    let mut count = 0;
    let error = loop {
        match reader.next_chunk() {
            Ok(chunk) => count += usize::from(chunk.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(count, INDEX_CHUNKS);
    assert!(matches!(error, IndexError::TooMany { .. }), "{error}");
}

#[test]
fn chunks_that_no_reader_takes_are_not_written() {
    let mut index = sample(&[]);
    let id = DigestKind::Sha256.id_of(b"");
    let refused =
        |len, number| matches!(len, Err(IndexWriteError::Length { number: n, .. }) if n == number);
    assert!(refused(index.push(0, id), 0));
    index.push(5, id).unwrap();
    assert!(refused(index.push(262_145, id), 1));
}

proptest! {
    #[test]
    fn any_index_comes_back(lens in prop::collection::vec(1..262_144_u32, 0..50)) {
        let index = sample(&lens);
        prop_assert_eq!(Index::read_from(&bytes_of(&index)[..]).unwrap(), index);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Index::read_from(&bytes[..]);
    }

    #[test]
    fn no_change_of_an_index_makes_the_reader_panic(
        lens in prop::collection::vec(1..300_u32, 0..5), at in any::<prop::sample::Index>(), byte: u8, word: u64,
    ) {
        let good = bytes_of(&sample(&lens));
        let mut changed = good.clone();
        changed[at.index(good.len())] = byte;
        if let Ok(index) = Index::read_from(&changed[..]) {
            // What is accepted is written back to the same bytes: there is one form only.
            prop_assert_eq!(bytes_of(&index), changed);
        }
        let _ = Index::read_from(&with_word(&good, at.index(good.len() / 8) * 8, word)[..]);
    }
}
