//! What a program computes of the words that it loads.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::instruction::Alu;

/// A word of `struct seccomp_data`, by its index.
pub(super) type Word = u8;

/// The call's number, and the architecture.
pub(super) const NUMBER: Word = 0;
pub(super) const ARCH: Word = 1;
/// The two words of the instruction pointer.
pub(super) const POINTER: [Word; 2] = [2, 3];

/// An expression, by its place among the [`Expressions`]. Equal ones have one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Expression {
    Constant(u32),
    Word(Word),
    Compute(Alu, Id, Id),
}

/// All expressions of some programs.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    all: Vec<Expression>,
    /// The words that each depends on, a bit each.
    words: Vec<u16>,
    places: FxHashMap<Expression, Id>,
    /// How many expressions were looked at to put known words into others.
    work: usize,
}

/// The words whose values are known, by index.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    mask: u16,
    number: u32,
    arch: u32,
}

impl Known {
    pub(super) const fn arch(arch: u32) -> Self {
        Self { mask: 1 << ARCH, number: 0, arch }
    }

    pub(super) const fn number(number: u32) -> Self {
        Self { mask: 1 << NUMBER, number, arch: 0 }
    }

    /// The same with words that are 0.
    pub(super) const fn with_zero(mut self, mask: u16) -> Self {
        self.mask |= mask;
        self
    }

    pub(super) const fn mask(&self) -> u16 {
        self.mask
    }

    pub(super) const fn of(&self, word: Word) -> Option<u32> {
        if self.mask & 1 << word == 0 {
            return None;
        }
        Some(match word {
            NUMBER => self.number,
            ARCH => self.arch,
            _ => 0,
        })
    }
}

/// What it costs to put known words into one expression, in looks.
const WORK: usize = 4;

impl Expressions {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many expressions were looked at since this was asked before.
    pub(super) fn take_work(&mut self) -> usize {
        std::mem::take(&mut self.work)
    }

    pub(super) fn constant(&mut self, value: u32) -> Id {
        self.keep(Expression::Constant(value), 0)
    }

    pub(super) fn word(&mut self, word: Word) -> Id {
        self.keep(Expression::Word(word), 1 << word)
    }

    pub(super) fn get(&self, id: Id) -> Expression {
        self.all[id.0 as usize]
    }

    pub(super) fn value(&self, id: Id) -> Option<u32> {
        match self.get(id) {
            Expression::Constant(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn words(&self, id: Id) -> u16 {
        self.words[id.0 as usize]
    }

    /// The result of a computation; a division by what may be 0 stands for itself.
    pub(super) fn compute(&mut self, alu: Alu, a: Id, b: Id) -> Id {
        match (self.value(a), self.value(b)) {
            (Some(one), Some(other)) => {
                // Whoever computes looks at a divisor of 0 before.
                let value = alu.apply(one, other).unwrap_or(0);
                return self.constant(value);
            }
            (Some(_), None) if matches!(alu, Alu::Add | Alu::Mul | Alu::And | Alu::Or | Alu::Xor) => {
                return self.compute(alu, b, a);
            }
            (None, Some(0)) if !matches!(alu, Alu::Mul | Alu::And | Alu::Div) => return a,
            (None, Some(0)) if alu == Alu::And || alu == Alu::Mul => return self.constant(0),
            (None, Some(u32::MAX)) if alu == Alu::And => return a,
            (None, Some(mask)) if alu == Alu::And => {
                if let Expression::Compute(Alu::And, inner, before) = self.get(a)
                    && let Some(before) = self.value(before)
                {
                    let both = self.constant(before & mask);
                    return self.compute(Alu::And, inner, both);
                }
            }
            _ => {}
        }
        let words = self.words(a) | self.words(b);
        self.keep(Expression::Compute(alu, a, b), words)
    }

    /// The same, where some words are known.
    pub(super) fn substitute(&mut self, id: Id, known: &Known) -> Id {
        if self.words(id) & known.mask() == 0 {
            return id;
        }
        // An expression's parts have lower places, so that each is made before what it is a part of.
        let mut needed = vec![id];
        let mut seen: FxHashSet<Id> = FxHashSet::default();
        let mut order = Vec::new();
        while let Some(one) = needed.pop() {
            if self.words(one) & known.mask() == 0 || !seen.insert(one) {
                continue;
            }
            order.push(one);
            if let Expression::Compute(_, a, b) = self.get(one) {
                needed.extend([a, b]);
            }
        }
        order.sort_unstable();
        self.work += WORK * order.len();
        let mut made: FxHashMap<Id, Id> = FxHashMap::default();
        for one in order {
            let now = |id: &Id| made.get(id).copied().unwrap_or(*id);
            let new = match self.get(one) {
                Expression::Constant(_) => one,
                Expression::Word(word) => match known.of(word) {
                    Some(value) => self.constant(value),
                    None => one,
                },
                Expression::Compute(alu, a, b) => {
                    let (a, b) = (now(&a), now(&b));
                    self.compute(alu, a, b)
                }
            };
            made.insert(one, new);
        }
        made.get(&id).copied().unwrap_or(id)
    }

    fn keep(&mut self, expression: Expression, words: u16) -> Id {
        if let Some(id) = self.places.get(&expression) {
            return *id;
        }
        // A reading's budget ends long before.
        let id = Id(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.all.push(expression);
        self.words.push(words);
        self.places.insert(expression, id);
        id
    }
}
