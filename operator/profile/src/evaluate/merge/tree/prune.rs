//! What of the tree a new rule makes needless.
//!
//! Source: `_db_tree_prune` and `_db_tree_remove` in libseccomp's `src/db.c`, v2.5.4 and v2.6.1.

use std::ops::ControlFlow;

use super::{Broken, Id, NO, Order, Outcome, Slot, Tree, YES};

/// `struct db_iter_state`: how far two trees were found to agree.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    matches: bool,
    matched_once: bool,
    existing_finished: bool,
    new_finished: bool,
    existing_prefix: bool,
    new_prefix: bool,
}

impl State {
    /// `flags |= other.flags`.
    const fn join(&mut self, other: Self) {
        self.matches |= other.matches;
        self.matched_once |= other.matched_once;
        self.existing_finished |= other.existing_finished;
        self.new_finished |= other.new_finished;
        self.existing_prefix |= other.existing_prefix;
        self.new_prefix |= other.new_prefix;
    }

    const fn matched(self) -> Self {
        Self { matches: true, matched_once: true, ..self }
    }
}

struct Pruning {
    action: Outcome,
    count: usize,
}

impl Tree {
    /// Removes what a new chain makes needless. Returns how many nodes went, and whether the chain is itself needless.
    pub(super) fn prune_for(&mut self, new: Id, action: Outcome) -> Result<(usize, bool), Broken> {
        let mut pruning = Pruning { action, count: 0 };
        let mut state = State::default();
        self.prune(self.root, Some(new), &mut state, &mut pruning)?;
        let redundant = state.matches && state.existing_finished && state.new_prefix;
        Ok((pruning.count, redundant))
    }

    fn prune(
        &mut self,
        existing: Option<Id>,
        new: Option<Id>,
        state: &mut State,
        pruning: &mut Pruning,
    ) -> Result<(), Broken> {
        let mut found = *state;
        if let (Some(existing), Some(new)) = (existing, new)
            && (state.matches || !state.matched_once)
        {
            self.deeper(|tree| tree.prune_level(existing, new, *state, &mut found, pruning))?;
        }
        if found.matches {
            state.join(found);
        } else {
            state.matches = false;
        }
        Ok(())
    }

    /// `found` says in the end what the caller learns.
    fn prune_level(
        &mut self,
        existing: Id,
        new: Id,
        state: State,
        found: &mut State,
        pruning: &mut Pruning,
    ) -> Result<(), Broken> {
        let mut at = Some(self.first(existing)?);
        for _ in 0..=self.nodes.len() {
            let Some(id) = at else {
                found.matches = false;
                return Ok(());
            };
            let (order, following) = self.compared(id, new)?;
            let after = match order {
                Order::Equal => self.prune_equal(id, new, state, found, pruning)?,
                Order::Less if state.new_prefix => return Ok(()),
                Order::Less => {
                    let down = State { existing_prefix: true, matches: false, ..state };
                    self.prune_below(id, down, found, pruning, |tree, id, branch| {
                        tree.nodes[id].branches[branch].next.map(|next| (next, new))
                    })?
                }
                Order::Greater if state.existing_prefix => return Ok(()),
                Order::Greater => {
                    let down = State { new_prefix: true, matches: false, ..state };
                    self.prune_below(id, down, found, pruning, |tree, id, branch| {
                        tree.nodes[new].branches[branch].next.map(|next| (id, next))
                    })?
                }
            };
            if after.is_break() {
                return Ok(());
            }
            at = following;
        }
        Err(Broken::Endless)
    }

