//! Writes the images into their slots.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bundle_format::{Digest, PayloadError, ReadAt, VerifiedBundle};
use sha2::{Digest as _, Sha256};

use super::{Plan, Progress, Stage, Step, Synced};
use crate::boot::Condemned;
use crate::slot::{Layout, SlotName};
use crate::storage::{Area, Disks, OpenError, Storage};

/// Bytes per write. Large, aligned writes are what flash and its translation layers like best.
pub const CHUNK: usize = 1 << 20;

/// Chunks that are read, checked and unpacked ahead of the writing.
const AHEAD: usize = 4;

/// A slot that is open for writing, exclusively, and the image that goes into it.
pub(super) struct OpenSlot {
    pub(super) step: Step,
    pub(super) storage: Box<dyn Storage>,
}

/// All targets of a plan, open, each large enough.
pub struct Opened {
    slots: Vec<OpenSlot>,
}

/// All images are in their slots, but perhaps not on the medium yet.
#[must_use = "what is written must be synced and read back"]
pub struct Written {
    condemned: Condemned,
    slots: Vec<OpenSlot>,
}

/// Why the images could not be written.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A target that cannot be opened.
    #[error("slot {slot} cannot be written")]
    Open {
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// More bytes than the slot has.
    #[error(
        "image {image} has {size} bytes, and slot {slot} has {len}: it is too small by {} bytes. \
         Nothing was written",
        size - len
    )]
    TooLarge {
        /// File in the bundle.
        image: String,
        /// Its bytes.
        size: u64,
        /// The target.
        slot: SlotName,
        /// Its bytes.
        len: u64,
    },
    /// The bundle is damaged, or its source does not answer.
    #[error(
        "while reading image {image} from the bundle; slot {slot} stays unusable until the next installation"
    )]
    Source {
        /// File in the bundle.
        image: String,
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: PayloadError,
    },
    /// The same, at some byte of the image.
    #[error(
        "while reading image {image} at byte {offset}; slot {slot} stays unusable until the next installation"
    )]
    Read {
        /// File in the bundle.
        image: String,
        /// The target.
        slot: SlotName,
        /// Byte of the image.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The target does not take it.
    #[error(
        "while writing slot {slot} at byte {offset}; it stays unusable until the next installation"
    )]
    Write {
        /// The target.
        slot: SlotName,
        /// Byte of the slot.
        offset: u64,
        /// What the device said.
        #[source]
        source: io::Error,
    },
    /// Not the image that the manifest promises.
    #[error(
        "image {image} is not what the manifest promises: expected {expected_size} bytes with \
         SHA-256 {expected}, found {size} bytes with {found}; slot {slot} stays unusable until the \
         next installation"
    )]
    Digest {
        /// File in the bundle.
        image: String,
        /// The target.
        slot: SlotName,
        /// Promised length.
        expected_size: u64,
        /// Promised digest.
        expected: Digest,
        /// Found length.
        size: u64,
        /// Found digest.
        found: Digest,
    },
}

impl Opened {
    /// Opens every target and checks that its image fits. Writes nothing.
    ///
    /// # Errors
    /// When a target is not there, is in use, or is too small.
    pub fn open(
        plan: &Plan,
        layout: &Layout,
        disks: &mut dyn Disks,
    ) -> Result<Opened, AssembleError> {
        let open = |step: &Step| {
            let slot = layout.slot(step.target.id()).name.clone();
            let storage =
                disks
                    .open(Area::Slot(step.target.id()))
                    .map_err(|source| AssembleError::Open {
                        slot: slot.clone(),
                        source,
                    })?;
            let (size, len) = (step.size, storage.len());
            if size > len {
                return Err(AssembleError::TooLarge {
                    image: step.filename.clone(),
                    size,
                    slot,
                    len,
                });
            }
            Ok(OpenSlot {
                step: step.clone(),
                storage,
            })
        };
        Ok(Opened {
            slots: plan.steps().iter().map(open).collect::<Result<_, _>>()?,
        })
    }

    fn total(&self) -> u64 {
        self.slots.iter().map(|slot| slot.step.size).sum()
    }
}

/// Writes every image into its slot, in the order of the manifest.
///
/// # Errors
/// At the first thing that goes wrong. The target stays condemned.
pub(super) fn assemble<R: ReadAt>(
    condemned: Condemned,
    mut opened: Opened,
    bundle: &VerifiedBundle<R>,
    chunk: usize,
    progress: &mut dyn Progress,
) -> Result<Written, AssembleError> {
    let total = opened.total();
    let mut before = 0;
    for slot in &mut opened.slots {
        let mut tell = |done| progress.at(Stage::Write, before + done, total);
        write_image(slot, bundle, chunk, &mut tell)?;
        before += slot.step.size;
    }
    Ok(Written {
        condemned,
        slots: opened.slots,
    })
}

