//! Programs as graphs of questions.
//!
//! Jumps lead forward alone, so a program is a graph without cycles, and what it does at a place depends on its registers there. Equal
//! places with equal registers are one node: there are as many as the program has places, times the few values that a register may have,
//! and never as many as there are paths.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    TooComplex,
    expression::{Expression, Expressions, Id, Known, Word},
};
use crate::{
    evaluate::Budget,
    filter::{
        instruction::{Alu, Comparison},
        run::stricter,
    },
};

/// A node, by its place in the [`Graph`]. Those that it leads to have lower places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

/// What is asked of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// Whether it is at least so much; never 0.
    AtLeast(Word, u32),
    /// Whether the bits under a mask, which is not 0, are those of a datum, which has no others.
    Bits { word: Word, mask: u32, datum: u32 },
    /// Something that can't be said of one word.
    Other(Comparison, Id, Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Returns(u32),
    /// It returns what it computes.
    Computes(Id),
    Asks {
        question: Question,
        yes: NodeId,
        no: NodeId,
    },
}

/// The most nodes of a graph, of some 60 bytes each. Programs of libseccomp have at most as many as instructions, and as many again for
/// each architecture.
const MAX_NODES: usize = 1 << 18;

/// How deep an expression may be to be taken for one word's bits.
const MAX_DEPTH: usize = 8;

#[derive(Debug)]
pub(super) struct Graph<'b> {
    pub(super) expressions: Expressions,
    nodes: Vec<Node>,
    /// The words that each node and those behind it ask for, a bit each.
    words: Vec<u16>,
    places: FxHashMap<Node, NodeId>,
    /// What two nodes are together, the newer filter's first.
    together: FxHashMap<(NodeId, NodeId), NodeId>,
    pub(super) budget: &'b Budget,
}

/// A field of bits in a word: `(word & mask) >> shift`.
#[derive(Clone, Copy, Debug)]
struct Field {
    word: Word,
    mask: u32,
    shift: u32,
}

impl<'b> Graph<'b> {
    pub(super) fn new(budget: &'b Budget) -> Self {
        Self {
            expressions: Expressions::default(),
            nodes: Vec::new(),
            words: Vec::new(),
            places: FxHashMap::default(),
            together: FxHashMap::default(),
            budget,
        }
    }

    pub(super) fn get(&self, id: NodeId) -> Node {
        self.nodes[id.0 as usize]
    }

    /// What a node returns that asks for nothing.
    pub(super) fn returned(&self, id: NodeId) -> Option<u32> {
        match self.get(id) {
            Node::Returns(value) => Some(value),
            _ => None,
        }
    }

    /// The words that are asked for from a node on, a bit each.
    pub(super) fn words(&self, id: NodeId) -> u16 {
        self.words[id.0 as usize]
    }

    /// Takes the cost of so many looks.
    pub(super) fn work(&mut self, looks: usize) -> Result<(), TooComplex> {
        let looks = looks + self.expressions.take_work();
        if self.budget.step(looks) && self.expressions.len() <= MAX_NODES { Ok(()) } else { Err(TooComplex) }
    }

    pub(super) fn keep(&mut self, node: Node) -> Result<NodeId, TooComplex> {
        if let Some(id) = self.places.get(&node) {
            return Ok(*id);
        }
        let id = u32::try_from(self.nodes.len()).ok().filter(|_| self.nodes.len() < MAX_NODES);
        let id = NodeId(id.ok_or(TooComplex)?);
        let words = match node {
            Node::Returns(_) => 0,
            Node::Computes(id) => self.expressions.words(id),
            Node::Asks { question, yes, no } => self.asked(question) | self.words(yes) | self.words(no),
        };
        self.nodes.push(node);
        self.words.push(words);
        self.places.insert(node, id);
        Ok(id)
    }

    /// The node that returns what an expression computes.
    pub(super) fn returning(&mut self, id: Id) -> Result<NodeId, TooComplex> {
        let node = self.expressions.value(id).map_or(Node::Computes(id), Node::Returns);
        self.keep(node)
    }

    /// The words that a question asks for.
    pub(super) fn asked(&self, question: Question) -> u16 {
        match question {
            Question::AtLeast(word, _) | Question::Bits { word, .. } => 1 << word,
            Question::Other(_, a, b) => self.expressions.words(a) | self.expressions.words(b),
        }
    }

    fn asks(&mut self, question: Question, yes: NodeId, no: NodeId) -> Result<NodeId, TooComplex> {
        if yes == no { Ok(yes) } else { self.keep(Node::Asks { question, yes, no }) }
    }