    /// Compares on both branches what `pair` makes of a node. Breaks off the level as soon as something matches.
    fn prune_below(
        &mut self,
        id: Id,
        down: State,
        found: &mut State,
        pruning: &mut Pruning,
        pair: impl Fn(&Self, Id, usize) -> Option<(Id, Id)>,
    ) -> Result<ControlFlow<()>, Broken> {
        let mut id = id;
        for branch in [YES, NO] {
            let Some((existing, new)) = pair(self, id, branch) else { continue };
            self.refer(id)?;
            let mut next = down;
            self.prune(Some(existing), Some(new), &mut next, pruning)?;
            let (gone, left) = self.put(Some(id))?;
            pruning.count += gone;
            if next.matches {
                found.join(next);
                return Ok(ControlFlow::Break(()));
            }
            let Some(left) = left else { return Ok(ControlFlow::Continue(())) };
            id = left;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn prune_equal(
        &mut self,
        id: Id,
        new: Id,
        state: State,
        found: &mut State,
        pruning: &mut Pruning,
    ) -> Result<ControlFlow<()>, Broken> {
        let (mine, theirs) = (self.node(id)?.clone(), self.node(new)?.clone());
        *found = found.matched();
        found.new_finished |= theirs.is_leaf();
        found.existing_finished |= mine.is_leaf();
        let leads = |node: &super::Node, branch: usize| {
            node.branches[branch].acts || node.branches[branch].next.is_some()
        };
        if [YES, NO].into_iter().any(|branch| leads(&mine, branch) && !leads(&theirs, branch)) {
            return Ok(ControlFlow::Break(()));
        }
        let differs = |branch: usize| {
            let (mine, theirs) = (mine.branches[branch], theirs.branches[branch]);
            mine.acts != theirs.acts || mine.action != theirs.action
        };
        if found.new_finished && found.existing_finished && (differs(YES) || differs(NO)) {
            return Ok(ControlFlow::Break(()));
        }
        let mut id = id;
        for branch in [YES, NO] {
            let Some(next) = theirs.branches[branch].next else { continue };
            self.refer(id)?;
            let mut down = state.matched();
            let existing = self.node(id)?.branches[branch].next;
            self.prune(existing, Some(next), &mut down, pruning)?;
            let (gone, left) = self.put(Some(id))?;
            pruning.count += gone;
            if down.matches {
                found.join(down);
            }
            let Some(left) = left else { return Ok(ControlFlow::Continue(())) };
            id = left;
        }
        self.prune_node(id, found, pruning)
    }

    fn prune_node(
        &mut self,
        id: Id,
        found: &State,
        pruning: &mut Pruning,
    ) -> Result<ControlFlow<()>, Broken> {
        let other = self.has_other_action(Some(id), Some(pruning.action))?;
        if other || !found.matches {
            return Ok(ControlFlow::Continue(()));
        }
        if found.new_finished && found.existing_prefix {
            pruning.count += self.remove(Slot::Root, id)?;
            if self.root.is_none() {
                return Ok(ControlFlow::Break(()));
            }
        } else if found.existing_finished && found.new_prefix {
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// `_db_tree_remove`: removes a node wherever it is below a pointer.
    fn remove(&mut self, slot: Slot, node: Id) -> Result<usize, Broken> {
        let Some(level) = self.get(slot) else { return Ok(0) };
        let mut at = Some(self.first(level)?);
        let mut count = 0;
        for _ in 0..=self.nodes.len() {
            let Some(id) = at.filter(|_| count == 0) else { return Ok(count) };
            if id == node {
                return Ok(count + self.unlink(slot, id)?);
            }
            for branch in [YES, NO] {
                self.node(id)?;
                count += self.deeper(|tree| tree.remove(Slot::Of(id, branch), node))?;
            }
            if self.node(id)?.is_zombie() {
                return Ok(count + self.unlink(slot, id)?);
            }
            at = self.node(id)?.following;
        }
        Err(Broken::Endless)
    }

    fn unlink(&mut self, slot: Slot, id: Id) -> Result<usize, Broken> {
        let (previous, following) = (self.node(id)?.previous, self.node(id)?.following);
        if self.get(slot) == Some(id) {
            self.set(slot, previous.or(following));
        }
        if let Some(previous) = previous {
            self.node(previous)?.following = following;
        }
        if let Some(following) = following {
            self.node(following)?.previous = previous;
        }
        let node = self.node(id)?;
        (node.previous, node.following) = (None, None);
        self.put(Some(id)).map(|(gone, _)| gone)
    }
}
