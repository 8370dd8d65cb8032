//! What stands in the record, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::floor::Floor;
use super::history::Falls;
use super::{Baseline, CheckWords, Event, FellBack, Job, SlotRecord};

/// Of what is written here.
pub(super) const SCHEMA: u32 = 1;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Body {
    pub schema: u32,
    #[serde(default)]
    pub slots: BTreeMap<String, SlotRecord>,
    #[serde(default)]
    pub job: Option<Job>,
    /// How it was when the last installation began.
    #[serde(default)]
    pub baseline: Baseline,
    /// What the failed checks of the present trial said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<CheckWords>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fell_back: Option<FellBack>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub falls: Vec<Falls>,
    #[serde(default, skip_serializing_if = "Floor::is_unknown")]
    pub floor: Floor,
    /// The oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// What a later version wrote, kept for it: after a fallback the older program reads this too.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

impl Body {
    /// Drops what is missed least. False when nothing is left that may go.
    pub fn make_room(&mut self) -> bool {
        if !self.events.is_empty() {
            self.events.remove(0);
        } else if let Some(fall) = self.fell_back.as_mut().filter(|fall| fall.has_details()) {
            fall.drop_details();
        } else if !self.words.is_empty() {
            self.words.clear();
        } else {
            return false;
        }
        true
    }
}
