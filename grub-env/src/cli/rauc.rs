//! RAUC's variables in a GRUB environment, put into words.
//!
//! `ORDER` lists boot names, first choice first. `<name>_OK` is 1 for a good slot, 0 for a bad
//! one; `<name>_TRY` is set to 1 by the boot script before it boots the slot, and back to 0 when
//! the system says that it is good. Scripts that count use `<name>_LEFT` instead of `_TRY`.

use serde::Serialize;

use crate::block::Block;

/// All slots that `ORDER` or the other variables name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RaucSlots {
    /// The order, first choice first.
    pub order: Vec<String>,
    /// One entry per slot: those of the order first.
    pub slots: Vec<RaucSlot>,
    /// What the usual boot script would boot next; `None` if no slot qualifies.
    pub next: Option<String>,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RaucSlot {
    /// RAUC's boot name.
    pub name: String,
    /// `_OK`; `None` if it is missing or not 0 or 1.
    pub ok: Option<bool>,
    /// `_TRY`; `None` if it is missing or not 0 or 1.
    pub tried: Option<bool>,
    /// `_LEFT`, if it is there and a number.
    pub left: Option<u32>,
}

impl RaucSlot {
    fn read(block: &Block, name: &str) -> Self {
        let text = |suffix| block.get_text(&format!("{name}_{suffix}"));
        let flag = |suffix| match text(suffix) {
            Some("1") => Some(true),
            Some("0") => Some(false),
            _ => None,
        };
        Self {
            name: name.to_owned(),
            ok: flag("OK"),
            tried: flag("TRY"),
            left: text("LEFT").and_then(|left| left.parse().ok()),
        }
    }

    fn qualifies(&self) -> bool {
        let try_left = match self.left {
            Some(left) => left > 0,
            None => self.tried == Some(false),
        };
        self.ok == Some(true) && try_left
    }

    /// In words.
    #[must_use]
    pub fn describe(&self) -> String {
        let ok = match self.ok {
            Some(true) => "good",
            Some(false) => "bad",
            None => "neither good nor bad",
        };
        let tried = match (self.left, self.tried) {
            (Some(left), _) => format!("{left} tries left"),
            (None, Some(true)) => "being tried".to_owned(),
            (None, Some(false)) => "not being tried".to_owned(),
            (None, None) => "no try flag".to_owned(),
        };
        format!("{} {ok}, {tried}", self.name)
    }
}

/// Reads RAUC's variables; `None` if there are none.
pub fn rauc_slots(block: &Block) -> Option<RaucSlots> {
    let order: Vec<String> = block
        .get_text("ORDER")
        .map(|order| order.split_ascii_whitespace().map(str::to_owned).collect())
        .unwrap_or_default();
    let mut names = order.clone();
    for (name, _) in block.iter() {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        if let Some(slot) = name.strip_suffix("_OK")
            && !names.iter().any(|n| n == slot)
        {
            names.push(slot.to_owned());
        }
    }
    if names.is_empty() {
        return None;
    }
    let slots: Vec<RaucSlot> = names.iter().map(|n| RaucSlot::read(block, n)).collect();
    let next = slots
        .iter()
        .take(order.len())
        .find(|s| s.qualifies())
        .map(|s| s.name.clone());
    Some(RaucSlots { order, slots, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vars: &[(&str, &str)]) -> Option<RaucSlots> {
        let mut block = Block::new();
        for (n, v) in vars {
            block.set(n, v).unwrap();
        }
        rauc_slots(&block)
    }

    #[test]
    fn next_is_the_first_good_slot_that_is_not_being_tried() {
        let base = [
            ("ORDER", "B A"),
            ("A_OK", "1"),
            ("A_TRY", "0"),
            ("B_OK", "1"),
        ];
        let with = |more: (&'static str, &'static str)| {
            let mut vars = base.to_vec();
            vars.push(more);
            of(&vars).unwrap()
        };
        assert_eq!(with(("B_TRY", "0")).next.as_deref(), Some("B"));
        assert_eq!(with(("B_TRY", "1")).next.as_deref(), Some("A"));
        assert_eq!(with(("B_LEFT", "2")).next.as_deref(), Some("B"));
        assert_eq!(with(("B_LEFT", "0")).next.as_deref(), Some("A"));
        assert_eq!(
            with(("B_TRY", "1")).slots[0].describe(),
            "B good, being tried"
        );
    }

    #[test]
    fn a_slot_outside_the_order_is_told_but_never_next() {
        let slots = of(&[("ORDER", ""), ("A_OK", "1"), ("A_TRY", "0")]).unwrap();
        assert_eq!(slots.next, None);
        assert_eq!(slots.slots.len(), 1);
        assert_eq!(of(&[("saved_entry", "0")]), None);
    }
}
