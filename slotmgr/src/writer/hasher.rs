//! Hashing on a thread of its own, beside the reading.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use bundle_format::Digest;
use sha2::{Digest as _, Sha256};

use crate::storage::direct::Aligned;

/// Takes pieces of a text in their order.
pub(crate) struct Hasher<'scope> {
    pieces: SyncSender<Aligned>,
    hashed: Receiver<Aligned>,
    thread: ScopedJoinHandle<'scope, Digest>,
}

impl<'scope> Hasher<'scope> {
    pub fn new(scope: &'scope Scope<'scope, '_>) -> Self {
        // One piece is hashed while another one is read.
        let (pieces, waiting) = sync_channel::<Aligned>(1);
        let (back, hashed) = channel();
        let thread = scope.spawn(move || {
            let mut digest = Sha256::new();
            for piece in waiting {
                digest.update(&*piece);
                // Nobody may want its memory any more.
                let _ = back.send(piece);
            }
            Digest::from_bytes(digest.finalize().into())
        });
        Self {
            pieces,
            hashed,
            thread,
        }
    }

    /// Memory for the next piece: that of one which is done with, if there is one.
    pub fn memory(&self) -> Aligned {
        self.hashed.try_recv().unwrap_or_default()
    }

    /// The next piece.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn add(&self, piece: Aligned) -> io::Result<()> {
        self.pieces.send(piece).map_err(|_| gone())
    }

    /// The digest of all pieces.
    ///
    /// # Errors
    /// The thread is gone.
    pub fn finish(self) -> io::Result<Digest> {
        drop(self.pieces);
        self.thread.join().map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the hashing thread ended early")
}
