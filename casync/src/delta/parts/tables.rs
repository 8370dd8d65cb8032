//! The tables that a block's sequences are written with.

use super::fse::Counts;

#[rustfmt::skip]
const LITERALS_DEFAULT: &[i16] = &[
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1,
    -1, -1,
];
#[rustfmt::skip]
const OFFSETS_DEFAULT: &[i16] = &[
    1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
];
#[rustfmt::skip]
const MATCHES_DEFAULT: &[i16] = &[
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];

/// What is special about the table of one kind of number.
struct Kind {
    /// The counts where none are described, and the logarithm of their table's size.
    usual: (&'static [i16], u32),
    /// Logarithm of the largest table.
    largest_log: u32,
    /// Codes that there are.
    codes: usize,
}

const LITERALS: Kind = Kind {
    usual: (LITERALS_DEFAULT, 6),
    largest_log: 9,
    codes: 36,
};
const OFFSETS: Kind = Kind {
    usual: (OFFSETS_DEFAULT, 5),
    largest_log: 8,
    codes: 32,
};
const MATCHES: Kind = Kind {
    usual: (MATCHES_DEFAULT, 6),
    largest_log: 9,
    codes: 53,
};

impl Kind {
    /// Sets the table by its mode, with the description at the front of `bytes`, whose length is told.
    fn update(&self, table: &mut Option<Counts>, mode: u8, bytes: &[u8]) -> Option<usize> {
        let (counts, len) = match mode & 3 {
            0 => (Counts::known(self.usual), 0),
            1 => (Counts::only(*bytes.first()?), 1),
            2 => Counts::read(bytes, self.largest_log, self.codes)?,
            // That of the block before.
            _ => return table.is_some().then_some(0),
        };
        *table = Some(counts);
        Some(len)
    }
}

/// The three tables of a block; the next one may use them again.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) literals: Option<Counts>,
    pub(super) offsets: Option<Counts>,
    pub(super) matches: Option<Counts>,
}

impl Tables {
    /// Sets the tables by their modes, two bits each, with the descriptions at the front of `bytes`, whose
    /// length is told.
    pub(super) fn update(&mut self, modes: u8, bytes: &[u8]) -> Option<usize> {
        let mut at = LITERALS.update(&mut self.literals, modes >> 6, bytes)?;
        at += OFFSETS.update(&mut self.offsets, modes >> 4, bytes.get(at..)?)?;
        at += MATCHES.update(&mut self.matches, modes >> 2, bytes.get(at..)?)?;
        Some(at)
    }
}
