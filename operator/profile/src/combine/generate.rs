//! Writes rules for one call, of which no two match the same arguments.

use super::{
    Case, Input, Outcomes,
    cube::{Cube, cubes, join, prefixes},
};
use crate::{
    Arg, Operator, Rule,
    evaluate::{Condition, Outcome, Test},
};

/// So many sets of arguments may arise on the way.
const MAX_CELLS: usize = 1024;

/// The rules of an argument that is compared by order and equality alone: a few comparisons, and masks for what lies
/// between two values.
pub(super) fn by_intervals(
    name: &str,
    inputs: &[Input],
    combine: &Outcomes<'_>,
    default: Outcome,
) -> Option<Vec<Rule>> {
    let index = only_index(inputs)?;
    let runs = runs(inputs, index, combine)?;
    let outcomes = runs.iter().map(|run| run.2).filter(|outcome| *outcome != default);
    let mut distinct: Vec<Outcome> = Vec::new();
    for outcome in outcomes {
        if !distinct.contains(&outcome) {
            distinct.push(outcome);
        }
    }
    let mut rules = Vec::new();
    for outcome in distinct {
        let mine: Vec<(u64, u64)> =
            runs.iter().filter(|run| run.2 == outcome).map(|&(from, to, _)| (from, to)).collect();
        rules.extend(interval_args(index, &mine).into_iter().map(|args| rule(name, outcome, args)));
    }
    Some(rules)
}

/// The one argument that all conditions of all inputs ask of, if none asks for single bits.
fn only_index(inputs: &[Input]) -> Option<u8> {
    let mut conditions = inputs.iter().flat_map(|input| &input.rows).flat_map(|row| &row.conditions);
    let plain = |condition: &Condition| match condition.test {
        Test::Range { .. } => true,
        Test::Bits { mask, .. } | Test::NotBits { mask, .. } => mask == u64::MAX,
    };
    let index = conditions.clone().next()?.index;
    let single = inputs.iter().flat_map(|input| &input.rows).all(|row| row.conditions.len() <= 1);
    (single && conditions.all(|condition| condition.index == index && plain(condition)))
        .then(|| u8::try_from(index).ok())?
}

/// The argument's values in order, by outcome.
fn runs(inputs: &[Input], index: u8, combine: &Outcomes<'_>) -> Option<Vec<(u64, u64, Outcome)>> {
    let mut starts = vec![0];
    for condition in inputs.iter().flat_map(|input| &input.rows).flat_map(|row| &row.conditions) {
        match condition.test {
            Test::Range { from, to } => starts.extend([Some(from), to.checked_add(1)].into_iter().flatten()),
            Test::Bits { datum, .. } | Test::NotBits { datum, .. } => {
                starts.extend([Some(datum), datum.checked_add(1)].into_iter().flatten());
            }
        }
    }
    starts.sort_unstable();
    starts.dedup();
    if starts.len() > MAX_CELLS {
        return None;
    }
    let mut runs: Vec<(u64, u64, Outcome)> = Vec::new();
    for start in starts {
        let mut arguments = [0; 6];
        arguments[usize::from(index)] = start;
        let outcome = combine(&inputs.iter().map(|input| input.at(&arguments)).collect::<Vec<_>>());
        match runs.last_mut() {
            Some(last) if last.2 == outcome => {}
            Some(last) => {
                last.1 = start - 1;
                runs.push((start, u64::MAX, outcome));
            }
            None => runs.push((start, u64::MAX, outcome)),
        }
    }
    Some(runs)
}

/// Conditions for ranges of values. The greater-than form names the value below, so that all values compared with
/// keep a low word where they can: libseccomp merges comparisons with one high word alone faithfully.
fn interval_args(index: u8, ranges: &[(u64, u64)]) -> Vec<Vec<Arg>> {
    let arg = |op, value, value_two| vec![Arg { index, value, value_two, op }];
    if let [(0, below), (above, u64::MAX)] = ranges
        && below + 2 == *above
    {
        return vec![arg(Operator::NotEqual, below + 1, 0)];
    }
    let mut all = Vec::new();
    for &(from, to) in ranges {
        match (from, to) {
            (0, u64::MAX) => all.push(Vec::new()),
            (from, to) if from == to => all.push(arg(Operator::Equal, from, 0)),
            (0, to) => all.push(arg(Operator::LessOrEqual, to, 0)),
            (from, u64::MAX) => all.push(arg(Operator::GreaterThan, from - 1, 0)),
            (from, to) => all.extend(prefixes(from, to).into_iter().map(|(mask, datum)| match mask {
                u64::MAX => arg(Operator::Equal, datum, 0),
                _ => arg(Operator::MaskedEq, mask, datum),
            })),
        }
    }
    all
}

