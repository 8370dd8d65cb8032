//! Tables of FSE, zstd's entropy coder: read from their description, for both directions.

use super::bits::{BitWriter, BitsFromEnd, BitsFromStart};

/// Logarithm of the smallest table that is described.
const SMALLEST_LOG: u32 = 5;

/// How often each symbol occurs in a table; -1 stands for "less than once".
#[derive(Clone, Debug)]
pub(super) struct Counts {
    pub(super) log: u32,
    pub(super) counts: Vec<i16>,
}

impl Counts {
    /// Reads a description from the front of `bytes`, and tells its length.
    pub(super) fn read(bytes: &[u8], largest_log: u32, symbols: usize) -> Option<(Self, usize)> {
        let mut bits = BitsFromStart::new(bytes);
        let log = Some(bits.read(4)? + SMALLEST_LOG).filter(|log| *log <= largest_log)?;
        let (mut counts, mut left) = (Vec::new(), 1_u32 << log);
        while left > 0 {
            let count = read_count(&mut bits, left)?;
            left = left.checked_sub(count.unsigned_abs().into())?;
            counts.push(count);
            // How many more zeros follow: three, and then it is said again.
            let mut more = if count == 0 { 3 } else { 0 };
            while more == 3 && counts.len() <= symbols {
                more = bits.read(2)?;
                counts.extend((0..more).map(|_| 0));
            }
            if counts.len() > symbols {
                return None;
            }
        }
        Some((Self { log, counts }, bits.end()?))
    }

    /// Counts that need no description.
    pub(super) fn known((counts, log): (&[i16], u32)) -> Self {
        let counts = counts.to_vec();
        Self { log, counts }
    }

    /// A table in which one symbol has every place.
    pub(super) fn only(symbol: u8) -> Self {
        let mut counts = vec![0; usize::from(symbol)];
        counts.push(1);
        Self { log: 0, counts }
    }

    /// The symbol of each state.
    fn spread(&self) -> Option<Vec<u8>> {
        let size = 1_usize << self.log;
        let mut table = vec![0_u8; size];
        let mut free = size;
        for (symbol, _) in self.of(|count| count == -1) {
            free = free.checked_sub(1)?;
            *table.get_mut(free)? = symbol;
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut position = 0;
        for (symbol, count) in self.of(|count| count > 0) {
            for _ in 0..count {
                *table.get_mut(position)? = symbol;
                if size == 1 {
                    break;
                }
                loop {
                    position = (position + step) & (size - 1);
                    if position < free || free == 0 {
                        break;
                    }
                }
            }
        }
        Some(table)
    }

    fn of(&self, wanted: impl Fn(i16) -> bool) -> impl Iterator<Item = (u8, i16)> {
        let symbols = self.counts.iter().enumerate();
        symbols.filter_map(move |(symbol, count)| {
            let symbol = u8::try_from(symbol).ok()?;
            wanted(*count).then_some((symbol, *count))
        })
    }
}

/// Reads a count that takes `left` places at most, and may be -1. Of the values that are possible the
/// smaller ones have a bit less.
fn read_count(bits: &mut BitsFromStart<'_>, left: u32) -> Option<i16> {
    let most = left + 1;
    let width = most.ilog2() + 1;
    let half = 1_u32 << (width - 1);
    let short = 2 * half - 1 - most;
    let low = bits.peek(width - 1)?;
    let value = if low < short {
        bits.skip(width - 1)?;
        low
    } else {
        let full = bits.read(width)?;
        if full < half { full } else { full - short }
    };
    i16::try_from(value).ok()?.checked_sub(1)
}

/// A state while decoding.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    pub(super) symbol: u8,
    pub(super) bits: u8,
    base: u16,
}

/// A table to decode by.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    log: u32,
    steps: Vec<Step>,
}

