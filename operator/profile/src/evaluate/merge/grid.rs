//! Arguments enough to tell two functions apart that look at them by the comparisons of some rules, word by word.

use crate::Operator;
use crate::evaluate::{
    ARGUMENTS,
    condition::{Test, Width},
    row::{Condition, Row},
    solve::{Answer, Budget, value},
};

/// For each argument one value of each kind that the comparisons of its words tell apart.
pub(super) struct Grid {
    values: [Vec<u64>; ARGUMENTS],
}

/// One of the two words of an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Low,
    High,
}

impl Part {
    const fn of(self, value: u64) -> u64 {
        match self {
            Self::Low => value & 0xffff_ffff,
            Self::High => value >> 32,
        }
    }
}

impl Grid {
    /// `any_word` says that a word may be compared with what another one's is. `None` where there are more kinds than `left` lets be
    /// found.
    pub(super) fn new(rows: &[Row], width: Width, any_word: bool, left: &mut usize) -> Option<Self> {
        let mut values: [Vec<u64>; ARGUMENTS] = std::array::from_fn(|_| vec![0]);
        for (index, values) in values.iter_mut().enumerate() {
            let of_argument =
                || rows.iter().flat_map(|row| &row.conditions).filter(move |one| one.index == index);
            if of_argument().next().is_none() {
                continue;
            }
            let all = || rows.iter().flat_map(|row| &row.conditions);
            let mut of_word = |part| {
                if any_word {
                    kinds(all().flat_map(|one| [(one, Part::Low), (one, Part::High)]), left)
                } else {
                    kinds(of_argument().map(|one| (one, part)), left)
                }
            };
            let low = of_word(Part::Low)?;
            let high = match width {
                Width::Bits32 => vec![0],
                Width::Bits64 => of_word(Part::High)?,
            };
            *left = left.checked_sub(low.len() * high.len())?;
            *values = high.iter().flat_map(|high| low.iter().map(move |low| high << 32 | low)).collect();
        }
        Some(Self { values })
    }

    /// Every combination of the arguments' values.
    pub(super) fn points(&self) -> impl Iterator<Item = [u64; ARGUMENTS]> + '_ {
        let mut at = Some([0; ARGUMENTS]);
        std::iter::from_fn(move || {
            let now = at?;
            at = self.after(now);
            Some(std::array::from_fn(|index| self.values[index][now[index]]))
        })
    }

    fn after(&self, mut at: [usize; ARGUMENTS]) -> Option<[usize; ARGUMENTS]> {
        for (place, values) in at.iter_mut().zip(&self.values) {
            *place += 1;
            if *place < values.len() {
                return Some(at);
            }
            *place = 0;
        }
        None
    }
}

/// One value of each kind that the comparisons tell apart in a word: the least of each range, and for masks that aren't ranges what a
/// search finds.
fn kinds<'a>(conditions: impl Iterator<Item = (&'a Condition, Part)>, left: &mut usize) -> Option<Vec<u64>> {
    let mut starts = vec![0];
    let mut masked: Vec<(u64, u64)> = Vec::new();
    for (condition, part) in conditions {
        let datum = part.of(condition.datum);
        let (from, size) = match condition.test {
            Test::Bits { mask, datum } if condition.op == Operator::MaskedEq => {
                let (mask, datum) = (part.of(mask), part.of(datum));
                let free = u64::from(u32::MAX) ^ mask;
                if mask == 0 {
                    continue;
                }
                if !(free + 1).is_power_of_two() {
                    if !masked.contains(&(mask, datum)) {
                        masked.push((mask, datum));
                    }
                    continue;
                }
                (datum, free + 1)
            }
            _ => (datum, 1),
        };
        starts.extend([from, from + size]);
    }
    starts.sort_unstable();
    starts.dedup();
    starts.retain(|&start| start <= u64::from(u32::MAX));
    *left = left.checked_sub(starts.len() * (1 + masked.len()))?;
    if masked.is_empty() { Some(starts) } else { split(&starts, &masked, left) }
}

/// Tells the values of each range apart by masks.
fn split(starts: &[u64], masked: &[(u64, u64)], left: &mut usize) -> Option<Vec<u64>> {
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([u64::from(u32::MAX)]);
    let mut kinds: Vec<(Vec<Test>, u64)> = starts
        .iter()
        .zip(ends)
        .map(|(&from, to)| (vec![Test::Range { from, to: u64::MAX }, Test::Range { from: 0, to }], from))
        .collect();
    for &(mask, datum) in masked {
        let test = Test::Bits { mask, datum };
        let mut others = Vec::new();
        for (tests, known) in &mut kinds {
            let (here, there) =
                if test.holds(*known) { (test, test.negated()) } else { (test.negated(), test) };
            let mut other = tests.clone();
            other.push(there);
            let budget = Budget::of(u64::try_from(*left).unwrap_or(u64::MAX));
            match value(&other, Width::Bits32, &budget) {
                Answer::Found(found) => others.push((other, found)),
                Answer::Nothing => {}
                Answer::TooHard => return None,
            }
            *left = usize::try_from(budget.left()).unwrap_or(usize::MAX);
            tests.push(here);
        }
        kinds.append(&mut others);
    }
    Some(kinds.into_iter().map(|(_, known)| known).collect())
}
