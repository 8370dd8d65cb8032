//! An image on its way: one thread reads, checks and unpacks, the next hashes, the last writes.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread;

use bundle_format::{Digest, PayloadError, ReadAt, VerifiedBundle};
use sha2::{Digest as _, Sha256};

use super::chunked::Chunks;
use super::notes::Notes;
use super::plan::Form;
use super::{AssembleError, LocalImage, Site, Step};
use crate::program::Stop;
use crate::storage::direct::Aligned;

/// A part that reaches as far as an image goes.
const ALL: Range<u64> = 0..u64::MAX;

/// Pieces that are read ahead of the writing.
const AHEAD: usize = 4;

/// What the reading side hands to the writing side.
enum Piece {
    /// The next bytes of the image, and where in it they are.
    Bytes(u64, Aligned),
    /// The image ended. This is the digest of everything that was handed over, if that was all of
    /// it; the hashing thread knows.
    End(Option<Digest>),
    /// It could not be opened.
    Unopened(PayloadError),
    /// It could not be read further.
    Broken(io::Error),
}

/// The bytes of one image, in order. Its end is reached only if size and digest are what the
/// signed manifest promises; where parts are left out since the target has them, only its size is.
pub struct ImageStream<'s> {
    step: &'s Step,
    notes: Option<&'s Notes>,
    receiver: Receiver<Piece>,
    stop: &'s Stop,
    tell: &'s mut dyn FnMut(u64),
    /// Where the next piece begins, if nothing is left out.
    done: u64,
    /// Where the last piece began.
    offset: u64,
    ended: bool,
    /// For [`Read`]: what is left of the last piece.
    rest: io::Cursor<Aligned>,
    /// For [`Read`], whose errors cannot carry ours.
    failed: Option<AssembleError>,
}

/// What has images.
pub(super) enum Images<'i, R> {
    /// Several, each with a name.
    Bundle(&'i VerifiedBundle<R>),
    /// One, which is read from its beginning to its end.
    File(&'i LocalImage),
}

/// Where a stream comes from.
pub(super) struct Origin<'o, R> {
    pub images: Images<'o, R>,
    pub site: &'o Site<'o>,
}

/// How reading a part of an image ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Reached,
    /// The other side knows.
    Failed,
}

/// What of an image is wanted.
pub(super) struct Wanted<'w> {
    pub step: &'w Step,
    /// Ascending parts of the image.
    pub parts: Vec<Range<u64>>,
    /// Where it is noted what was written.
    pub notes: Option<&'w Notes>,
}

impl<'w> Wanted<'w> {
    /// All of the image.
    pub fn all(step: &'w Step) -> Self {
        // As far as it goes: more than was promised is found out at its end.
        let parts = std::iter::once(ALL).collect();
        Wanted {
            step,
            parts,
            notes: None,
        }
    }

    fn is_all(&self) -> bool {
        self.parts.first() == Some(&ALL)
    }
}