impl Decoder {
    pub(super) fn new(counts: &Counts) -> Option<Self> {
        let symbols = counts.spread()?;
        let mut next: Vec<u32> = counts
            .counts
            .iter()
            .map(|c| u32::from(c.unsigned_abs()))
            .collect();
        let size = 1_u32 << counts.log;
        let mut steps = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            let state = next.get_mut(usize::from(symbol))?;
            if *state == 0 {
                return None;
            }
            let bits = counts.log - state.ilog2().min(counts.log);
            let base = (*state << bits).checked_sub(size)?;
            *state += 1;
            steps.push(Step {
                symbol,
                bits: u8::try_from(bits).ok()?,
                base: u16::try_from(base).ok()?,
            });
        }
        Some(Self {
            log: counts.log,
            steps,
        })
    }

    pub(super) fn first(&self, bits: &mut BitsFromEnd<'_>) -> Option<Step> {
        let state = bits.read(self.log)?;
        self.steps.get(usize::try_from(state).ok()?).copied()
    }

    pub(super) fn next(&self, step: Step, bits: &mut BitsFromEnd<'_>) -> Option<Step> {
        let state = u32::from(step.base) + bits.read(step.bits.into())?;
        self.steps.get(usize::try_from(state).ok()?).copied()
    }
}

/// How a symbol moves the state while encoding.
#[derive(Clone, Copy, Debug, Default)]
struct Move {
    /// The upper half is how many bits are written, one less where the state is below the lower half.
    bits: u32,
    /// From what is left of the state to the place of the next one.
    find: i32,
    /// Place of the symbol's smallest state.
    first: i32,
}

impl Move {
    /// Of a symbol with so many places of a table, behind those of the symbols before it.
    fn new(log: u32, places: i32, before: i32) -> Option<Self> {
        let (most, find) = match places {
            ..=0 => return None,
            1 => (log, before - 1),
            _ => {
                let smaller = (places - 1).cast_unsigned().ilog2();
                (log.checked_sub(smaller)?, before - places)
            }
        };
        Some(Self {
            bits: (most << 16).wrapping_sub(places.cast_unsigned() << most),
            find,
            first: before,
        })
    }
}

/// A table to encode by.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    log: u32,
    states: Vec<u16>,
    moves: Vec<Option<Move>>,
    state: Option<u32>,
}

impl Encoder {
    pub(super) fn new(counts: &Counts) -> Option<Self> {
        let symbols = counts.spread()?;
        let size = 1_i32 << counts.log;
        let mut starts = Vec::with_capacity(counts.counts.len());
        let mut moves = Vec::with_capacity(counts.counts.len());
        let mut total = 0_i32;
        for &count in &counts.counts {
            let places = i32::from(count.unsigned_abs());
            starts.push(usize::try_from(total).ok()?);
            moves.push(Move::new(counts.log, places, total));
            total += places;
        }
        if total != size {
            return None;
        }
        let mut states = vec![0; symbols.len()];
        for (state, symbol) in (size..).zip(&symbols) {
            let place = starts.get_mut(usize::from(*symbol))?;
            *states.get_mut(*place)? = u16::try_from(state).ok()?;
            *place += 1;
        }
        Some(Self {
            log: counts.log,
            states,
            moves,
            state: None,
        })
    }

    fn at(&self, place: i64) -> Option<u32> {
        let state = self.states.get(usize::try_from(place).ok()?)?;
        Some((*state).into())
    }

    /// Writes what leads from this symbol's state to that of the symbol before. The first symbol, which is
    /// the last one to be read, has its smallest state, and nothing is written for it.
    pub(super) fn put(&mut self, symbol: u8, out: &mut BitWriter) -> Option<()> {
        let step = (*self.moves.get(usize::from(symbol))?)?;
        let place = match self.state {
            None => i64::from(step.first),
            Some(state) => {
                let bits = state.wrapping_add(step.bits) >> 16;
                out.put(state, bits);
                i64::from(state.checked_shr(bits)?) + i64::from(step.find)
            }
        };
        self.state = Some(self.at(place)?);
        Some(())
    }

    /// Writes the state of the symbol that is read first.
    pub(super) fn finish(self, out: &mut BitWriter) -> Option<()> {
        out.put(self.state?, self.log);
        Some(())
    }
}