/// What the reading side hands to the writing side.
enum Piece {
    /// The next bytes of the image.
    Bytes(Vec<u8>),
    /// The image ended, with this digest of everything that was handed over.
    End(Digest),
    /// It could not be opened.
    Unopened(PayloadError),
    /// It could not be read further.
    Broken(io::Error),
}

/// One thread reads, checks and unpacks; this one writes, in order.
fn write_image<R: ReadAt>(
    slot: &mut OpenSlot,
    bundle: &VerifiedBundle<R>,
    chunk: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<(), AssembleError> {
    let (sender, receiver) = sync_channel(AHEAD);
    let filename = slot.step.filename.clone();
    thread::scope(|scope| {
        scope.spawn(move || {
            // An error of `send` means that the writing side has given up: nobody is left to tell.
            let _ = read_image(bundle, &filename, chunk, &sender);
        });
        write_pieces(slot, receiver, progress)
    })
}

fn read_image<R: ReadAt>(
    bundle: &VerifiedBundle<R>,
    filename: &str,
    chunk: usize,
    sender: &SyncSender<Piece>,
) -> Result<(), std::sync::mpsc::SendError<Piece>> {
    let mut reader = match bundle.image(filename) {
        Ok(reader) => reader,
        Err(error) => return sender.send(Piece::Unopened(error)),
    };
    let mut digest = Sha256::new();
    loop {
        let mut bytes = Vec::with_capacity(chunk);
        match reader.by_ref().take(chunk as u64).read_to_end(&mut bytes) {
            Ok(0) => return sender.send(Piece::End(Digest::from_bytes(digest.finalize().into()))),
            Ok(_) => {
                digest.update(&bytes);
                sender.send(Piece::Bytes(bytes))?;
            }
            Err(error) => return sender.send(Piece::Broken(error)),
        }
    }
}

/// Takes the receiving end, so that it is gone when this side gives up: the reading side then gets
/// an error instead of waiting for ever.
fn write_pieces(
    slot: &mut OpenSlot,
    receiver: Receiver<Piece>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), AssembleError> {
    // A reader that died without a word is a broken image, never a finished one.
    let lost = |_| Piece::Broken(io::Error::other("the reading thread ended early"));
    let mut done = 0;
    loop {
        let (image, name) = (slot.step.filename.clone(), slot.step.slot.clone());
        match receiver.recv().unwrap_or_else(lost) {
            Piece::Bytes(bytes) => {
                write_piece(slot, &bytes, done)?;
                done += bytes.len() as u64;
                progress(done.min(slot.step.size));
            }
            Piece::End(found) => return check_end(&slot.step, done, found),
            Piece::Unopened(source) => {
                return Err(AssembleError::Source {
                    image,
                    slot: name,
                    source,
                });
            }
            Piece::Broken(source) => {
                return Err(AssembleError::Read {
                    image,
                    slot: name,
                    offset: done,
                    source,
                });
            }
        }
    }
}

fn write_piece(slot: &mut OpenSlot, bytes: &[u8], offset: u64) -> Result<(), AssembleError> {
    // More than promised is not written: it could lie beyond the end of the slot.
    let fits = slot
        .step
        .size
        .saturating_sub(offset)
        .min(bytes.len() as u64);
    let fits = usize::try_from(fits).unwrap_or(bytes.len());
    slot.storage
        .write_at(&bytes[..fits], offset)
        .map_err(|source| AssembleError::Write {
            slot: slot.step.slot.clone(),
            offset,
            source,
        })
}

/// Whether what was handed over is what the signed manifest promises.
fn check_end(step: &Step, size: u64, found: Digest) -> Result<(), AssembleError> {
    if found == step.sha256 && size == step.size {
        return Ok(());
    }
    Err(AssembleError::Digest {
        image: step.filename.clone(),
        slot: step.slot.clone(),
        expected_size: step.size,
        expected: step.sha256,
        size,
        found,
    })
}

impl Written {
    /// The barrier, on the handles that wrote.
    ///
    /// # Errors
    /// What the device says: then nothing may be assumed of what was written.
    pub fn sync(mut self, progress: &mut dyn Progress) -> Result<Synced, AssembleError> {
        let total: u64 = self.slots.iter().map(|slot| slot.step.size).sum();
        progress.at(Stage::Sync, 0, total);
        for slot in &mut self.slots {
            slot.storage.sync().map_err(|source| AssembleError::Write {
                slot: slot.step.slot.clone(),
                offset: slot.step.size,
                source,
            })?;
        }
        progress.at(Stage::Sync, total, total);
        Ok(Synced::new(self.condemned, self.slots))
    }
}
