//! Places on the command line that may be files or on web servers.

use std::path::Path;

use anyhow::{Context as _, Result};
use casync::Blob;
use casync::http::{self, Address, Client, HttpFile, HttpStore, Proxy, Settings};
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
        let lines = match headers {
            None => String::new(),
            Some(path) => fs_err::read_to_string(path)?,
        };
        let lines = lines.lines().filter(|line| !line.trim().is_empty());
        let settings = Settings {
            headers: http::headers(lines).context("in the file of headers")?,
            proxy: Proxy::try_from_env(),
            ..Settings::default()
        };
        let client = Client::new(settings)?;
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
