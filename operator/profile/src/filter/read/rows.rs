//! Rules of what is asked about one call's arguments.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    TooComplex, Unsaid,
    cells::{Cell, WordCell},
    expression::POINTER,
    graph::{Graph, Node, NodeId, Question},
};
use crate::{
    Action,
    evaluate::{ARGUMENTS, Answer, Decision, Entry, Group, Merging, Outcome, Reason, Row, Width},
    filter::outcome,
};

/// The most rules of one call.
const MAX_ROWS: usize = 2048;
/// The most paths that are looked at for one call.
const MAX_PATHS: usize = 1 << 14;
/// Of so many rules no two are joined any more.
const MAX_JOINED: usize = 512;

/// How the words of arguments lie, and how many of them a filter of this architecture's profile looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) width: Width,
    pub(super) big_endian: bool,
    /// Whether arguments have high words that profiles don't see.
    pub(super) hides_high_words: bool,
}

impl Layout {
    /// The argument of a word, and whether it is the high one; `None` for what is no argument.
    fn argument(self, word: u8) -> Option<(usize, bool)> {
        let place = usize::from(word).checked_sub(4)?;
        Some((place / 2, (place % 2 == 1) != self.big_endian))
    }

    /// The high words of all arguments, a bit each.
    pub(super) fn high_words(self) -> u16 {
        (4..16)
            .filter(|&word| self.argument(word).is_some_and(|(_, high)| high))
            .fold(0, |all, word| all | 1 << word)
    }
}

/// What is asked of every argument on one path.
#[derive(Clone, Default)]
struct Path {
    words: [[WordCell; 2]; ARGUMENTS],
}

/// The arguments that lead to one outcome.
type Cells = ([Cell; ARGUMENTS], Outcome);

