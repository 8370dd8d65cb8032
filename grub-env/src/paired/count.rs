//! GRUB's counter.

use super::{COUNTER, LEN, PairError, Trial};
use crate::block::Block;

/// GRUB's own file: how many tries of which trial are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub(super) id: u32,
    pub(super) used: u8,
}

impl Count {
    /// Reads GRUB's file; `None` if it says nothing that can be understood.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let block = Block::parse(bytes).ok()?;
        let [id, used] = COUNTER.map(|name| block.get_text(name));
        let (id, used) = (id.filter(|t| t.len() == 9)?, used.filter(|t| t.len() == 1)?);
        Some(Self {
            id: id.parse().ok()?,
            used: used.parse().ok()?,
        })
    }

    /// Tries that GRUB has used up of this trial.
    #[must_use]
    pub fn used_of(self, trial: Trial) -> u8 {
        if self.id == trial.id { self.used } else { 0 }
    }

    pub(super) fn to_bytes(self) -> Result<Vec<u8>, PairError> {
        let mut block = Block::new();
        for (name, value) in COUNTER
            .into_iter()
            .zip([format!("{:09}", self.id), self.used.to_string()])
        {
            block.set(name, value).map_err(|_| PairError::TooLong)?;
        }
        block.to_bytes(LEN).map_err(|_| PairError::TooLong)
    }
}
