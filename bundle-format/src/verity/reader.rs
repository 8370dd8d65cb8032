//! Reading data of which every block is checked against the signed root first.

use std::io;
use std::ops::Range;
use std::slice;

use super::tree::Tree;
use super::{BLOCK, BlockHasher, FANOUT};
use crate::digest::Digest;
use crate::limits::BLOCK_SIZE;
use crate::parallel;
use crate::payload_error::PayloadError;
use crate::read_at::{ReadAt, check_range, widened};

/// Bytes that one job of a whole check covers.
const JOB: u64 = 2 * 1024 * 1024;

/// Bytes that are read from the source at once.
const RUN: usize = 512 * 1024;

/// The data under a hash tree. Nothing that does not match the root ever leaves it, on any read:
/// a source that changes between two reads is found out.
pub struct VerityReader<R> {
    source: R,
    data_len: u64,
    tree: Tree,
}

impl<R: ReadAt> VerityReader<R> {
    /// `source` holds `data_len` bytes of data (a multiple of the block size, not 0) and the tree
    /// directly behind them.
    pub fn new(source: R, data_len: u64, root: Digest, salt: &[u8; 32]) -> Self {
        let tree = Tree::new(
            data_len / BLOCK_SIZE,
            data_len,
            root,
            BlockHasher::new(salt),
        );
        Self {
            source,
            data_len,
            tree,
        }
    }

    /// Checks every block of the data, and with them the whole tree, on all cores. `progress` gets
    /// the bytes that are done and the bytes that there are.
    ///
    /// # Errors
    /// The first block (in the order of the file) that does not match, or what the source reports.
    pub fn verify_all(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), PayloadError> {
        let jobs = (0..self.data_len.div_ceil(JOB)).map(|job| job * JOB);
        let work = |buffer: &mut Vec<u8>, start: u64| {
            let end = self.data_len.min(start + JOB);
            buffer.resize(RUN, 0);
            let mut offset = start;
            while offset < end {
                let len = usize::try_from(end - offset).unwrap_or(RUN).min(RUN);
                self.read_blocks(&mut buffer[..len], offset)?;
                offset += len as u64;
            }
            Ok(end - start)
        };
        let mut done = 0;
        self.expect(slice::from_ref(&(0..self.data_len)));
        progress(0, self.data_len);
        parallel::run(jobs, work, &mut |bytes| {
            done += bytes;
            progress(done, self.data_len);
        })
    }

    /// Whole blocks from a block boundary on.
    fn read_blocks(&self, buf: &mut [u8], offset: u64) -> Result<(), PayloadError> {
        self.source
            .read_exact_at(buf, offset)
            .map_err(|source| PayloadError::read(offset, source))?;
        let mut first = offset / BLOCK_SIZE;
        let mut rest = &*buf;
        while !rest.is_empty() {
            let parent = self.tree.block(&self.source, 0, first / FANOUT)?;
            let siblings = usize::try_from(FANOUT - first % FANOUT).unwrap_or(1);
            let (now, later) = rest.split_at(rest.len().min(siblings * BLOCK));
            for (block, bytes) in (first..).zip(now.chunks_exact(BLOCK)) {
                if self.tree.hasher().hash(bytes).as_bytes() != parent.digest(block) {
                    return Err(PayloadError::DataBlock {
                        block,
                        offset: block * BLOCK_SIZE,
                    });
                }
            }
            first += (now.len() / BLOCK) as u64;
            rest = later;
        }
        Ok(())
    }

    /// Part of one block.
    fn read_within(&self, buf: &mut [u8], offset: u64) -> Result<(), PayloadError> {
        let mut block = [0; BLOCK];
        let inside = usize::try_from(offset % BLOCK_SIZE).unwrap_or(0);
        self.read_blocks(&mut block, offset - inside as u64)?;
        buf.copy_from_slice(&block[inside..inside + buf.len()]);
        Ok(())
    }
}

impl<R: ReadAt> ReadAt for VerityReader<R> {
    fn len(&self) -> u64 {
        self.data_len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(offset, buf.len(), self.data_len)?;
        let inside = usize::try_from(offset % BLOCK_SIZE).unwrap_or(0);
        let head = if inside == 0 {
            0
        } else {
            buf.len().min(BLOCK - inside)
        };
        let (head, rest) = buf.split_at_mut(head);
        let mut offset = offset;
        if !head.is_empty() {
            self.read_within(head, offset)?;
            offset += head.len() as u64;
        }
        let (whole, tail) = rest.split_at_mut(rest.len() - rest.len() % BLOCK);
        for run in whole.chunks_mut(RUN) {
            self.read_blocks(run, offset)?;
            offset += run.len() as u64;
        }
        if !tail.is_empty() {
            self.read_within(tail, offset)?;
        }
        Ok(())
    }