impl Graph<'_> {
    /// What a filter does with a call, and why it can't be said exactly where it can't. Where it can do what it usually does, rules say
    /// when it does something else.
    pub(super) fn entry(
        &mut self,
        root: NodeId,
        layout: Layout,
        is_even: bool,
        usual: Option<Outcome>,
    ) -> Result<(Entry, Option<Unsaid>), TooComplex> {
        if let Node::Returns(value) = self.get(root) {
            return Ok((always(outcome(value)), None));
        }
        let below = self.below(root)?;
        let unsaid = if is_even { self.unsaid(&below, layout) } else { Some(Unsaid::NumberBits) };
        if let Some(unsaid) = unsaid {
            return Ok((self.anything(&below), Some(unsaid)));
        }
        let default = self.default(&below, root, usual)?;
        match self.cells(root, default, layout, &below)? {
            Some(cells) => Ok((entry(join(cells, self)?, default, layout), None)),
            None => Ok((self.anything(&below), Some(Unsaid::TooMany))),
        }
    }

    /// The first reason why what is asked can't be said as conditions on arguments.
    fn unsaid(&self, below: &[NodeId], layout: Layout) -> Option<Unsaid> {
        let pointer = POINTER.iter().fold(0, |all, word| all | 1 << word);
        let root = below.last()?;
        if self.words(*root) & pointer != 0 {
            return Some(Unsaid::InstructionPointer);
        }
        if layout.hides_high_words && self.words(*root) & layout.high_words() != 0 {
            return Some(Unsaid::HighWords);
        }
        below.iter().find_map(|&id| match self.get(id) {
            Node::Computes(_) => Some(Unsaid::ComputedReturn),
            Node::Asks { question: Question::Other(..), .. } => Some(Unsaid::Arithmetic),
            _ => None,
        })
    }

    /// The span of everything that may be returned.
    fn anything(&self, below: &[NodeId]) -> Entry {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for &id in below {
            let possible = match self.get(id) {
                Node::Returns(value) => vec![outcome(value)],
                // Whatever is computed may be any action.
                Node::Computes(_) => {
                    [Action::Allow, Action::KillProcess].map(|one| Outcome::new(one, None)).to_vec()
                }
                Node::Asks { .. } => Vec::new(),
            };
            outcomes.extend(possible);
        }
        outcomes.sort_by_key(|one| one.strictness());
        let (Some(&loosest), Some(&strictest)) = (outcomes.first(), outcomes.last()) else {
            return always(outcome(0));
        };
        // The two ends of a span are all that counts of it.
        let row = Row { conditions: Vec::new(), outcome: loosest, rule: 0 };
        Entry::Depends(Group {
            rows: vec![row],
            default: strictest,
            merging: Merging::TooHard,
            loads_anew: false,
        })
    }

    /// The usual outcome, where it is one; else that at the end of most paths.
    fn default(
        &mut self,
        below: &[NodeId],
        root: NodeId,
        usual: Option<Outcome>,
    ) -> Result<Outcome, TooComplex> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for &id in below {
            if let Node::Returns(value) = self.get(id)
                && !outcomes.contains(&outcome(value))
            {
                outcomes.push(outcome(value));
                self.work(outcomes.len())?;
            }
        }
        if let Some(usual) = usual.filter(|usual| outcomes.contains(usual)) {
            return Ok(usual);
        }
        let mut best = (0.0, outcome(0));
        for one in outcomes {
            self.work(below.len())?;
            // As many as there may be paths are no whole number.
            let mut paths: FxHashMap<NodeId, f64> = FxHashMap::default();
            for &id in below {
                let count = match self.get(id) {
                    Node::Returns(value) => f64::from(u8::from(outcome(value) == one)),
                    Node::Computes(_) => 0.0,
                    Node::Asks { yes, no, .. } => [yes, no].iter().filter_map(|id| paths.get(id)).sum(),
                };
                paths.insert(id, count);
            }
            let count = paths.get(&root).copied().unwrap_or(0.0);
            // Of as many, the stricter one: then rules say what gets further.
            if count > best.0 || (count == best.0 && one.strictness() > best.1.strictness()) {
                best = (count, one);
            }
        }
        Ok(best.1)
    }

    /// The arguments that lead elsewhere than to the default; `None` where they are too many.
    fn cells(
        &mut self,
        root: NodeId,
        default: Outcome,
        layout: Layout,
        below: &[NodeId],
    ) -> Result<Option<Vec<Cells>>, TooComplex> {
        let mut elsewhere = FxHashSet::default();
        for &id in below {
            let leads = match self.get(id) {
                Node::Returns(value) => outcome(value) != default,
                Node::Computes(_) => false,
                Node::Asks { yes, no, .. } => elsewhere.contains(&yes) || elsewhere.contains(&no),
            };
            if leads {
                elsewhere.insert(id);
            }
        }
        let mut found = Vec::new();
        let mut paths = 0;
        let mut stack = vec![(root, Path::default())];
        while let Some((id, path)) = stack.pop() {
            self.work(4)?;
            paths += 1;
            if paths > MAX_PATHS {
                return Ok(None);
            }
            match self.get(id) {
                Node::Asks { question, yes, no } => {
                    for (next, holds) in [(no, false), (yes, true)] {
                        if !elsewhere.contains(&next) {
                            continue;
                        }
                        match path.with(question, holds, layout, self.budget) {
                            Answer::Found(path) => stack.push((next, path)),
                            Answer::Nothing => {}
                            Answer::TooHard => return Ok(None),
                        }
                    }
                }
                Node::Returns(value) => {
                    let Some(cells) = path.cells(layout, MAX_ROWS) else { return Ok(None) };
                    found.extend(cells.into_iter().map(|cells| (cells, outcome(value))));
                    if found.len() > MAX_ROWS {
                        return Ok(None);
                    }
                }
                Node::Computes(_) => {}
            }
        }
        Ok(Some(found))
    }
}

