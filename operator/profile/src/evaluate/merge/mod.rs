//! Whether libseccomp makes of a call's conditional rules a filter that does what they say.

mod grid;
mod tree;

use super::{
    ARGUMENTS, Outcome,
    condition::{NOTHING, Test, Width},
    row::{Condition, Row},
};
use crate::Operator;
use grid::Grid;
use tree::{Broken, Release};

pub(super) use tree::{Blocks, Program};

/// What libseccomp (2.5.4 to 2.6.1) makes of a call's conditional rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Merging {
    /// A filter that does what the rules say, wherever those that match agree.
    Faithful,
    /// A filter that does what none of them says, or nobody knows what.
    Unfaithful,
    /// Nothing: it answers `EEXIST`, and no container starts.
    Refused,
    /// Nothing: it loops for ever, and the runtime with it.
    Endless,
    /// A filter without the instruction that loads the number of the call, so that none of the rules ever matches; see
    /// [`super::misload`].
    NumberNotLoaded,
    /// It was not found out with the work allowed.
    TooHard,
}

/// How much work may go into finding out, in comparisons of words (some 5 ns): what all calls of a table share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance(usize);

/// Some 100 times what the largest of the known default profiles needs.
const ALLOWED: usize = 100_000;

impl Allowance {
    pub(super) const fn new() -> Self {
        Self(ALLOWED)
    }

    /// How much was used.
    pub(super) const fn used(self) -> usize {
        ALLOWED - self.0
    }
}

/// What becomes of some rules, and whether their filter is right only because it loads a word anew, which is up to other calls too; see
/// [`super::shared`]. A short look settles nearly all rules; for the others libseccomp's program is built and compared with the rules
/// over all arguments.
pub(super) fn merging(
    rows: &[Row],
    default: Outcome,
    width: Width,
    allowance: &mut Allowance,
) -> (Merging, bool) {
    if merges_at_sight(rows) {
        return (Merging::Faithful, false);
    }
    by_program(rows, default, width, allowance)
        .map_or_else(|merging| (merging, false), |anew| (Merging::Faithful, anew))
}

/// What becomes of rules that a later one without conditions takes the place of, or whose call can't be made: what they do is of no
/// account, but libseccomp has to get over them.
pub(super) fn merging_in_passing(rows: &[Row], width: Width, allowance: &mut Allowance) -> Merging {
    let bits = || rows.iter().flat_map(|row| &row.conditions).all(|condition| condition.test.is_bits());
    if have_one_outcome(rows) && bits() {
        return Merging::Faithful;
    }
    programs(rows, width, &mut Blocks::default(), allowance).map_or_else(Merging::from, |_| Merging::Faithful)
}

/// Whether no filter goes wrong that has such rules: only one rule; or only `EQ` and `MASKED_EQ`; or one condition in each rule, which
/// some value meets, and for each argument with another operator one high word. `tests/libseccomp.rs` holds this.
fn merges_at_sight(rows: &[Row]) -> bool {
    let conditions = || rows.iter().flat_map(|row| &row.conditions);
    if rows.len() == 1 || conditions().all(|condition| condition.test.is_bits()) {
        return true;
    }
    rows.iter().all(|row| row.conditions.len() == 1)
        && conditions().all(|condition| condition.test != NOTHING)
        && (0..ARGUMENTS).all(|index| {
            let mut of_argument = conditions().filter(|condition| condition.index == index);
            let high = of_argument.clone().next().map(Condition::high);
            of_argument.clone().all(|one| one.test.is_bits())
                || of_argument.all(|one| Some(one.high()) == high)
        })
}

fn by_program(
    rows: &[Row],
    default: Outcome,
    width: Width,
    allowance: &mut Allowance,
) -> Result<bool, Merging> {
    let mut blocks = Blocks::default();
    let programs = programs(rows, width, &mut blocks, allowance)?;
    let any_word = programs.iter().any(|program| program.is_misled(&blocks));
    if any_word && rows.iter().flat_map(|row| &row.conditions).any(has_partial_mask) {
        // A word is compared under another one's mask: no grid of whole words tells all that may come of it.
        return Err(Merging::Unfaithful);
    }
    let grid = Grid::new(rows, width, any_word, &mut allowance.0).ok_or(Merging::TooHard)?;
    let work = programs.iter().map(Program::len).sum::<usize>() + rows.len();
    for arguments in grid.points() {
        allowance.0 = allowance.0.checked_sub(work).ok_or(Merging::TooHard)?;
        if let Some(said) = said(rows, default, &arguments)
            && programs.iter().any(|program| program.run(&blocks, &arguments).unwrap_or(default) != said)
        {
            return Err(Merging::Unfaithful);
        }
    }
    Ok(programs.iter().any(|program| program.anew().next().is_some()))
}

/// The programs of the releases that differ.
pub(super) fn programs(
    rows: &[Row],
    width: Width,
    blocks: &mut Blocks,
    allowance: &mut Allowance,
) -> Result<Vec<Program>, Broken> {
    let releases =
        if have_one_outcome(rows) { &[Release::Newer][..] } else { &[Release::Older, Release::Newer] };
    releases.iter().map(|&release| Program::new(rows, width, release, blocks, &mut allowance.0)).collect()
}

/// Whether a condition looks at some bits of a word, and not at others.
fn has_partial_mask(condition: &Condition) -> bool {
    let Test::Bits { mask, .. } = condition.test else { return false };
    condition.op == Operator::MaskedEq
        && [mask as u32, (mask >> 32) as u32].iter().any(|word| !matches!(*word, 0 | u32::MAX))
}

fn have_one_outcome(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.outcome == rows[0].outcome)
}

/// What the rules say of some arguments; `None` where those that match are at odds.
fn said(rows: &[Row], default: Outcome, arguments: &[u64; ARGUMENTS]) -> Option<Outcome> {
    let mut matching = rows.iter().filter(|row| row.matches(arguments));
    let Some(first) = matching.next() else { return Some(default) };
    matching.all(|row| row.outcome == first.outcome).then_some(first.outcome)
}

impl From<Broken> for Merging {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Refused => Self::Refused,
            Broken::Endless => Self::Endless,
            Broken::Undefined => Self::Unfaithful,
            Broken::TooHard => Self::TooHard,
        }
    }
}