    /// The blocks, and the part of the tree that lies directly over them; the levels above are few
    /// blocks.
    fn expect(&self, ranges: &[Range<u64>]) {
        let blocks = widened(ranges, BLOCK_SIZE);
        self.source.expect(&blocks);
        self.source.expect(&self.tree.leaves_over(&blocks));
    }
}

#[cfg(test)]
mod tests {
    use super::super::build_tree;
    use super::*;

    const SALT: [u8; 32] = [7; 32];

    /// Deterministic bytes of which no two blocks are equal.
    fn data(blocks: u64) -> Vec<u8> {
        (0..blocks * BLOCK_SIZE / 8)
            .flat_map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect()
    }

    fn with_tree(blocks: u64) -> (Vec<u8>, Digest) {
        let mut bytes = data(blocks);
        let tree = build_tree(&bytes, bytes.len() as u64, &SALT, &mut |_, _| {}).unwrap();
        bytes.extend_from_slice(&tree.bytes);
        (bytes, tree.root)
    }

    fn reader(bytes: Vec<u8>, root: Digest, blocks: u64) -> VerityReader<Vec<u8>> {
        VerityReader::new(bytes, blocks * BLOCK_SIZE, root, &SALT)
    }

    #[test]
    fn what_was_built_is_read_back_at_any_offset() {
        for blocks in [2, 128, 129, 3000] {
            let (bytes, root) = with_tree(blocks);
            let plain = data(blocks);
            let reader = reader(bytes, root, blocks);
            for (offset, len) in [
                (0, 1),
                (1, 4095),
                (4095, 2),
                (100, 8000),
                (4096, 4096),
                (0, plain.len()),
            ] {
                let mut buf = vec![0; len.min(plain.len() - offset)];
                reader.read_exact_at(&mut buf, offset as u64).unwrap();
                assert_eq!(buf, plain[offset..offset + buf.len()]);
            }
            let mut seen = (0, 0);
            reader
                .verify_all(&mut |done, total| seen = (done, total))
                .unwrap();
            assert_eq!(seen, (blocks * 4096, blocks * 4096));
        }
    }

    #[test]
    fn every_region_has_its_own_error() {
        let blocks = 3000;
        let (good, root) = with_tree(blocks);
        let message = |flipped: usize| {
            let mut bytes = good.clone();
            bytes[flipped] ^= 1;
            reader(bytes, root, blocks)
                .verify_all(&mut |_, _| {})
                .unwrap_err()
                .to_string()
        };
        assert!(message(1234 * 4096 + 17).contains("payload block 1234 (byte offset 5054464)"));
        // Tree of 24 + 1 blocks: the top block first.
        let tree = 3000 * 4096;
        assert!(message(tree + 5).contains("top block of the hash tree (byte offset 12288000)"));
        assert!(
            message(tree + 4000).contains("top block of the hash tree"),
            "the zero tail counts"
        );
        assert!(message(tree + 4096 * 3).contains("hash tree block 3 (byte offset 12300288)"));
        assert!(message(good.len() - 1).contains("hash tree block 24"));
    }

    #[test]
    fn the_first_of_several_bad_blocks_is_named() {
        let blocks = 3000;
        let (mut bytes, root) = with_tree(blocks);
        for block in [2999, 700, 1500] {
            bytes[block * 4096] ^= 0x80;
        }
        let error = reader(bytes, root, blocks)
            .verify_all(&mut |_, _| {})
            .unwrap_err();
        assert!(
            matches!(error, PayloadError::DataBlock { block: 700, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_bad_block_is_not_handed_out_and_good_ones_still_are() {
        let (mut bytes, root) = with_tree(200);
        bytes[150 * 4096 + 1] ^= 1;
        let reader = reader(bytes, root, 200);
        let mut buf = [0; 10];
        reader.read_exact_at(&mut buf, 149 * 4096).unwrap();
        let error = reader
            .read_exact_at(&mut buf, 150 * 4096 + 4000)
            .unwrap_err();
        let error = PayloadError::from_io(0, error);
        assert!(matches!(error, PayloadError::DataBlock { block: 150, .. }));
        assert!(
            reader.read_exact_at(&mut buf, 200 * 4096 - 5).is_err(),
            "beyond the end"
        );
    }

    #[test]
    fn many_threads_read_at_once() {
        let (bytes, root) = with_tree(3000);
        let plain = data(3000);
        let reader = reader(bytes, root, 3000);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let (reader, plain) = (&reader, &plain);
                scope.spawn(move || {
                    for n in 0..200u64 {
                        let block = (n * 977 + thread * 131) % 3000;
                        let mut buf = [0; 100];
                        reader.read_exact_at(&mut buf, block * 4096 + 50).unwrap();
                        let start = usize::try_from(block * 4096 + 50).unwrap();
                        assert_eq!(buf[..], plain[start..start + 100]);
                    }
                });
            }
        });
    }
}