impl Path {
    /// The arguments of this path for which a question is answered so.
    fn with(
        &self,
        question: Question,
        holds: bool,
        layout: Layout,
        budget: &crate::evaluate::Budget,
    ) -> Answer<Self> {
        let (word, change): (u8, Box<dyn Fn(WordCell) -> Option<WordCell>>) = match question {
            Question::AtLeast(word, least) => (word, Box::new(move |cell| Some(cell.at_least(least, holds)))),
            Question::Bits { word, mask, datum } => {
                (word, Box::new(move |cell| cell.bits(mask, datum, holds)))
            }
            Question::Other(..) => return Answer::TooHard,
        };
        let Some((index, is_high)) = layout.argument(word) else { return Answer::TooHard };
        let mut path = self.clone();
        let cell = &mut path.words[index][usize::from(is_high)];
        let Some(changed) = change(std::mem::take(cell)) else { return Answer::Nothing };
        let possible = changed.is_possible(budget);
        *cell = changed;
        match possible {
            Answer::Found(()) => Answer::Found(path),
            Answer::Nothing => Answer::Nothing,
            Answer::TooHard => Answer::TooHard,
        }
    }

    /// The arguments, in cells; `None` where they are too many.
    fn cells(&self, layout: Layout, limit: usize) -> Option<Vec<[Cell; ARGUMENTS]>> {
        let mut all: Vec<[Cell; ARGUMENTS]> = vec![Default::default()];
        for (index, [low, high]) in self.words.iter().enumerate() {
            if *low == WordCell::default() && *high == WordCell::default() {
                continue;
            }
            let choices = Cell::of(low, high, layout.width);
            if all.len() * choices.len() > limit {
                return None;
            }
            let with = |cells: &[Cell; ARGUMENTS]| {
                let cells = cells.clone();
                choices
                    .iter()
                    .map(move |choice| {
                        let mut cells = cells.clone();
                        cells[index] = choice.clone();
                        cells
                    })
                    .collect::<Vec<_>>()
            };
            all = all.iter().flat_map(with).collect();
        }
        Some(all)
    }
}

/// Joins cells that differ in one argument alone, as long as there are any.
fn join(mut cells: Vec<Cells>, graph: &mut Graph<'_>) -> Result<Vec<Cells>, TooComplex> {
    if cells.len() > MAX_JOINED {
        return Ok(cells);
    }
    let mut at = 0;
    while at < cells.len() {
        graph.work(cells.len())?;
        let found = (0..cells.len())
            .filter(|&other| other != at)
            .find_map(|other| joined(&cells[at], &cells[other]).map(|both| (other, both)));
        match found {
            None => at += 1,
            Some((other, both)) => {
                cells[at.min(other)] = both;
                cells.remove(at.max(other));
                at = 0;
            }
        }
    }
    Ok(cells)
}

fn joined(one: &Cells, other: &Cells) -> Option<Cells> {
    if one.1 != other.1 {
        return None;
    }
    let mut differ = (0..ARGUMENTS).filter(|&index| one.0[index] != other.0[index]);
    let index = differ.next()?;
    if differ.next().is_some() {
        return None;
    }
    let mut cells = one.0.clone();
    cells[index] = one.0[index].joined(&other.0[index])?;
    Some((cells, one.1))
}

fn always(outcome: Outcome) -> Entry {
    Entry::Always(Decision { outcome, reason: Reason::Default })
}

fn entry(mut cells: Vec<Cells>, default: Outcome, layout: Layout) -> Entry {
    let conditions = |cells: &[Cell; ARGUMENTS]| {
        cells.iter().enumerate().flat_map(|(index, cell)| cell.conditions(index, layout.width)).collect()
    };
    cells.sort_by(|one, other| (one.1.strictness(), &one.0).cmp(&(other.1.strictness(), &other.0)));
    let rows: Vec<Row> = cells
        .iter()
        .map(|(cells, outcome)| Row { conditions: conditions(cells), outcome: *outcome, rule: 0 })
        .collect();
    match rows.iter().find(|row| row.conditions.is_empty()) {
        // No arguments lead to the default.
        Some(row) if rows.len() == 1 => always(row.outcome),
        _ if rows.is_empty() => always(default),
        _ => Entry::Depends(Group { rows, default, merging: Merging::Faithful, loads_anew: false }),
    }
}