/// The rules bit by bit: `EQ` and `MASKED_EQ` alone, which libseccomp always merges faithfully. `low` leaves out what
/// needs a high word.
pub(super) fn by_bits(
    name: &str,
    inputs: &[Input],
    combine: &Outcomes<'_>,
    default: Outcome,
    low: bool,
) -> Option<Vec<Rule>> {
    let rows: Option<Vec<RowCubes>> = inputs.iter().map(row_cubes).collect();
    let rows = rows?;
    let cells = |order: Vec<usize>| {
        let mut cells = Cells { inputs, rows: &rows, order, combine, default, found: Vec::new() };
        cells.choose(Cube::default(), &mut vec![None; inputs.len()]).map(|()| cells.found)
    };
    // An input that settles the outcome should come first; which one does depends on the outcomes.
    let upwards: Vec<usize> = (0..inputs.len()).collect();
    let downwards = upwards.iter().rev().copied().collect();
    let found = [upwards, downwards].into_iter().filter_map(cells).min_by_key(Vec::len)?;
    let mut by_outcome: Vec<(Outcome, Vec<Cube>)> = Vec::new();
    for (outcome, cube) in found {
        if low && cube.needs_high_word() {
            continue;
        }
        match by_outcome.iter_mut().find(|(one, _)| *one == outcome) {
            Some((_, cubes)) => cubes.push(cube),
            None => by_outcome.push((outcome, vec![cube])),
        }
    }
    let rules = by_outcome.into_iter().flat_map(|(outcome, cubes)| {
        join(cubes).into_iter().map(move |cube| rule(name, outcome, cube.args()))
    });
    Some(rules.collect())
}

/// Each row of an input, in cubes.
type RowCubes = Vec<(Case, Vec<Cube>)>;

fn row_cubes(input: &Input) -> Option<RowCubes> {
    let rows = input.rows.iter();
    rows.map(|row| {
        let case = Case { outcome: row.outcome, rule: Some(row.rule) };
        cubes(&row.conditions, MAX_CELLS).map(|cubes| (case, cubes))
    })
    .collect()
}

/// Collects the cubes in which the combined outcome isn't the default.
struct Cells<'a> {
    inputs: &'a [Input],
    rows: &'a [RowCubes],
    order: Vec<usize>,
    combine: &'a Outcomes<'a>,
    default: Outcome,
    found: Vec<(Outcome, Cube)>,
}

impl Cells<'_> {
    /// Chooses a row or the default for the next input, within the cube of the rows chosen so far. Stops where the
    /// choice no longer matters, so that no more is told apart than needs be.
    fn choose(&mut self, cube: Cube, chosen: &mut Vec<Option<Case>>) -> Option<()> {
        if let Some(outcome) = self.settled(chosen) {
            return self.keep(outcome, cube, chosen);
        }
        let rows = self.rows;
        let &at = self.order.iter().find(|&&at| chosen[at].is_none())?;
        for (case, cubes) in &rows[at] {
            for both in cubes.iter().filter_map(|one| cube.intersection(one)) {
                chosen[at] = Some(*case);
                self.choose(both, chosen)?;
            }
        }
        chosen[at] = Some(Case { outcome: self.inputs[at].default, rule: None });
        self.choose(cube, chosen)?;
        chosen[at] = None;
        Some(())
    }

    /// The combined outcome, if it is the same whatever the inputs not chosen for do.
    fn settled(&self, chosen: &[Option<Case>]) -> Option<Outcome> {
        let Some(at) = chosen.iter().position(Option::is_none) else {
            return Some((self.combine)(&chosen.iter().flatten().copied().collect::<Vec<_>>()));
        };
        let default = Case { outcome: self.inputs[at].default, rule: None };
        let mut all = self.rows[at].iter().map(|(case, _)| *case).chain([default]).map(|case| {
            let mut more = chosen.to_vec();
            more[at] = Some(case);
            self.settled(&more)
        });
        let first = all.next()??;
        all.all(|other| other == Some(first)).then_some(first)
    }

    /// Keeps what of a cube no row matches of those inputs that the default was chosen for.
    fn keep(&mut self, outcome: Outcome, cube: Cube, chosen: &[Option<Case>]) -> Option<()> {
        if outcome == self.default {
            return Some(());
        }
        let mut pieces = vec![cube];
        let defaults =
            self.rows.iter().zip(chosen).filter(|(_, case)| case.is_some_and(|case| case.rule.is_none()));
        for other in defaults.flat_map(|(rows, _)| rows).flat_map(|(_, cubes)| cubes) {
            pieces = pieces.iter().flat_map(|piece| piece.without(other)).collect();
            if pieces.len() > MAX_CELLS {
                return None;
            }
        }
        self.found.extend(pieces.into_iter().map(|piece| (outcome, piece)));
        (self.found.len() <= MAX_CELLS).then_some(())
    }
}

pub(super) fn rule(name: &str, outcome: Outcome, args: Vec<Arg>) -> Rule {
    Rule {
        names: vec![name.to_owned()],
        action: outcome.action(),
        errno_ret: outcome.errno().map(u32::from),
        args,
    }
}