    /// The node that goes by a comparison of two expressions.
    pub(super) fn branch(
        &mut self,
        comparison: Comparison,
        a: Id,
        b: Id,
        yes: NodeId,
        no: NodeId,
    ) -> Result<NodeId, TooComplex> {
        use Comparison::{AnyBit, Equal, Greater, GreaterOrEqual};
        match (self.expressions.value(a), self.expressions.value(b)) {
            (Some(a), Some(b)) => return Ok(if comparison.holds(a, b) { yes } else { no }),
            (None, Some(k)) => {
                if let Some(field) = self.field(a, 0) {
                    return self.compare(comparison, field, k, yes, no);
                }
            }
            // k > word is what word >= k isn't.
            (Some(_), None) => {
                return match comparison {
                    Equal | AnyBit => self.branch(comparison, b, a, yes, no),
                    Greater => self.branch(GreaterOrEqual, b, a, no, yes),
                    GreaterOrEqual => self.branch(Greater, b, a, no, yes),
                };
            }
            (None, None) => {}
        }
        self.asks(Question::Other(comparison, a, b), yes, no)
    }

    /// The bits of one word that an expression is, if it is some.
    fn field(&self, id: Id, depth: usize) -> Option<Field> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.expressions.get(id) {
            Expression::Word(word) => Some(Field { word, mask: u32::MAX, shift: 0 }),
            Expression::Compute(Alu::And, inner, mask) => {
                let (field, mask) = (self.field(inner, depth + 1)?, self.expressions.value(mask)?);
                Some(Field { mask: field.mask & shifted(mask, field.shift)?, ..field })
            }
            Expression::Compute(Alu::ShiftRight, inner, by) => {
                let (field, by) = (self.field(inner, depth + 1)?, self.expressions.value(by)? & 31);
                let shift = field.shift + by;
                (shift < 32).then(|| Field { mask: field.mask & u32::MAX << shift, shift, ..field })
            }
            _ => None,
        }
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        field: Field,
        k: u32,
        yes: NodeId,
        no: NodeId,
    ) -> Result<NodeId, TooComplex> {
        let Field { word, mask, shift } = field;
        // 64 bits hold every shifted constant.
        let wide = u64::from(k) << shift;
        match comparison {
            Comparison::Equal => match u32::try_from(wide) {
                Ok(0) if mask == 0 => Ok(yes),
                Ok(datum) if datum & !mask == 0 => self.asks(Question::Bits { word, mask, datum }, yes, no),
                _ => Ok(no),
            },
            Comparison::AnyBit => match mask & wide as u32 {
                0 => Ok(no),
                mask => self.asks(Question::Bits { word, mask, datum: 0 }, no, yes),
            },
            Comparison::Greater => match k.checked_add(1) {
                Some(next) => self.compare(Comparison::GreaterOrEqual, field, next, yes, no),
                None => Ok(no),
            },
            Comparison::GreaterOrEqual if k == 0 => Ok(yes),
            Comparison::GreaterOrEqual if wide > u64::from(mask) => Ok(no),
            Comparison::GreaterOrEqual => self.at_least(field, wide, yes, no),
        }
    }

    /// Whether the bits under a mask, taken for a number, are at least so much, which is more than 0 and at most the mask.
    fn at_least(
        &mut self,
        Field { word, mask, .. }: Field,
        least: u64,
        yes: NodeId,
        no: NodeId,
    ) -> Result<NodeId, TooComplex> {
        let low = mask.trailing_zeros();
        let ones = u64::from(mask >> low) + 1;
        if !ones.is_power_of_two() {
            let field = self.expressions.word(word);
            let mask = self.expressions.constant(mask);
            let bits = self.expressions.compute(Alu::And, field, mask);
            let least = self.expressions.constant(least as u32);
            return self.asks(Question::Other(Comparison::GreaterOrEqual, bits, least), yes, no);
        }
        let least = least.div_ceil(1 << low);
        if ones << low == 1 << 32 {
            // Nothing is above the bits, so that the whole word is compared.
            return match u32::try_from(least << low) {
                Ok(least) => self.asks(Question::AtLeast(word, least), yes, no),
                Err(_) => Ok(no),
            };
        }
        let mut node = no;
        let mut at = least;
        while at < ones {
            // The largest aligned block of values that starts here; all end at most where the bits do.
            let size = 1 << at.trailing_zeros();
            let free = ((size - 1) << low) as u32;
            let datum = (at << low) as u32;
            node = self.asks(Question::Bits { word, mask: mask & !free, datum }, yes, node)?;
            at += size;
        }
        Ok(node)
    }

    /// Whether what is known decides a question, and how.
    fn decided(&mut self, question: Question, known: &Known) -> Option<bool> {
        match question {
            Question::AtLeast(word, least) => known.of(word).map(|value| value >= least),
            Question::Bits { word, mask, datum } => known.of(word).map(|value| value & mask == datum),
            Question::Other(comparison, a, b) => {
                if self.asked(question) & !known.mask() != 0 {
                    return None;
                }
                let (a, b) = (self.expressions.substitute(a, known), self.expressions.substitute(b, known));
                Some(comparison.holds(self.expressions.value(a)?, self.expressions.value(b)?))
            }
        }
    }

    /// Goes on as long as what is known decides.
    fn follow(&mut self, mut id: NodeId, known: &Known) -> Result<NodeId, TooComplex> {
        while self.words(id) & known.mask() != 0
            && let Node::Asks { question, yes, no } = self.get(id)
            && let Some(holds) = self.decided(question, known)
        {
            self.work(0)?;
            id = if holds { yes } else { no };
        }
        Ok(id)
    }

    /// What is left to ask where some words are known.
    pub(super) fn fix(&mut self, root: NodeId, known: &Known) -> Result<NodeId, TooComplex> {
        let root = self.follow(root, known)?;
        let mut order = Vec::new();
        let (mut seen, mut stack) = (FxHashSet::default(), vec![root]);
        while let Some(id) = stack.pop() {
            if self.words(id) & known.mask() == 0 || !seen.insert(id) {
                continue;
            }
            self.work(0)?;
            order.push(id);
            if let Node::Asks { yes, no, .. } = self.get(id) {
                stack.push(self.follow(yes, known)?);
                stack.push(self.follow(no, known)?);
            }
        }
        order.sort_unstable();
        let mut made: FxHashMap<NodeId, NodeId> = FxHashMap::default();
        for id in order {
            let new = match self.get(id) {
                Node::Returns(_) => id,
                Node::Computes(value) => {
                    let value = self.expressions.substitute(value, known);
                    self.returning(value)?
                }
                Node::Asks { question, yes, no } => {
                    let (yes, no) = (self.follow(yes, known)?, self.follow(no, known)?);
                    let now = |id: NodeId| made.get(&id).copied().unwrap_or(id);
                    self.ask_again(question, now(yes), now(no), known)?
                }
            };
            made.insert(id, new);
        }
        Ok(made.get(&root).copied().unwrap_or(root))
    }

    fn ask_again(
        &mut self,
        question: Question,
        yes: NodeId,
        no: NodeId,
        known: &Known,
    ) -> Result<NodeId, TooComplex> {
        let Question::Other(comparison, a, b) = question else { return self.asks(question, yes, no) };
        let (a, b) = (self.expressions.substitute(a, known), self.expressions.substitute(b, known));
        self.branch(comparison, a, b, yes, no)
    }

    /// What two filters do together, of which the first is the newer one.
    pub(super) fn stricter(&mut self, newer: NodeId, older: NodeId) -> Result<NodeId, TooComplex> {
        let mut stack = vec![(newer, older)];
        while let Some(&pair) = stack.last() {
            if self.together.contains_key(&pair) {
                stack.pop();
                continue;
            }
            self.work(1)?;
            let (question, yes, no) = match (self.get(pair.0), self.get(pair.1)) {
                (Node::Asks { question, yes, no }, _) => (question, (yes, pair.1), (no, pair.1)),
                (_, Node::Asks { question, yes, no }) => (question, (pair.0, yes), (pair.0, no)),
                (Node::Returns(newer), Node::Returns(older)) => {
                    let both = self.keep(Node::Returns(stricter(newer, older)))?;
                    self.together.insert(pair, both);
                    continue;
                }
                // What is computed isn't known, so neither is what both do.
                (Node::Computes(_), _) => {
                    self.together.insert(pair, pair.0);
                    continue;
                }
                (_, Node::Computes(_)) => {
                    self.together.insert(pair, pair.1);
                    continue;
                }
            };
            match (self.together.get(&yes).copied(), self.together.get(&no).copied()) {
                (Some(yes), Some(no)) => {
                    let both = self.asks(question, yes, no)?;
                    self.together.insert(pair, both);
                }
                (one, other) => {
                    stack.extend(one.is_none().then_some(yes));
                    stack.extend(other.is_none().then_some(no));
                }
            }
            if self.together.len() > MAX_NODES {
                return Err(TooComplex);
            }
        }
        self.together.get(&(newer, older)).copied().ok_or(TooComplex)
    }

    /// Every node from one on, the last ones first.
    pub(super) fn below(&mut self, root: NodeId) -> Result<Vec<NodeId>, TooComplex> {
        let (mut seen, mut stack) = (FxHashSet::default(), vec![root]);
        let mut found = Vec::new();
        while let Some(id) = stack.pop() {
            if !seen.insert(id) {
                continue;
            }
            self.work(0)?;
            found.push(id);
            if let Node::Asks { yes, no, .. } = self.get(id) {
                stack.extend([yes, no]);
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// The bits of a constant that meet a word shifted right by so many; those beyond the word meet none.
fn shifted(mask: u32, shift: u32) -> Option<u32> {
    mask.checked_shl(shift)
}
