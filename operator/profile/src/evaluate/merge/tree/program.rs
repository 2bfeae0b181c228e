//! The part of a filter that a call's tree becomes.
//!
//! Each node becomes a block that compares what is in the accumulator, and loads a word only where its neighbour on the level doesn't
//! leave the right one there. A block may be reached from elsewhere, with another word. It is put behind the first block that jumps to
//! it, and loads its word anew if that one leaves another; the others count for nothing. This is the second way for filters to come to do what
//! no rule says.
//!
//! Source: `_gen_bpf_node`, `_gen_bpf_chain`, `_gen_bpf_chain_lvl_res` and `_gen_bpf_build_bpf` in libseccomp's `src/gen_bpf.c`,
//! v2.5.4 and v2.6.1.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use super::{Broken, Comparison, Id, NO, Release, Tree, YES};
use crate::evaluate::{ARGUMENTS, Outcome, condition::Width, row::Row};

/// `struct acc_state`: which word is in the accumulator, under which mask; `None` where that is of no account.
type Accumulator = Option<(Word, u32)>;

/// One of the words that a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Word {
    argument: usize,
    high: bool,
}

impl Word {
    const fn of(self, arguments: &[u64; ARGUMENTS]) -> u32 {
        let argument = arguments[self.argument];
        if self.high { (argument >> 32) as u32 } else { argument as u32 }
    }
}

/// `struct bpf_blk`, made of one node. Equal ones are one block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Block {
    word: Word,
    /// What the block relies on to be there; `None` where it loads its word.
    start: Accumulator,
    /// The mask to apply, if any.
    mask: Option<u32>,
    end: Accumulator,
    comparison: Comparison,
    datum: u32,
    targets: [Target; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    Block(usize),
    Action(Option<Outcome>),
    /// The default action.
    Default,
}

/// The blocks of one or several calls, each once.
#[derive(Default)]
pub(in crate::evaluate) struct Blocks {
    list: Vec<Block>,
    known: FxHashMap<Block, usize>,
}

impl Blocks {
    fn id(&mut self, block: Block) -> usize {
        let next = self.list.len();
        match self.known.entry(block) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                self.list.push(place.key().clone());
                *place.insert(next)
            }
        }
    }

    /// Whether a block relies on a word that another one doesn't leave.
    fn is_misled(&self, from: usize, to: usize) -> bool {
        self.list[to].start.is_some() && self.list[from].end != self.list[to].start
    }
}

/// What is made of a call's rules.
pub(in crate::evaluate) struct Program {
    head: Target,
    /// Its blocks, and whether they load their word anew.
    placed: FxHashMap<usize, bool>,
}

impl Program {
    /// The program of a call's conditional rules, its blocks among those of other calls. `left` is lowered by the work done.
    pub(in crate::evaluate::merge) fn new(
        rows: &[Row],
        width: Width,
        release: Release,
        blocks: &mut Blocks,
        left: &mut usize,
    ) -> Result<Self, Broken> {
        let tree = Tree::new(rows, width, release, left)?;
        let head = match tree.root {
            Some(root) => {
                Target::Block(Writer { tree: &tree, blocks, left }.level(root, Target::Default, None)?)
            }
            None => Target::Default,
        };
        Ok(Self { head, placed: place(head, blocks) })
    }

    pub(in crate::evaluate::merge) fn len(&self) -> usize {
        self.placed.len()
    }

    /// Whether a block is reached somehow with another word than it compares.
    pub(in crate::evaluate::merge) fn is_misled(&self, blocks: &Blocks) -> bool {
        self.placed.keys().any(|&from| {
            blocks.list[from].targets.iter().any(|target| match target {
                Target::Block(to) => !self.loads_anew(*to) && blocks.is_misled(from, *to),
                _ => false,
            })
        })
    }

    fn loads_anew(&self, block: usize) -> bool {
        self.placed.get(&block).is_some_and(|anew| *anew)
    }

