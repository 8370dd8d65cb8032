//! Priority, tries and success in the attribute bits of a GPT entry, as ChromeOS's firmware and
//! Bottlerocket's GRUB use them.
//!
//! | bits | |
//! |---|---|
//! | 48 to 51 | priority, 0: never started |
//! | 52 to 55 | tries left |
//! | 56 | started successfully |
//!
//! Both start the partition of the highest priority that has tries or was successful. They differ
//! in who counts: [`Scheme`].

use super::Guid;
use super::table::Entry;

const PRIORITY: u32 = 48;
const TRIES: u32 = 52;
const SUCCESSFUL: u64 = 1 << 56;
const NIBBLE: u64 = 0xf;

/// The largest priority, and the largest number of tries.
pub const MAX: u8 = 15;

/// Whose bits they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Counts tries down at each start while there are any, also of a successful partition.
    Bottlerocket,
    /// Leaves a successful partition alone; the last try also takes the priority away.
    ChromeOs,
}

impl Scheme {
    /// The type that partitions must have to be looked at, as text.
    #[must_use]
    pub fn kind(self) -> Guid {
        // 6b636168-7420-6568-2070-6c616e657421 and fe3a2a5d-4f32-41a7-b725-accc3285a309
        Guid(match self {
            Scheme::Bottlerocket => [
                0x68, 0x61, 0x63, 0x6b, 0x20, 0x74, 0x68, 0x65, 0x20, 0x70, 0x6c, 0x61, 0x6e, 0x65,
                0x74, 0x21,
            ],
            Scheme::ChromeOs => [
                0x5d, 0x2a, 0x3a, 0xfe, 0x32, 0x4f, 0xa7, 0x41, 0xb7, 0x25, 0xac, 0xcc, 0x32, 0x85,
                0xa3, 0x09,
            ],
        })
    }
}

/// The three values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// 0 to 15; 0: never started.
    pub priority: u8,
    /// 0 to 15.
    pub tries: u8,
    /// Started successfully.
    pub successful: bool,
}

impl Priority {
    /// Never started. The try that is left tells it from a slot whose last try ChromeOS has taken:
    /// that one has neither priority nor tries.
    pub const OFF: Priority = Priority {
        priority: 0,
        tries: 1,
        successful: false,
    };

    /// Out of all attribute bits.
    #[must_use]
    pub fn of(attributes: u64) -> Priority {
        let nibble = |at: u32| u8::try_from(attributes >> at & NIBBLE).unwrap_or(MAX);
        Priority {
            priority: nibble(PRIORITY),
            tries: nibble(TRIES),
            successful: attributes & SUCCESSFUL != 0,
        }
    }

    /// Into all attribute bits; the others stay as they are. More than 15 counts as 15.
    #[must_use]
    pub fn put_into(self, attributes: u64) -> u64 {
        let others = attributes & !(NIBBLE << PRIORITY | NIBBLE << TRIES | SUCCESSFUL);
        let successful = if self.successful { SUCCESSFUL } else { 0 };
        others
            | u64::from(self.priority.min(MAX)) << PRIORITY
            | u64::from(self.tries.min(MAX)) << TRIES
            | successful
    }

    /// Whether it is started if nothing with a higher priority is.
    #[must_use]
    pub fn can_start(self) -> bool {
        self.priority > 0 && (self.tries > 0 || self.successful)
    }
}

impl Entry {
    /// Its priority bits.
    #[must_use]
    pub fn priority(&self) -> Priority {
        Priority::of(self.attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_bits_stay() {
        for attributes in [0, u64::MAX, 0x8001_0000_0000_0005, 0x0151_0000_0000_0000] {
            let same = Priority::of(attributes).put_into(attributes);
            assert_eq!(same, attributes);
            let off = Priority::OFF.put_into(attributes);
            assert_eq!(
                off,
                attributes & !0x01ff_0000_0000_0000 | 0x0010_0000_0000_0000
            );
        }
        let priority = Priority {
            priority: 2,
            tries: 1,
            successful: true,
        };
        assert_eq!(priority.put_into(0), 0x0112_0000_0000_0000);
        assert_eq!(Priority::of(0x0112_0000_0000_0000), priority);
    }

    #[test]
    fn the_types_are_those_of_the_peers() {
        let text = Scheme::Bottlerocket.kind().to_string();
        assert_eq!(text, "6b636168-7420-6568-2070-6c616e657421");
        let text = Scheme::ChromeOs.kind().to_string();
        assert_eq!(text, "fe3a2a5d-4f32-41a7-b725-accc3285a309");
    }
}
