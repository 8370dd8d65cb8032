//! An image on its way: one thread reads, checks, unpacks and hashes; the other writes.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread;

use bundle_format::{Digest, PayloadError, ReadAt, VerifiedBundle};
use sha2::{Digest as _, Sha256};

use super::{AssembleError, Step};
use crate::program::Stop;

/// Pieces that are read ahead of the writing.
const AHEAD: usize = 4;

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

/// The bytes of one image, in order. Its end is reached only if size and digest are what the
/// signed manifest promises.
pub struct ImageStream<'s> {
    step: &'s Step,
    receiver: Receiver<Piece>,
    stop: &'s Stop,
    tell: &'s mut dyn FnMut(u64),
    done: u64,
    ended: bool,
    /// For [`Read`]: what is left of the last piece.
    rest: io::Cursor<Vec<u8>>,
    /// For [`Read`], whose errors cannot carry ours.
    failed: Option<AssembleError>,
}

/// What has images, each with a name.
pub(super) trait Images: Sync {
    /// The bytes of one of them, from the first.
    fn image<'s>(&'s self, filename: &str) -> Result<Box<dyn Read + 's>, PayloadError>;
}

impl<R: ReadAt> Images for VerifiedBundle<R> {
    fn image<'s>(&'s self, filename: &str) -> Result<Box<dyn Read + 's>, PayloadError> {
        VerifiedBundle::image(self, filename).map(|reader| Box::new(reader) as Box<dyn Read>)
    }
}

/// Where a stream comes from.
pub(super) struct Origin<'o, R> {
    pub bundle: &'o R,
    pub chunk: usize,
    pub stop: &'o Stop,
}

impl<R: Images> Origin<'_, R> {
    /// Hands the image of `step` to `work`, while another thread reads ahead.
    pub fn stream(
        &self,
        step: &Step,
        tell: &mut dyn FnMut(u64),
        work: &mut dyn FnMut(&mut ImageStream<'_>) -> Result<(), AssembleError>,
    ) -> Result<(), AssembleError> {
        let (sender, receiver) = sync_channel(AHEAD);
        thread::scope(|scope| {
            scope.spawn(move || {
                // An error of `send` means that the writing side has given up: nobody is left to tell.
                let _ = read_image(self.bundle, &step.filename, self.chunk, &sender);
            });
            // The receiving end goes with the stream: when this side gives up, the reading side
            // gets an error instead of waiting for ever.
            let mut stream = ImageStream::new(step, receiver, self.stop, tell);
            work(&mut stream)?;
            stream.drain()
        })
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
            self.stop,
            &mut |_| {},
        ))
    }
}

fn read_image<R: Images>(
    bundle: &R,
    filename: &str,
    chunk: usize,
    sender: &SyncSender<Piece>,
) -> Result<(), SendError<Piece>> {
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

impl<'s> ImageStream<'s> {
    fn new(
        step: &'s Step,
        receiver: Receiver<Piece>,
        stop: &'s Stop,
        tell: &'s mut dyn FnMut(u64),
    ) -> Self {
        ImageStream {
            step,
            receiver,
            stop,
            tell,
            done: 0,
            ended: false,
            rest: io::Cursor::default(),
            failed: None,
        }
    }

    /// Whether somebody wants all of this to end.
    pub(crate) fn stop(&self) -> &Stop {
        self.stop
    }

    /// The next bytes; `None` at the end, once everything was found to be as promised.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, AssembleError> {
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
            Piece::Bytes(mut bytes) => {
                // More than promised is not handed on: it could lie beyond the end of the slot.
                let room = self.step.size.saturating_sub(self.done);
                self.done += bytes.len() as u64;
                bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
                (self.tell)(self.done.min(self.step.size));
                Ok(Some(bytes))
            }
            Piece::End(found) => {
                self.ended = true;
                check_end(self.step, self.done, found).map(|()| None)
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