    /// The blocks that are right because they load their word anew.
    pub(in crate::evaluate) fn anew(&self) -> impl Iterator<Item = usize> + '_ {
        self.placed.iter().filter(|(_, anew)| **anew).map(|(block, _)| *block)
    }

    /// The blocks that may rely on their word to be there.
    pub(in crate::evaluate) fn relying(&self) -> impl Iterator<Item = usize> + '_ {
        self.placed.iter().filter(|(_, anew)| !**anew).map(|(block, _)| *block)
    }

    /// The action for some arguments; `None` for the default.
    pub(in crate::evaluate::merge) fn run(
        &self,
        blocks: &Blocks,
        arguments: &[u64; ARGUMENTS],
    ) -> Option<Outcome> {
        let (mut at, mut accumulator) = (self.head, 0);
        loop {
            let id = match at {
                Target::Block(id) => id,
                Target::Action(outcome) => return outcome,
                Target::Default => return None,
            };
            let block = &blocks.list[id];
            accumulator = match block.start {
                None => block.word.of(arguments),
                Some((word, mask)) if self.loads_anew(id) => word.of(arguments) & mask,
                Some(_) => accumulator,
            };
            accumulator &= block.mask.unwrap_or(u32::MAX);
            let holds = match block.comparison {
                Comparison::MaskedEqual | Comparison::Equal => accumulator == block.datum,
                Comparison::Greater => accumulator > block.datum,
                Comparison::GreaterOrEqual => accumulator >= block.datum,
            };
            at = block.targets[usize::from(holds)];
        }
    }
}

/// Puts each block behind the first that jumps to it, as long as one does: where the comparison holds first.
fn place(head: Target, blocks: &Blocks) -> FxHashMap<usize, bool> {
    let mut placed = FxHashMap::default();
    let Target::Block(head) = head else { return placed };
    placed.insert(head, false);
    let mut open = vec![head];
    while let Some(&from) = open.last() {
        let next = [YES, NO].into_iter().find_map(|branch| match blocks.list[from].targets[branch] {
            Target::Block(to) if !placed.contains_key(&to) => Some(to),
            _ => None,
        });
        if let Some(to) = next {
            placed.insert(to, blocks.is_misled(from, to));
            open.push(to);
        } else {
            open.pop();
        }
    }
    placed
}

struct Writer<'t> {
    tree: &'t Tree,
    blocks: &'t mut Blocks,
    left: &'t mut usize,
}

impl Writer<'_> {
    /// The first block of a level. `next` is where to go from its end, `accumulator` what is there at its start.
    fn level(&mut self, level: Id, next: Target, accumulator: Accumulator) -> Result<usize, Broken> {
        let mut nodes = Vec::new();
        let mut at = Some(self.first(level));
        let mut state = accumulator;
        while let Some(id) = at {
            *self.left = self.left.checked_sub(1).ok_or(Broken::TooHard)?;
            let (block, end) = self.block(id, state);
            state = end;
            nodes.push((id, block));
            at = self.tree.nodes[id].following;
        }
        let mut following = next;
        let mut first = 0;
        for (id, mut block) in nodes.into_iter().rev() {
            for branch in [YES, NO] {
                let target = self.tree.nodes[id].branches[branch];
                block.targets[branch] = match target.next {
                    Some(below) => Target::Block(self.level(below, following, block.end)?),
                    None if target.acts => Target::Action(target.action),
                    None => following,
                };
            }
            first = self.blocks.id(block);
            following = Target::Block(first);
        }
        Ok(first)
    }

    fn first(&self, level: Id) -> Id {
        let mut first = level;
        while let Some(previous) = self.tree.nodes[first].previous {
            first = previous;
        }
        first
    }

    /// A node's block without its targets, and what it leaves in the accumulator.
    fn block(&self, id: Id, before: Accumulator) -> (Block, Accumulator) {
        let node = &self.tree.nodes[id];
        let word = Word { argument: node.argument, high: node.high };
        let start = before.filter(|(there, mask)| *there == word && node.mask & mask == node.mask);
        let there = start.map_or(u32::MAX, |(_, mask)| mask);
        let end = Some((word, node.mask));
        let block = Block {
            word,
            start,
            mask: (node.mask != there).then_some(node.mask),
            end,
            comparison: node.comparison,
            datum: node.datum,
            targets: [Target::Default; 2],
        };
        (block, end)
    }
}
