//! Finds a value of one argument that passes every test.

use std::{cell::Cell, collections::HashSet};

use super::{Test, Width};

/// What judging profiles may still cost, in units of about a comparison of two words (some 20 ns).
///
/// Ranges and bit tests over 64 bits can encode hard problems, thousands of rules for one call have millions of pairs, and a profile may
/// be hostile. Whatever depends on such a number takes its cost from here first; where nothing is left, the answer is that it is too hard
/// to say, which refuses the profile. No honest one comes near.
#[derive(Debug)]
pub struct Budget(Cell<u64>);

/// Enough for everything that the controller asks about one profile: at most some 50 ms.
impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(Self::DEFAULT))
    }
}

/// Most bytes of dead ends that a search remembers, about. Beyond, it looks at them anew, as long as its budget lasts.
const MAX_KEPT: usize = 4 << 20;

impl Budget {
    const DEFAULT: u64 = 2_000_000;

    /// For a command that somebody waits for, and for many profiles at once: some seconds.
    #[must_use]
    pub const fn patient() -> Self {
        Self(Cell::new(50 * Self::DEFAULT))
    }

    /// For work of so many units.
    pub(super) const fn of(units: u64) -> Self {
        Self(Cell::new(units))
    }

    pub(super) const fn left(&self) -> u64 {
        self.0.get()
    }

    /// Takes the cost of a step that looks at so many things; false when that is more than is left, and from then on.
    pub(crate) fn step(&self, looks_at: usize) -> bool {
        let left = self.0.get().checked_sub(1 + looks_at as u64);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Whether something was too hard to say.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.0.get() == 0
    }
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    Found(T),
    Nothing,
    /// The budget is used up.
    TooHard,
}

/// A value for which all tests hold.
pub(crate) fn value(tests: &[Test], width: Width, budget: &Budget) -> Answer<u64> {
    Search::new(tests, width).map_or(Answer::Nothing, |mut search| search.run(budget))
}

struct Search {
    from: u64,
    to: u64,
    mask: u64,
    datum: u64,
    /// Masks and data that the value must not have.
    not: Vec<(u64, u64)>,
    /// Places that lead nowhere.
    failed: HashSet<Place>,
    /// How many bytes they take, about.
    kept: usize,
}

/// Where the search stands: the bits from `bit` on are chosen.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    bit: u32,
    /// Whether they equal those of `from`, and of `to`.
    at_from: bool,
    at_to: bool,
    /// Which of `not` the value has so far.
    active: Vec<usize>,
}

impl Search {
    /// None where two tests contradict each other at sight.
    fn new(tests: &[Test], width: Width) -> Option<Self> {
        let mut search = Self {
            from: 0,
            to: width.max(),
            mask: 0,
            datum: 0,
            not: Vec::new(),
            failed: HashSet::new(),
            kept: 0,
        };
        for test in tests {
            match *test {
                Test::Range { from, to } => {
                    search.from = search.from.max(from);
                    search.to = search.to.min(to);
                }
                Test::Bits { mask, datum } => {
                    if (search.datum ^ datum) & search.mask & mask != 0 {
                        return None;
                    }
                    search.mask |= mask;
                    search.datum |= datum;
                }
                Test::NotBits { mask, datum } => search.not.push((mask, datum)),
            }
        }
        (search.from <= search.to).then_some(search)
    }

    fn run(&mut self, budget: &Budget) -> Answer<u64> {
        let active = (0..self.not.len()).collect();
        self.descend(Place { bit: 64, at_from: true, at_to: true, active }, 0, budget)
    }

    fn descend(&mut self, place: Place, value: u64, budget: &Budget) -> Answer<u64> {
        let below = if place.bit == 0 { 0 } else { u64::MAX >> (64 - place.bit) };
        if place.active.iter().any(|&at| self.not[at].0 & below == 0) {
            return Answer::Nothing;
        }
        if place.bit == 0 {
            return Answer::Found(value);
        }
        if self.failed.contains(&place) {
            return Answer::Nothing;
        }
        if !budget.step(place.active.len()) {
            return Answer::TooHard;
        }
        let mut next: Vec<(u64, Place)> =
            [0, 1].into_iter().filter_map(|bit| Some((bit, self.step(&place, bit)?))).collect();
        next.sort_by_key(|(_, place)| place.active.len());
        let shift = place.bit - 1;
        for (bit, after) in next {
            match self.descend(after, value | (bit << shift), budget) {
                Answer::Nothing => {}
                answer => return answer,
            }
        }
        let size = size_of::<Place>() + size_of_val(&place.active[..]);
        if self.kept + size <= MAX_KEPT {
            self.kept += size;
            self.failed.insert(place);
        }
        Answer::Nothing
    }