impl<R: ReadAt> Origin<'_, R> {
    /// Hands the image of `step` to `work`, while another thread reads ahead.
    pub fn stream(
        &self,
        wanted: &Wanted<'_>,
        tell: &mut dyn FnMut(u64),
        work: &mut dyn FnMut(&mut ImageStream<'_>) -> Result<(), AssembleError>,
    ) -> Result<(), AssembleError> {
        let (read, unhashed) = sync_channel(1);
        let (hashed, receiver) = sync_channel(AHEAD);
        thread::scope(|scope| {
            // An error of `send` means that the next side has given up: nobody is left to tell.
            scope.spawn(move || {
                let _ = self.read(wanted, &read);
            });
            scope.spawn(move || {
                let _ = self.hash(wanted, unhashed, &hashed);
            });
            // The receiving end goes with the stream: when this side gives up, the reading side
            // gets an error instead of waiting for ever.
            let stop = &self.site.policy.stop;
            let mut stream = ImageStream::new(wanted.step, receiver, stop, tell);
            stream.notes = wanted.notes;
            work(&mut stream)?;
            stream.drain()
        })
    }

    /// The reading side.
    fn read(
        &self,
        wanted: &Wanted<'_>,
        sender: &SyncSender<Piece>,
    ) -> Result<(), SendError<Piece>> {
        match (&self.images, wanted.step.form) {
            (Images::Bundle(bundle), Form::Chunks) => self.read_chunks(bundle, wanted.step, sender),
            (Images::Bundle(bundle), Form::Whole | Form::Blocks) => {
                self.read_image(bundle, wanted, sender)
            }
            (Images::File(image), _) => self.read_whole(&mut image.reader(), sender),
        }
    }

    /// Whether everything of the image is handed over, so that its digest counts.
    fn is_whole(&self, wanted: &Wanted<'_>) -> bool {
        match (&self.images, wanted.step.form) {
            (Images::Bundle(_), Form::Whole | Form::Blocks) => wanted.is_all(),
            (Images::Bundle(_), Form::Chunks) | (Images::File(_), _) => true,
        }
    }

    /// In between: hashes, and passes on.
    fn hash(
        &self,
        wanted: &Wanted<'_>,
        pieces: Receiver<Piece>,
        sender: &SyncSender<Piece>,
    ) -> Result<(), SendError<Piece>> {
        let mut digest = self.is_whole(wanted).then(Sha256::new);
        for piece in pieces {
            let piece = match piece {
                Piece::Bytes(offset, bytes) => {
                    if let Some(digest) = &mut digest {
                        digest.update(&*bytes);
                    }
                    Piece::Bytes(offset, bytes)
                }
                Piece::End(_) => {
                    let found = digest.take();
                    Piece::End(found.map(|digest| Digest::from_bytes(digest.finalize().into())))
                }
                failed => failed,
            };
            sender.send(piece)?;
        }
        Ok(())
    }

    fn read_image(
        &self,
        bundle: &VerifiedBundle<R>,
        wanted: &Wanted<'_>,
        sender: &SyncSender<Piece>,
    ) -> Result<(), SendError<Piece>> {
        let mut reader = match bundle.image(&wanted.step.filename) {
            Ok(reader) => reader,
            Err(error) => return sender.send(Piece::Unopened(error)),
        };
        reader.read_at_once(self.site.policy.chunk);
        reader.expect(&wanted.parts);
        for part in &wanted.parts {
            reader.restrict(part.clone());
            let end = self.hand_over(&mut reader, part.start, sender)?;
            if end == End::Failed {
                return Ok(());
            }
        }
        sender.send(Piece::End(None))
    }

    fn read_chunks(
        &self,
        bundle: &VerifiedBundle<R>,
        step: &Step,
        sender: &SyncSender<Piece>,
    ) -> Result<(), SendError<Piece>> {
        match Chunks::of(bundle, self.site, step) {
            Ok(mut chunks) => self.read_whole(&mut chunks, sender),
            Err(error) => sender.send(Piece::Broken(io::Error::other(error))),
        }
    }

    fn read_whole(
        &self,
        reader: &mut dyn Read,
        sender: &SyncSender<Piece>,
    ) -> Result<(), SendError<Piece>> {
        match self.hand_over(reader, 0, sender)? {
            End::Failed => Ok(()),
            End::Reached => sender.send(Piece::End(None)),
        }
    }

    /// Hands over what `reader` gives, which begins at `offset` of the image.
    fn hand_over(
        &self,
        reader: &mut dyn Read,
        mut offset: u64,
        sender: &SyncSender<Piece>,
    ) -> Result<End, SendError<Piece>> {
        let chunk = self.site.policy.chunk;
        loop {
            match Aligned::read(reader, chunk) {
                Ok(bytes) if bytes.is_empty() => return Ok(End::Reached),
                Ok(bytes) => {
                    let count = bytes.len() as u64;
                    sender.send(Piece::Bytes(offset, bytes))?;
                    offset += count;
                }
                Err(error) => {
                    sender.send(Piece::Broken(error))?;
                    return Ok(End::Failed);
                }
            }
        }
    }

    /// For a target that needs no data.
    pub fn nothing(
        &self,
        step: &Step,
        work: &mut dyn FnMut(&mut ImageStream<'_>) -> Result<(), AssembleError>,
    ) -> Result<(), AssembleError> {
        let (_, receiver) = sync_channel(0);
        work(&mut ImageStream::new(
            step,
            receiver,
            &self.site.policy.stop,
            &mut |_| {},
        ))
    }
}

impl<'s> ImageStream<'s> {
    fn new(
        step: &'s Step,
        receiver: Receiver<Piece>,
        stop: &'s Stop,
        tell: &'s mut dyn FnMut(u64),
    ) -> Self {
        ImageStream {
            step,
            notes: None,
            receiver,
            stop,
            tell,
            done: 0,
            offset: 0,
            ended: false,
            rest: io::Cursor::default(),
            failed: None,
        }
    }

    /// Where in the image the last piece is.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the image comes from far away: what was written should not be lost.
    pub(crate) fn is_noted(&self) -> bool {
        self.notes.is_some()
    }

    /// Says that the last piece was written.
    pub(crate) fn wrote(&self, piece: &[u8]) {
        if let Some(notes) = self.notes {
            notes.note(self.offset, piece);
        }
    }

    /// Whether somebody wants all of this to end.
    pub(crate) fn stop(&self) -> &Stop {
        self.stop
    }

    /// The next bytes; `None` at the end, once everything was found to be as promised.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Aligned>, AssembleError> {
        if self.ended {
            return Ok(None);
        }
        if self.stop.is_wanted() {
            return Err(AssembleError::Stopped {
                slot: self.step.slot.clone(),
            });
        }
        // A reader that died without a word is a broken image, never a finished one.
        let lost = |_| Piece::Broken(io::Error::other("the reading thread ended early"));
        let (image, slot) = (self.step.filename.clone(), self.step.slot.clone());
        match self.receiver.recv().unwrap_or_else(lost) {
            Piece::Bytes(offset, mut bytes) => {
                // More than promised is not handed on: it could lie beyond the end of the slot.
                let room = match self.step.is_promised() {
                    true => self.step.size.saturating_sub(offset),
                    false => u64::MAX,
                };
                self.offset = offset;
                self.done = offset + bytes.len() as u64;
                bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
                (self.tell)(self.done.min(self.step.size));
                Ok(Some(bytes))
            }
            Piece::End(found) => {
                self.ended = true;
                found.map_or(Ok(()), |found| check_end(self.step, self.done, found))?;
                Ok(None)
            }
            Piece::Unopened(source) => Err(AssembleError::Source {
                image,
                slot,
                source,
            }),
            Piece::Broken(source) => Err(AssembleError::Read {
                image,
                slot,
                offset: self.done,
                source,
            }),
        }
    }

    /// Reads what is left, so that the digest is checked whatever the writer made use of.
    fn drain(&mut self) -> Result<(), AssembleError> {
        while self.next_piece()?.is_some() {}
        Ok(())
    }

    /// Why the last [`Read::read`] failed, if it was us.
    pub fn take_error(&mut self) -> Option<AssembleError> {
        self.failed.take()
    }
}

impl Read for ImageStream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.rest.read(buf)?;
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            match self.next_piece() {
                Ok(Some(piece)) => self.rest = io::Cursor::new(piece),
                Ok(None) => return Ok(0),
                Err(error) => {
                    let text = error.to_string();
                    self.failed = Some(error);
                    return Err(io::Error::other(text));
                }
            }
        }
    }
}

/// Whether what was handed over is what the signed manifest promises.
fn check_end(step: &Step, size: u64, found: Digest) -> Result<(), AssembleError> {
    if !step.is_promised() || (found == step.sha256 && size == step.size) {
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
