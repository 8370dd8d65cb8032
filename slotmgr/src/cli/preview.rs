//! What `slotmgr install --dry-run` and `slotmgr simulate` have in common: a bundle is opened as for
//! an installation, and nothing else is opened for writing.

use anyhow::Result;

use super::args::{Options, Source};
use super::install::{OpenBundle, Opening};
use super::session::{Session, Surroundings};
use super::signals;
use crate::program::Stop;
use crate::storage::device::Mode;

/// An installation that will not take place.
pub(super) struct Preview<'p> {
    options: &'p Options,
    around: &'p Surroundings,
    pub session: Session,
    pub stop: Stop,
}

impl<'p> Preview<'p> {
    /// Call it before there are other threads: see [`signals::ask_to_stop`].
    pub fn begin(options: &'p Options, around: &'p Surroundings) -> Result<Self> {
        let stop = Stop::default();
        signals::ask_to_stop(&stop)?;
        let session = Session::open(options, around, Mode::ReadOnly)?;
        Ok(Self {
            options,
            around,
            session,
            stop,
        })
    }

    /// The bundle, if it may be installed here.
    pub fn open(&self, source: &Source) -> Result<OpenBundle> {
        let opening = Opening {
            options: self.options,
            around: self.around,
            stop: &self.stop,
        };
        opening.open(&self.session, &source.origin())
    }
}