    /// The place after choosing the next bit, if it may be chosen.
    fn step(&self, place: &Place, bit: u64) -> Option<Place> {
        let shift = place.bit - 1;
        let at = |word: u64| word >> shift & 1;
        let fixed = at(self.mask) == 1 && at(self.datum) != bit;
        if fixed || (place.at_from && bit < at(self.from)) || (place.at_to && bit > at(self.to)) {
            return None;
        }
        let active = place.active.iter().copied().filter(|&not| {
            let (mask, datum) = self.not[not];
            at(mask) == 0 || at(datum) == bit
        });
        Some(Place {
            bit: shift,
            at_from: place.at_from && bit == at(self.from),
            at_to: place.at_to && bit == at(self.to),
            active: active.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tests over the low and the high ends of the 64 bits.
    fn test() -> impl Strategy<Value = Test> {
        let value = prop_oneof![0..16u64, (0..16u64).prop_map(|low| u64::MAX - low)];
        let mask =
            prop_oneof![0..16u64, (0..16u64).prop_map(|low| !low), (0..16u64).prop_map(|high| high << 60)];
        prop_oneof![
            value.clone().prop_map(|to| Test::Range { from: 0, to }),
            value.clone().prop_map(|from| Test::Range { from, to: u64::MAX }),
            (mask.clone(), value.clone()).prop_map(|(mask, datum)| Test::Bits { mask, datum: datum & mask }),
            (mask, value).prop_map(|(mask, datum)| Test::NotBits { mask, datum: datum & mask }),
        ]
    }

    proptest! {
        /// Every value that matters differs from 0 or from `u64::MAX` in four low and four high bits only.
        #[test]
        fn finds_a_value_exactly_where_there_is_one(tests in prop::collection::vec(test(), 0..8)) {
            let mut grid = (0..16u64).flat_map(|high| (0..16u64).flat_map(move |low| {
                [high << 60 | low, high << 60 | (u64::MAX >> 4 & !15) | low, high << 60 | 16 | low]
            }));
            let expected = grid.any(|value| tests.iter().all(|test| test.holds(value)));
            match value(&tests, Width::Bits64, &Budget::default()) {
                Answer::Found(value) => prop_assert!(tests.iter().all(|test| test.holds(value)), "{value:x}"),
                Answer::Nothing => prop_assert!(!expected),
                Answer::TooHard => prop_assert!(false, "too hard"),
            }
        }
    }

    #[test]
    fn stays_within_32_bits() {
        let above = [Test::Range { from: 1 << 32, to: u64::MAX }];
        assert_eq!(value(&above, Width::Bits32, &Budget::default()), Answer::Nothing);
        assert!(matches!(value(&above, Width::Bits64, &Budget::default()), Answer::Found(_)));
    }

    #[test]
    fn many_holes_are_no_hard_problem() {
        let mut holes: Vec<Test> =
            (0..500).map(|hole| Test::NotBits { mask: u64::MAX, datum: hole }).collect();
        holes.push(Test::Range { from: 0, to: 500 });
        assert_eq!(value(&holes, Width::Bits64, &Budget::default()), Answer::Found(500));
        holes.push(Test::NotBits { mask: u64::MAX, datum: 500 });
        assert_eq!(value(&holes, Width::Bits64, &Budget::default()), Answer::Nothing);
    }

    /// Holes of four bits each, in which it is hard to find a value or that there is none.
    fn scattered(count: u64) -> Vec<Test> {
        let mut state = 1u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        (0..count)
            .map(|_| {
                let mut mask = 0u64;
                while mask.count_ones() < 4 {
                    mask |= 1 << next(64);
                }
                let datum = mask & (next(1 << 31) << 33 | next(1 << 31) << 2 | next(4));
                Test::NotBits { mask, datum }
            })
            .collect()
    }

    #[test]
    fn a_hostile_problem_ends_and_keeps_little() {
        for count in [212, 700] {
            let mut search =
                Search::new(&scattered(count), Width::Bits64).expect("no contradiction at sight");
            let budget = Budget::default();
            let answer = search.run(&budget);
            assert!(search.kept <= MAX_KEPT, "{}", search.kept);
            let kept: usize = search.failed.iter().map(|place| size_of_val(&place.active[..])).sum();
            assert!(kept <= MAX_KEPT, "{kept}");
            if count == 700 {
                assert_eq!(answer, Answer::TooHard, "otherwise this tests nothing");
            }
        }
    }

    #[test]
    fn a_step_costs_what_it_looks_at() {
        let budget = Budget(Cell::new(10));
        assert!(budget.step(4) && budget.step(4));
        assert!(!budget.step(0));
    }
}
