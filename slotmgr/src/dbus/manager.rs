//! `org.slotmgr.Manager1`: what RAUC's interface has no words for. Read-only: whoever may talk to
//! the service may know how the last update went.

use std::collections::HashMap;
use std::sync::Arc;

use zbus::interface;

use super::failure::Failure;
use super::offload::ask;
use super::wire::{self, Dict};
use crate::service::Service;

/// The object at [`super::MANAGER_PATH`].
pub(super) struct Manager {
    service: Arc<dyn Service>,
}

impl Manager {
    pub fn new(service: Arc<dyn Service>) -> Self {
        Self { service }
    }
}

#[interface(name = "org.slotmgr.Manager1")]
impl Manager {
    /// What became of the last update: `state`, `slot`, `release`, and where they are known
    /// `reason`, and `deadline` in seconds since the machine was started.
    #[zbus(out_args("trial"))]
    async fn get_trial(&self) -> Result<Dict, Failure> {
        wire::trial(ask(&self.service, |service| service.trial()).await?)
    }

    /// What happened, by a number that only says what came first.
    #[zbus(out_args("events"))]
    async fn get_history(&self) -> Result<HashMap<String, Dict>, Failure> {
        wire::history(ask(&self.service, |service| service.history()).await?)
    }
}
