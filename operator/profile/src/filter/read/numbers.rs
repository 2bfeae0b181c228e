//! Which calls a program tells apart.

use super::{
    TooComplex,
    expression::{Known, NUMBER},
    graph::{Graph, Node, NodeId, Question},
};

/// The most bits above its lowest one that a mask over the number may leave free: each doubles the stretches that it makes.
const MAX_FREE: u32 = 10;

/// Calls one after the other with which a filter does the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// The first of them.
    pub(super) from: u32,
    /// What is asked about their arguments.
    pub(super) node: NodeId,
    /// Whether what it does is the same with all of them. Otherwise the node still asks for the number.
    pub(super) is_even: bool,
}

impl Graph<'_> {
    /// Divides the numbers from `from` to `to`. `named` are those that have to be known whatever the program asks.
    pub(super) fn stretches(
        &mut self,
        roots: &[NodeId],
        (from, to): (u32, u32),
        named: impl Iterator<Item = u32>,
    ) -> Result<Vec<Stretch>, TooComplex> {
        let mut starts = vec![from];
        let mut is_even = true;
        for &root in roots {
            is_even &= self.starts(root, &mut starts)?;
        }
        let named: Vec<u32> = if is_even { Vec::new() } else { named.collect() };
        starts.extend(named.iter().flat_map(|&one| [one, one.saturating_add(1)]));
        starts.sort_unstable();
        starts.dedup();
        starts.retain(|start| (from..=to).contains(start));
        let mut stretches: Vec<Stretch> = Vec::new();
        for start in starts {
            let is_even = is_even || named.binary_search(&start).is_ok();
            let mut fixed = Vec::with_capacity(roots.len());
            for &root in roots {
                fixed.push(if is_even { self.fix(root, &Known::number(start))? } else { root });
            }
            let node = self.all_together(&fixed)?;
            if stretches.last().is_none_or(|last| last.node != node) {
                stretches.push(Stretch { from: start, node, is_even });
            }
        }
        Ok(stretches)
    }

    /// What several filters do together, the oldest first.
    fn all_together(&mut self, nodes: &[NodeId]) -> Result<NodeId, TooComplex> {
        let mut nodes = nodes.iter().rev().copied();
        let newest = nodes.next().ok_or(TooComplex)?;
        nodes.try_fold(newest, |together, older| self.stricter(together, older))
    }

    /// Where what is asked of the number changes. False where that is at too many places to look at.
    fn starts(&mut self, root: NodeId, starts: &mut Vec<u32>) -> Result<bool, TooComplex> {
        let mut is_even = true;
        for id in self.below(root)? {
            let Node::Asks { question, .. } = self.get(id) else {
                is_even &= self.own_words(id) & 1 << NUMBER == 0;
                continue;
            };
            match question {
                Question::AtLeast(NUMBER, least) => starts.push(least),
                Question::Bits { word: NUMBER, mask, datum } => {
                    is_even &= masked_starts(mask, datum, starts);
                }
                other => is_even &= self.asked(other) & 1 << NUMBER == 0,
            }
            self.work(starts.len() / 64)?;
        }
        Ok(is_even)
    }

    /// The words that a node that ends a path depends on.
    fn own_words(&self, id: NodeId) -> u16 {
        match self.get(id) {
            Node::Computes(value) => self.expressions.words(value),
            _ => 0,
        }
    }
}

/// The ends of the stretches in which the bits under a mask are those of a datum.
fn masked_starts(mask: u32, datum: u32, starts: &mut Vec<u32>) -> bool {
    let size = 1u64 << mask.trailing_zeros();
    let free: Vec<u32> =
        (mask.trailing_zeros()..32).map(|bit| 1 << bit).filter(|bit| mask & bit == 0).collect();
    if free.len() > MAX_FREE as usize {
        return false;
    }
    for choice in 0..1u32 << free.len() {
        let chosen = free.iter().enumerate().filter(|(at, _)| choice & 1 << at != 0);
        let start = chosen.fold(datum, |start, (_, bit)| start | bit);
        starts.push(start);
        starts.extend(u32::try_from(u64::from(start) + size));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_make_stretches() {
        let starts = |mask, datum| {
            let mut starts = Vec::new();
            assert!(masked_starts(mask, datum, &mut starts));
            starts.sort_unstable();
            starts.dedup();
            starts
        };
        assert_eq!(starts(u32::MAX, 5), [5, 6]);
        // x32's bit.
        assert_eq!(starts(1 << 30, 0), [0, 1 << 30, 1 << 31, 3 << 30]);
        assert_eq!(starts(!(1 << 30), 7), [7, 8, (1 << 30) + 7, (1 << 30) + 8]);
        assert!(!masked_starts(1, 1, &mut Vec::new()));
    }
}
