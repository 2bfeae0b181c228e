//! Argument vectors given bit by bit: each bit 0, 1 or free.

use std::collections::HashSet;

use crate::{
    Arg, Operator,
    evaluate::{ARGUMENTS, Condition, Test},
};

/// All argument vectors whose bits under the masks are those of the data; data have no bits outside their masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Cube {
    mask: [u64; ARGUMENTS],
    datum: [u64; ARGUMENTS],
}

impl Cube {
    pub(super) fn intersection(&self, other: &Self) -> Option<Self> {
        let mut both = *self;
        for index in 0..ARGUMENTS {
            if (self.datum[index] ^ other.datum[index]) & self.mask[index] & other.mask[index] != 0 {
                return None;
            }
            both.mask[index] |= other.mask[index];
            both.datum[index] |= other.datum[index];
        }
        Some(both)
    }

    /// What is left without another cube, in disjoint pieces. Low words are told apart first, so that no piece
    /// depends on a high word alone, which 32-bit architectures don't see.
    pub(super) fn without(&self, other: &Self) -> Vec<Self> {
        if self.intersection(other).is_none() {
            return vec![*self];
        }
        let mut pieces = Vec::new();
        let mut rest = *self;
        for index in 0..ARGUMENTS {
            for bit in bits(other.mask[index] & !self.mask[index]) {
                rest.mask[index] |= bit;
                let mut piece = rest;
                piece.datum[index] |= !other.datum[index] & bit;
                rest.datum[index] |= other.datum[index] & bit;
                pieces.push(piece);
            }
        }
        pieces
    }

    /// With one bit of the datum the other way.
    const fn flipped(mut self, index: usize, bit: u64) -> Self {
        self.datum[index] ^= bit;
        self
    }

    /// Whether a value with a high word has to be looked at.
    pub(super) fn needs_high_word(&self) -> bool {
        self.datum.iter().any(|datum| datum >> 32 != 0)
    }

    pub(super) fn args(&self) -> Vec<Arg> {
        let args = (0u8..).zip(self.mask.iter().zip(&self.datum)).filter(|(_, (mask, _))| **mask != 0);
        args.map(|(index, (&mask, &datum))| match mask {
            u64::MAX => Arg { index, value: datum, value_two: 0, op: Operator::Equal },
            _ => Arg { index, value: mask, value_two: datum, op: Operator::MaskedEq },
        })
        .collect()
    }
}

/// The single bits of a value: the low word's and then the high word's, each from the highest on.
fn bits(value: u64) -> impl Iterator<Item = u64> {
    let shifts = (0..32).rev().chain((32..64).rev());
    shifts.map(|shift| 1 << shift).filter(move |bit| value & bit != 0)
}

/// The cubes in which all conditions hold; they are disjoint.
pub(super) fn cubes(conditions: &[Condition], limit: usize) -> Option<Vec<Cube>> {
    let mut all = vec![Cube::default()];
    for condition in conditions {
        let choices = choices(condition.test);
        let mut next = Vec::new();
        for cube in &all {
            for (mask, datum) in &choices {
                let mut one = Cube::default();
                (one.mask[condition.index], one.datum[condition.index]) = (*mask, *datum);
                next.extend(cube.intersection(&one));
            }
        }
        if next.len() > limit {
            return None;
        }
        all = next;
    }
    Some(all)
}

/// Masks and data of disjoint sets that make up those values for which a test holds.
fn choices(test: Test) -> Vec<(u64, u64)> {
    match test {
        Test::Bits { mask, datum } => vec![(mask, datum)],
        Test::NotBits { mask, datum } => {
            let mut upto = 0;
            let differs = bits(mask).map(|bit| {
                upto |= bit;
                (upto, (datum ^ bit) & upto)
            });
            differs.collect()
        }
        Test::Range { from, to } => prefixes(from, to),
    }
}

/// Masks and data of the aligned blocks that make up a range.
pub(crate) fn prefixes(from: u64, to: u64) -> Vec<(u64, u64)> {
    let mut blocks = Vec::new();
    let mut at = from;
    while at <= to {
        // The largest block that starts here and doesn't end behind the range.
        let mut size = at.trailing_zeros();
        while size > 0 && (size == u64::BITS || (1u64 << size) - 1 > to - at) {
            size -= 1;
            if size == u64::BITS - 1 && at == 0 && to == u64::MAX {
                return vec![(0, 0)];
            }
        }
        blocks.push((u64::MAX << size, at));
        match at.checked_add(1 << size) {
            Some(next) => at = next,
            None => break,
        }
    }
    blocks
}

/// Joins cubes that differ in one bit alone, as long as there are any.
pub(super) fn join(cubes: Vec<Cube>) -> Vec<Cube> {
    let mut pending = cubes;
    let mut all: HashSet<Cube> = pending.iter().copied().collect();
    while let Some(cube) = pending.pop() {
        if !all.contains(&cube) {
            continue;
        }
        let sibling = (0..ARGUMENTS)
            .flat_map(|index| bits(cube.mask[index]).map(move |bit| (index, bit)))
            .map(|(index, bit)| (cube.flipped(index, bit), index, bit))
            .find(|(sibling, ..)| all.contains(sibling));
        if let Some((sibling, index, bit)) = sibling {
            all.remove(&cube);
            all.remove(&sibling);
            let mut joined = cube;
            joined.mask[index] &= !bit;
            joined.datum[index] &= !bit;
            all.insert(joined);
            pending.push(joined);
        }
    }
    let mut cubes: Vec<Cube> = all.into_iter().collect();
    cubes.sort_by_key(|cube| (cube.mask, cube.datum));
    cubes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near_an_end() -> impl Strategy<Value = u64> {
        prop_oneof![0..40u64, (0..40u64).prop_map(|low| u64::MAX - low), any::<u64>()]
    }

    fn test() -> impl Strategy<Value = Test> {
        prop_oneof![
            (near_an_end(), near_an_end()).prop_map(|(from, to)| Test::Range { from, to }),
            (near_an_end(), any::<u64>()).prop_map(|(mask, datum)| Test::Bits { mask, datum: datum & mask }),
            (near_an_end(), any::<u64>())
                .prop_map(|(mask, datum)| Test::NotBits { mask, datum: datum & mask }),
        ]
    }

    proptest! {
        #[test]
        fn exactly_one_choice_holds_where_the_test_does(test in test(), values in prop::collection::vec(near_an_end(), 20)) {
            let choices = choices(test);
            for value in values {
                let held = choices.iter().filter(|(mask, datum)| value & mask == *datum).count();
                prop_assert_eq!(held, usize::from(test.holds(value)), "{:?} {:x}", choices, value);
            }
        }

        #[test]
        fn what_is_left_is_what_the_other_has_not(
            masks in any::<[u64; 2]>(), data in any::<[u64; 2]>(), values in prop::collection::vec(any::<u64>(), 20),
        ) {
            let cube = |at: usize| {
                let mut cube = Cube::default();
                (cube.mask[0], cube.datum[0]) = (masks[at] & 0xff, data[at] & masks[at] & 0xff);
                cube
            };
            let holds = |cube: &Cube, value: u64| value & cube.mask[0] == cube.datum[0];
            let (one, other) = (cube(0), cube(1));
            let pieces = one.without(&other);
            let joined = join(pieces.clone());
            for value in values {
                let expected = usize::from(holds(&one, value) && !holds(&other, value));
                prop_assert_eq!(pieces.iter().filter(|piece| holds(piece, value)).count(), expected);
                prop_assert_eq!(joined.iter().filter(|piece| holds(piece, value)).count(), expected);
            }
        }
    }
}
