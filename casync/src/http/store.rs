//! A store of chunks on a web server.

use super::address::Address;
use super::client::Client;
use super::failure::HttpError;
use crate::chunk::ChunkId;
use crate::codec::StoredForm;
use crate::store::{ChunkStore, StoreError};

/// A `.castr` on a web server: one request for each chunk.
pub struct HttpStore {
    client: Client,
    address: Address,
    name: String,
}

impl HttpStore {
    /// The store at this address.
    #[must_use]
    pub fn new(client: Client, address: Address) -> Self {
        let name = address.to_string();
        Self {
            client,
            address,
            name,
        }
    }
}

impl ChunkStore for HttpStore {
    fn name(&self) -> &str {
        &self.name
    }

    /// Only the compressed form is asked for: it is the one that servers have, and asking for two
    /// would double the requests for each chunk that is missing.
    fn get(
        &self,
        id: &ChunkId,
        max_len: u64,
        into: &mut Vec<u8>,
    ) -> Result<StoredForm, StoreError> {
        let id = id.to_string();
        let file = self.address.join(&format!("{}/{id}.cacnk", &id[..4]));
        match self.client.get(&file, max_len, into) {
            Ok(()) => Ok(StoredForm::Packed),
            Err(HttpError::NotFound(_)) => Err(StoreError::Missing),
            Err(HttpError::TooLong { max, .. }) => Err(StoreError::TooLong { max }),
            Err(error) => Err(StoreError::Unreadable(Box::new(error))),
        }
    }
}
