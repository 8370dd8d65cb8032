//! Places on the command line that may be files or on web servers.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use casync::Blob;
use casync::http::{Address, Client, HttpFile, HttpStore, Patience, SystemWait};
use casync::store::{ChunkStore, DirStore, Durability};

use super::UsageError;
use crate::chunks::open_image;

/// Opens places, those on web servers with one client.
pub(super) struct Remote {
    client: Client,
}

impl Remote {
    /// With the headers from a file, one `Name: value` a line.
    pub(super) fn new(headers: Option<&Path>) -> Result<Self> {
        let headers = match headers {
            None => Vec::new(),
            Some(path) => {
                let text = fs_err::read_to_string(path)?;
                let lines = text.lines().filter(|line| !line.trim().is_empty());
                lines
                    .enumerate()
                    .map(|(number, line)| header(path, number + 1, line))
                    .collect::<Result<_>>()?
            }
        };
        let client = Client::new(Patience::default(), Arc::new(SystemWait), headers);
        Ok(Self { client })
    }

    pub(super) fn store(&self, place: &str, nonce: u64) -> Result<Box<dyn ChunkStore>> {
        if !is_remote(place) {
            return Ok(Box::new(DirStore::new(place, nonce, Durability::AtSync)));
        }
        let address = address(place)?;
        Ok(Box::new(HttpStore::new(self.client.clone(), address)))
    }

    pub(super) fn file(&self, place: &str) -> Result<Box<dyn Blob>> {
        if !is_remote(place) {
            return Ok(Box::new(open_image(Path::new(place))?));
        }
        let file = HttpFile::open(self.client.clone(), address(place)?)?;
        Ok(Box::new(file))
    }
}

/// The place for messages: an address without its secrets.
pub(super) fn shown(place: &str) -> String {
    match Address::parse(place) {
        Ok(address) => address.to_string(),
        Err(_) => place.to_owned(),
    }
}

fn is_remote(place: &str) -> bool {
    place.contains("://")
}

fn address(place: &str) -> Result<Address> {
    // The place itself is not repeated: it may hold a password.
    Address::parse(place).map_err(|error| UsageError(error.to_string()).into())
}

fn header(path: &Path, number: usize, line: &str) -> Result<(String, String)> {
    let (name, value) = line
        .split_once(':')
        .with_context(|| format!("line {number} of {} is no `Name: value`", path.display()))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
