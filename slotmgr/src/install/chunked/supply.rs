//! Where the chunks of an indexed image are to be had.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use bundle_format::ReadAt as _;
use casync::http::{Address, Client, HttpError, HttpFile, HttpStore};
use casync::store::{ChunkStore, DirStore, Durability};
use casync::{Blob, FileBlob};

use crate::program::Stop;
use crate::source::HttpReader;

/// Stores of chunks, best first. Packs and deltas lie in a store's directory.
#[derive(Clone, Default)]
pub struct Supply {
    places: Vec<Place>,
}

#[derive(Clone)]
enum Place {
    Directory(PathBuf),
    Web(Box<(Client, Address)>),
}

/// A pack or a delta, as far as it is read.
pub(super) enum Sidecar {
    Local(FileBlob),
    Web(HttpReader),
}

impl Supply {
    /// A store in a directory.
    #[must_use]
    pub fn and_directory(mut self, path: PathBuf) -> Self {
        self.places.push(Place::Directory(path));
        self
    }

    /// A store on a web server.
    #[must_use]
    pub fn and_web(mut self, client: Client, address: Address) -> Self {
        self.places.push(Place::Web(Box::new((client, address))));
        self
    }

    pub(super) fn stores(&self) -> Vec<Box<dyn ChunkStore>> {
        let store = |place: &Place| -> Box<dyn ChunkStore> {
            match place {
                // Nothing is put into it, so no temporary name is ever made.
                Place::Directory(path) => Box::new(DirStore::new(path, 0, Durability::AtSync)),
                Place::Web(web) => {
                    let (client, address) = (**web).clone();
                    Box::new(HttpStore::new(client, address))
                }
            }
        };
        self.places.iter().map(store).collect()
    }

    /// The file called `name` beside the chunks, if a store has it. One that cannot be opened is not
    /// there: it would only have saved something.
    pub(super) fn sidecar(&self, name: &str, stop: &Stop) -> Option<Sidecar> {
        self.places
            .iter()
            .find_map(|place| match open(place, name, stop) {
                Ok(sidecar) => sidecar,
                Err(error) => {
                    tracing::warn!("{name} is not used: {error}");
                    None
                }
            })
    }
}

fn open(place: &Place, name: &str, stop: &Stop) -> io::Result<Option<Sidecar>> {
    match place {
        Place::Directory(path) => match File::open(path.join(name)) {
            Ok(file) => Ok(Some(Sidecar::Local(FileBlob::new(file)?))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        },
        Place::Web(web) => match HttpFile::open(web.0.clone(), web.1.join(name)) {
            Ok(file) => Ok(Some(Sidecar::Web(HttpReader::new(file, stop.clone())))),
            Err(HttpError::NotFound(_)) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        },
    }
}

impl Sidecar {
    /// Says what will be read.
    pub(super) fn expect(&self, ranges: &[Range<u64>]) {
        if let Sidecar::Web(reader) = self {
            reader.expect(ranges);
        }
    }
}

impl Blob for Sidecar {
    fn len(&self) -> u64 {
        match self {
            Sidecar::Local(file) => file.len(),
            Sidecar::Web(reader) => reader.len(),
        }
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Sidecar::Local(file) => file.read_exact_at(offset, buffer),
            Sidecar::Web(reader) => reader.read_exact_at(buffer, offset),
        }
    }
}

/// Names only; a client has secrets.
impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |place: &Place| match place {
            Place::Directory(path) => path.display().to_string(),
            Place::Web(web) => web.1.to_string(),
        };
        f.debug_list()
            .entries(self.places.iter().map(name))
            .finish()
    }
}
