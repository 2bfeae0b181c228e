//! What is asked of one argument, on one path: its two words joined.

use crate::{
    Operator,
    evaluate::{Answer, Budget, Condition, Test, Width, value},
};

/// What is asked of one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WordCell {
    from: u32,
    to: u32,
    mask: u32,
    datum: u32,
    /// Masks and data that it has not.
    not: Vec<(u32, u32)>,
}

impl Default for WordCell {
    fn default() -> Self {
        Self { from: 0, to: u32::MAX, mask: 0, datum: 0, not: Vec::new() }
    }
}

impl WordCell {
    /// Those of its values that are at least, or not at least, so much.
    pub(super) fn at_least(mut self, least: u32, holds: bool) -> Self {
        if holds {
            self.from = self.from.max(least);
        } else {
            // A question's bound is never 0.
            self.to = self.to.min(least.saturating_sub(1));
        }
        self
    }

    /// Those of its values that have, or have not, a datum under a mask; `None` where that contradicts.
    pub(super) fn bits(mut self, mask: u32, datum: u32, holds: bool) -> Option<Self> {
        match (mask, holds) {
            (u32::MAX, true) => {
                (self.from, self.to) = (self.from.max(datum), self.to.min(datum));
            }
            (u32::MAX, false) if self.from == datum && self.to == datum => return None,
            (u32::MAX, false) if self.from == datum => self.from += 1,
            (u32::MAX, false) if self.to == datum => self.to -= 1,
            (_, true) => {
                if (self.datum ^ datum) & self.mask & mask != 0 {
                    return None;
                }
                self.mask |= mask;
                self.datum |= datum;
            }
            (_, false) => self.not.push((mask, datum)),
        }
        Some(self)
    }

    /// Whether it has a value.
    pub(super) fn is_possible(&self, budget: &Budget) -> Answer<()> {
        if self.from > self.to {
            return Answer::Nothing;
        }
        if self.mask == 0 && self.not.is_empty() {
            return Answer::Found(());
        }
        if self.from == self.to {
            return if self.has(self.from) { Answer::Found(()) } else { Answer::Nothing };
        }
        let mut tests = vec![
            Test::Range { from: self.from.into(), to: u64::MAX },
            Test::Range { from: 0, to: self.to.into() },
            Test::Bits { mask: self.mask.into(), datum: self.datum.into() },
        ];
        tests.extend(
            self.not.iter().map(|&(mask, datum)| Test::NotBits { mask: mask.into(), datum: datum.into() }),
        );
        match value(&tests, Width::Bits32, budget) {
            Answer::Found(_) => Answer::Found(()),
            Answer::Nothing => Answer::Nothing,
            Answer::TooHard => Answer::TooHard,
        }
    }

    fn has(&self, value: u32) -> bool {
        (self.from..=self.to).contains(&value)
            && value & self.mask == self.datum
            && self.not.iter().all(|(mask, datum)| value & mask != *datum)
    }

    /// The same values in ranges, each without values left out by themselves.
    fn ranges(&self) -> Vec<(u32, u32)> {
        let mut holes: Vec<u32> =
            self.not.iter().filter(|(mask, _)| *mask == u32::MAX).map(|(_, datum)| *datum).collect();
        holes.sort_unstable();
        holes.dedup();
        let mut ranges = Vec::new();
        let mut from = Some(self.from);
        for hole in holes.into_iter().filter(|hole| (self.from..=self.to).contains(hole)) {
            if let Some(start) = from
                && start < hole
            {
                ranges.push((start, hole - 1));
            }
            from = hole.checked_add(1);
        }
        ranges.extend(from.filter(|start| *start <= self.to).map(|start| (start, self.to)));
        ranges
    }
}

/// What is asked of one argument: a range, bits, and what it has not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Cell {
    from: u64,
    to: u64,
    mask: u64,
    datum: u64,
    not: Vec<(u64, u64)>,
}

impl Default for Cell {
    fn default() -> Self {
        Self { from: 0, to: u64::MAX, mask: 0, datum: 0, not: Vec::new() }
    }
}

const LOW: u64 = u32::MAX as u64;
const HIGH: u64 = !LOW;

impl Cell {
    /// The values of an argument whose words are these: cells that have none in common.
    pub(super) fn of(low: &WordCell, high: &WordCell, width: Width) -> Vec<Self> {
        let mut all = Vec::new();
        match width {
            Width::Bits32 => all.extend(Self::of_low(low, 0, 0)),
            Width::Bits64 => {
                for (from, to) in high.ranges() {
                    if from == to {
                        if high.has(from) {
                            all.extend(Self::of_low(low, u64::from(from) << 32, HIGH));
                        }
                    } else {
                        all.extend(Self::of_range(low, high, from, to));
                    }
                }
            }
        }
        all
    }

