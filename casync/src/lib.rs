//! casync's formats, natively: the chunker, the index (`.caibx`), chunk stores (`.castr`), and plans
//! for putting an image together from what a device has already.
//!
//! | module | what | touches the outside |
//! |---|---|---|
//! | [`chunker`] | bytes to chunk boundaries | no |
//! | [`chunk`] | ids, and what is known about a chunk's bytes | no |
//! | [`catar`] | a directory tree as an archive, written and read | through `Read` and `Write` |
//! | [`index`] | reads and writes indices | through `Read` and `Write` |
//! | [`codec`] | compressed form of a chunk | no |
//! | [`plan`] | new index + indices of seeds to a list of operations | no |
//! | [`indexer`] | the index of a whole image, on several threads | through [`Blob`] |
//! | [`walk`] | compares an image with its index | through [`Blob`] |
//! | [`assemble`] | carries out a plan | through [`BlobMut`] |
//! | `http` (a feature) | files on web servers, by ranges or whole | network |
//! | [`pack`] | all chunks of an image in one file, fetched in runs | through [`Blob`] |
//! | [`delta`] | what makes one image of another, smaller than chunks | through [`Blob`] |
//! | [`store`] | where chunks come from: a trait, a directory, memory | files |
//!
//! Indices, stores and boundaries are those of casync 2, byte for byte; the tests hold this crate
//! to that program in both directions. All caps are in [`limits`].
//!
//! What follows describes the formats for whoever wants to implement them. Integers are unsigned,
//! 64 bits and little-endian unless said otherwise; offsets count bytes from 0.
//!
//! # The index
//!
//! An index lists the chunks of one image in order. A `.caibx` is the index of a file or a block
//! device; a `.caidx` is the same container for a serialized directory tree. It has a header, a
//! table of 40-byte items, and a tail that is as long as an item. With `n` chunks it is exactly
//! `64 + 40 n + 40` bytes long.
//!
//! | offset | field | value |
//! |---|---|---|
//! | 0 | size of the header | 48 |
//! | 8 | type of the header | `0x96824d9c7b129ff9` |
//! | 16 | feature flags | see below |
//! | 24 | smallest chunk size | 1 to 128 MiB |
//! | 32 | average chunk size | not below the smallest, up to 128 MiB |
//! | 40 | largest chunk size | not below the average, up to 128 MiB |
//! | 48 | size of the table | 2^64 - 1: it is not known when this is written |
//! | 56 | type of the table | `0xe75b9e112f17417d` |
//! | 64 + 40 i | end of chunk i in the image | above the end of chunk i - 1, by the largest size at most |
//! | 72 + 40 i | id of chunk i | 32 bytes |
//! | 64 + 40 n | tail: filler | 0 |
//! | 72 + 40 n | tail: filler | 0 |
//! | 80 + 40 n | tail: offset of the table's header | 48 |
//! | 88 + 40 n | tail: size of the table | 16 + 40 n + 40 |
//! | 96 + 40 n | tail: marker | `0x4b4f050e5549ecd1` |
//!
//! A chunk begins where the one before it ends, the first one at 0. No chunk ends at 0, so a tail
//! cannot be taken for an item. An image of no bytes has no chunks: 104 bytes of index. The smallest
//! size is not enforced: any chunk, not just the last, may be shorter. Nothing in an index tells
//! the digest of the whole image; whoever signs an index signs the image with it.
//!
//! **Feature flags.** Bit 61 says that ids are SHA-512/256; without it they are SHA-256. Bits 60, 62
//! and 63 tell what was left out of a directory tree (files named in exclusion lists, other mounts,
//! files with the no-dump attribute), bits 0 to 32 what its entries record. For an image casync
//! writes `0xb000000000000000` (SHA-512/256, the default) or `0x9000000000000000` (SHA-256). Bits 33 to 59
//! are refused, and so are flags that casync would itself have written otherwise: bits 0 and 1
//! (two widths of user ids) together; more than one of the bits 3 to 6 (four precisions of time); 7
//! (read-only) with 8 (permissions); 20 (records the no-dump attribute) with 63; 27 (read-only
//! subvolumes) without 26 (subvolumes); 29 (access lists) with 7 or 8, or without any of 0, 1 and 2.
//!
//! # Chunk ids
//!
//! An id is the digest of the chunk's uncompressed bytes: SHA-512/256 or SHA-256, one kind for the
//! whole index. SHA-512/256 is not SHA-512 cut short: FIPS 180-4 gives it initial values of its own.
//!
//! # Chunk boundaries
//!
//! Any cut of an image into chunks makes a valid index. To share chunks with what casync makes, cut
//! as it does.
//!
//! If the three sizes are equal, cut every so many bytes. Otherwise a 32-bit hash over a window of
//! 48 bytes decides. With `T` the table of 256 numbers (`chunker/table.rs`; SHA-256 over them as 32-bit
//! little-endian integers: `5b52080d38287da9d2e278466e3e0db7ec98e5e8b226f50612a56fa012b1f660`) and
//! `rol` a rotation to the left, the hash of the bytes `b[0]` to `b[47]` is the exclusive or of
//! `rol(T[b[i]], 47 - i)`. One byte further on it is
//! `rol(h, 1) ^ rol(T[leaving], 48) ^ T[entering]`; rotations count mod 32, so 48 is 16.
//!
//! The discriminator `d` is `avg / (-1.42888852e-7 * avg + 1.33237515)` in 64-bit floating point, cut
//! to an integer, then raised to `min` or lowered to `max` if outside of them. For averages above about
//! 9.3 MB the divisor is not positive and the format has no meaning.
//!
//! Count `L`, the bytes since the last cut. Cut behind a byte
//! - if `L >= max`, or
//! - if `L >= min`, `L >= 48`, and the hash of the last 48 bytes is `d - 1` mod `d`.
//!
//! The first test is at `L = min` itself (or at 48 if `min` is less): its window are the bytes before
//! that place. What is left at the end of the image is the last chunk.
//!
//! # Stores
//!
//! A store is a directory, often named `.castr`, on a disk or a web server. The chunk whose id
//! begins with the hex digits `abcd` is the file `abcd/` + all 64 digits (lower case) + `.cacnk` if it
//! is compressed, without suffix if not. What a `.cacnk` file is compressed with is told by its
//! first bytes, and one store may hold any mixture:
//!
//! | first bytes | format |
//! |---|---|
//! | `28 b5 2f fd` | zstd, one frame; casync's have neither content size nor checksum |
//! | `fd 37 7a 58 5a 00` | xz, one stream |
//! | `1f 8b` | gzip, one member |
//!
//! A reader takes the chunk's length from the index and must stop there, whatever the compressed data
//! says. Files have the mode 0444. A writer makes `<id>.<16 hex digits>.tmp` beside the final name
//! and renames it. A symbolic link to `/dev/null` in place of a chunk says that it is known to be
//! missing.

pub mod assemble;
mod blob;
pub mod catar;
mod causes;
pub mod chunk;
pub mod chunker;
pub mod codec;
pub mod delta;
#[cfg(feature = "http")]
pub mod http;
pub mod index;
pub mod indexer;
pub mod limits;
pub mod pack;
pub mod parallel;
pub mod plan;
mod sizes;
pub mod store;
pub mod walk;

pub use blob::{Blob, BlobMut, FileBlob, OnlyChanges};
pub use sizes::{ChunkSizes, SizesError};
