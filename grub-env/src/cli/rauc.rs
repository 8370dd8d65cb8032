//! RAUC's variables in a GRUB environment, put into words.
//!
//! `ORDER` lists boot names, first choice first. `<name>_OK` is 1 for a good slot, else the slot is
//! not booted; `<name>_TRY` is set to 1 by the boot script with the last try, and back to 0 when the
//! system says that it is good. `<name>_LEFT` is slotmgr's addition: `good` for a confirmed slot, or
//! the number of tries left; RAUC's own boot script ignores it.

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
    /// `_TRY`; `None` if it is missing. Anything but `0` counts as tried.
    pub tried: Option<bool>,
    /// `_LEFT`, if it is there.
    pub left: Option<String>,
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
            // As the boot scripts read it: everything that is there and is not 0.
            tried: text("TRY").map(|value| value != "0"),
            left: text("LEFT").map(str::to_owned),
        }
    }

    fn qualifies(&self) -> bool {
        self.ok == Some(true) && self.tried != Some(true)
    }

    /// In words.
    #[must_use]
    pub fn describe(&self) -> String {
        let ok = match self.ok {
            Some(true) => "good",
            Some(false) => "bad",
            None => "neither good nor bad",
        };
        let tried = match (self.tried, self.left.as_deref()) {
            (Some(true), _) => "last try taken".to_owned(),
            (_, Some("good")) => "confirmed".to_owned(),
            (_, Some(left)) => format!("{left} tries left"),
            (Some(false), None) => "not tried".to_owned(),
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
    fn next_is_the_first_good_slot_with_a_try_left() {
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
        assert_eq!(with(("B_OK", "0")).next.as_deref(), Some("A"));
        let b = |more| with(more).slots[0].describe();
        assert_eq!(b(("B_TRY", "1")), "B good, last try taken");
        assert_eq!(b(("B_TRY", "0")), "B good, not tried");
        assert_eq!(b(("B_LEFT", "2")), "B good, 2 tries left");
        assert_eq!(b(("B_LEFT", "good")), "B good, confirmed");
        assert_eq!(b(("B_OK", "0")), "B bad, no try flag");
    }

    #[test]
    fn a_slot_outside_the_order_is_told_but_never_next() {
        let slots = of(&[("ORDER", ""), ("A_OK", "1"), ("A_TRY", "0")]).unwrap();
        assert_eq!(slots.next, None);
        assert_eq!(slots.slots.len(), 1);
        assert_eq!(of(&[("saved_entry", "0")]), None);
    }
}