    /// Those with one high word, which has this mask.
    fn of_low(low: &WordCell, base: u64, high_mask: u64) -> Option<Self> {
        let mut cell =
            Self { from: base | u64::from(low.from), to: base | u64::from(low.to), ..Self::default() };
        if cell.from == cell.to {
            return low.has(low.from).then_some(cell);
        }
        if low.mask != 0 {
            (cell.mask, cell.datum) = (u64::from(low.mask), u64::from(low.datum));
            if (low.from, low.to) == (0, u32::MAX) {
                // The high word is bits as well.
                (cell.mask, cell.datum) = (cell.mask | high_mask, cell.datum | base);
                (cell.from, cell.to) = (0, u64::MAX);
            }
        }
        cell.not = low
            .not
            .iter()
            .map(|&(mask, datum)| match mask {
                u32::MAX => (u64::MAX, base | u64::from(datum)),
                mask => (u64::from(mask) | high_mask, base | u64::from(datum)),
            })
            .collect();
        Some(cell.ordered())
    }

    /// Those with high words of a range.
    fn of_range(low: &WordCell, high: &WordCell, from: u32, to: u32) -> Vec<Self> {
        let mut cell = Self {
            from: u64::from(from) << 32,
            to: u64::from(to) << 32 | LOW,
            mask: u64::from(high.mask) << 32,
            datum: u64::from(high.datum) << 32,
            not: Vec::new(),
        };
        let parts = |word: &WordCell, shift: u32| -> Vec<(u64, u64)> {
            let whole = |mask: u32| shift == 32 && mask == u32::MAX;
            let not = word.not.iter().filter(|(mask, _)| !whole(*mask));
            not.map(|&(mask, datum)| (u64::from(mask) << shift, u64::from(datum) << shift)).collect()
        };
        cell.not = parts(high, 32);
        cell.not.extend(parts(low, 0));
        let blocks = match (low.from, low.to) {
            (0, u32::MAX) => vec![(0, 0)],
            (from, to) => crate::combine::prefixes(from.into(), to.into()),
        };
        let cells = blocks.into_iter().filter_map(|(mask, datum)| {
            let (mask, datum) = (mask & LOW, datum & LOW);
            let (own, own_datum) = (u64::from(low.mask), u64::from(low.datum));
            if (datum ^ own_datum) & mask & own != 0 {
                return None;
            }
            let mut one = cell.clone();
            one.mask |= mask | own;
            one.datum |= datum | own_datum;
            Some(one.ordered())
        });
        cells.collect()
    }

    fn ordered(mut self) -> Self {
        self.not.sort_unstable();
        self.not.dedup();
        self
    }

    /// One cell of the values of both, where one has them.
    pub(super) fn joined(&self, other: &Self) -> Option<Self> {
        if (self.from, self.to, &self.not) == (other.from, other.to, &other.not) {
            let differ = self.datum ^ other.datum;
            if self.mask == other.mask && differ.is_power_of_two() {
                let mut joined = self.clone();
                joined.mask &= !differ;
                joined.datum &= !differ;
                return Some(joined);
            }
        }
        if (self.mask, self.datum) != (other.mask, other.datum) {
            return None;
        }
        let (first, second) = if self.from <= other.from { (self, other) } else { (other, self) };
        // Bits and holes are of the whole argument, so that they hold on either side of where the ranges meet.
        if first.to.checked_add(1) != Some(second.from) {
            return None;
        }
        let is_single = |cell: &Self| cell.from == cell.to;
        let has_an_end = first.from == 0 || second.to == u64::MAX || second.to == LOW;
        if (is_single(first) || is_single(second)) && (!has_an_end || is_single(first) == is_single(second)) {
            // People know single values by their names.
            return None;
        }
        let outside =
            |cell: &Self, hole: &(u64, u64)| hole.0 == u64::MAX && !(cell.from..=cell.to).contains(&hole.1);
        let fits = |one: &Self, other: &Self| {
            one.not.iter().all(|hole| other.not.contains(hole) || outside(other, hole))
        };
        if !fits(first, second) || !fits(second, first) {
            return None;
        }
        let mut joined = first.clone();
        joined.to = second.to;
        joined.not.extend(&second.not);
        Some(joined.ordered())
    }

    /// The same as conditions.
    pub(super) fn conditions(&self, index: usize, width: Width) -> Vec<Condition> {
        let one = |op, test, datum| Condition { index, op, test, datum };
        if self.from == self.to {
            return vec![Condition::equal(index, self.from)];
        }
        let mut all = Vec::new();
        if self.mask != 0 {
            let (mask, datum) = (self.mask, self.datum);
            all.push(one(Operator::MaskedEq, Test::Bits { mask, datum }, datum));
        }
        if self.from > 0 {
            // As libseccomp has it where the value below has the same high word.
            all.push(one(Operator::GreaterOrEqual, Test::Range { from: self.from, to: u64::MAX }, self.from));
        }
        if self.to < width.max() {
            all.push(one(Operator::LessOrEqual, Test::Range { from: 0, to: self.to }, self.to));
        }
        for &(mask, datum) in &self.not {
            let op = if mask == u64::MAX { Operator::NotEqual } else { Operator::MaskedEq };
            all.push(one(op, Test::NotBits { mask, datum }, datum));
        }
        all
    }
}
