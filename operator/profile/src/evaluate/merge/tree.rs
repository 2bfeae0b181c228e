//! libseccomp's tree of comparisons for one call, built as libseccomp builds it.
//!
//! Each rule becomes a chain of comparisons of 32-bit words, and each chain is merged into the tree of those before it. Chains of
//! ordered comparisons and of `NE` join again behind their first words, so a node has several parents, and a chain that is merged under
//! one of them is found under all. This is how filters come to do what no rule says, and how the tree comes to be a circle.
//!
//! Names, order of steps and reference counts are those of `_db_rule_gen_32`, `_db_rule_gen_64`, `_db_tree_prune`, `_db_tree_add` and
//! their helpers in libseccomp's `src/db.c`, v2.5.4 and v2.6.1, because what goes wrong hangs on them. A node that libseccomp frees is
//! marked, and whatever reads it later is [`Broken::Undefined`].

use crate::{
    Operator,
    evaluate::{
        ARGUMENTS, Outcome,
        condition::{Test, Width},
        row::{Condition, Row},
    },
};

mod program;
mod prune;

pub(in crate::evaluate) use program::{Blocks, Program};

/// Why there is no tree that a filter could be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::evaluate) enum Broken {
    /// libseccomp answers `EEXIST`.
    Refused,
    /// libseccomp never ends, or ends when its stack is full.
    Endless,
    /// libseccomp reads what it freed.
    Undefined,
    /// It was not found out with the work allowed.
    TooHard,
}

impl Broken {
    pub(in crate::evaluate) fn is_too_hard(self) -> bool {
        self == Self::TooHard
    }
}

/// Which of two releases' trees is built. They differ in one line, of two rules with different actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::evaluate) enum Release {
    /// 2.5.4 to 2.6.0.
    Older,
    /// 2.6.1.
    Newer,
}

type Id = usize;

/// More steps down than lead through any two trees that aren't circles: each has three levels for each argument, and what is done at
/// the end goes through one of them again.
const MAX_DEPTH: usize = 16 * ARGUMENTS;

/// How two words are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Comparison {
    MaskedEqual,
    Equal,
    Greater,
    GreaterOrEqual,
}

/// What a node does where its comparison holds, or doesn't: a `next` level comes before an action.
#[derive(Clone, Copy, Debug, Default)]
struct Branch {
    next: Option<Id>,
    /// `act_t_flg` and `act_f_flg`: whether there is an action. The action itself may stay behind without one.
    acts: bool,
    action: Option<Outcome>,
}

/// `struct db_arg_chain_tree`.
#[derive(Clone, Debug)]
struct Node {
    argument: usize,
    high: bool,
    comparison: Comparison,
    /// As the rule has it; decides about the order on a level.
    operator: Operator,
    mask: u32,
    datum: u32,
    full: u64,
    /// The branch taken where the comparison doesn't hold, and where it does.
    branches: [Branch; 2],
    previous: Option<Id>,
    following: Option<Id>,
    references: usize,
    freed: bool,
}

/// Where a node of the tree stands to a new one.
enum Order {
    Equal,
    Less,
    Greater,
}

/// The branch taken where a comparison doesn't hold.
const NO: usize = 0;
/// The branch taken where it does.
const YES: usize = 1;

/// Where a pointer to a level is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Root,
    Of(Id, usize),
}

struct Tree {
    nodes: Vec<Node>,
    root: Option<Id>,
    release: Release,
    /// How many more nodes may be looked at.
    left: usize,
    depth: usize,
}

impl Tree {
    /// The tree of a call's conditional rules. `left` is lowered by the number of nodes looked at.
    fn new(rows: &[Row], width: Width, release: Release, left: &mut usize) -> Result<Self, Broken> {
        let mut tree = Self { nodes: Vec::new(), root: None, release, left: *left, depth: 0 };
        let built = rows.iter().try_for_each(|row| tree.add_rule(row, width)).and_then(|()| tree.check());
        *left = tree.left;
        built.map(|()| tree)
    }

    /// Shows that walking the tree comes to an end, from every node.
    fn check(&mut self) -> Result<(), Broken> {
        const NEW: u8 = 0;
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        let Some(root) = self.root else { return Ok(()) };
        let mut state = vec![NEW; self.nodes.len()];
        let mut open = vec![(self.first(root)?, false)];
        while let Some((level, walked)) = open.pop() {
            if walked {
                state[level] = DONE;
                continue;
            }
            match state[level] {
                DONE => continue,
                OPEN => return Err(Broken::Endless),
                _ => state[level] = OPEN,
            }
            open.push((level, true));
            let (mut at, mut count) = (Some(level), 0);
            while let Some(node) = at {
                count += 1;
                if count > self.nodes.len() {
                    return Err(Broken::Endless);
                }
                let branches = self.node(node)?.branches;
                for next in branches.into_iter().filter_map(|branch| branch.next) {
                    let first = self.first(next)?;
                    match state[first] {
                        OPEN => return Err(Broken::Endless),
                        NEW => open.push((first, false)),
                        _ => {}
                    }
                }
                at = self.node(node)?.following;
            }
        }
        Ok(())
    }

    /// Looks at a node.
    fn node(&mut self, id: Id) -> Result<&mut Node, Broken> {
        self.left = self.left.checked_sub(1).ok_or(Broken::TooHard)?;
        let node = &mut self.nodes[id];
        if node.freed { Err(Broken::Undefined) } else { Ok(node) }
    }

    /// The first node of a level.
    fn first(&mut self, level: Id) -> Result<Id, Broken> {
        let mut first = level;
        for _ in 0..=self.nodes.len() {
            match self.node(first)?.previous {
                Some(previous) => first = previous,
                None => return Ok(first),
            }
        }
        Err(Broken::Endless)
    }

    fn get(&self, slot: Slot) -> Option<Id> {
        match slot {
            Slot::Root => self.root,
            Slot::Of(node, branch) => self.nodes[node].branches[branch].next,
        }
    }

    fn set(&mut self, slot: Slot, to: Option<Id>) {
        match slot {
            Slot::Root => self.root = to,
            Slot::Of(node, branch) => self.nodes[node].branches[branch].next = to,
        }
    }

    /// `_db_node_get`.
    fn refer(&mut self, id: Id) -> Result<Id, Broken> {
        self.node(id)?.references += 1;
        Ok(id)
    }

    /// Goes down a level.
    fn deeper<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, Broken>) -> Result<T, Broken> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Broken::Endless);
        }
        let result = step(self);
        self.depth -= 1;
        result
    }

    /// `_db_node_put`: drops a reference, and the node with the last. Returns how many nodes went, and what the caller's pointer
    /// points to then.
    fn put(&mut self, id: Option<Id>) -> Result<(usize, Option<Id>), Broken> {
        let Some(id) = id else { return Ok((0, None)) };
        let node = self.node(id)?;
        node.references = node.references.checked_sub(1).ok_or(Broken::Undefined)?;
        if node.references > 0 {
            return Ok((0, Some(id)));
        }
        let (previous, following, branches) = (node.previous, node.following, node.branches);
        if let Some(previous) = previous {
            self.node(previous)?.following = None;
        }
        if let Some(following) = following {
            self.node(following)?.previous = None;
        }
        let mut count = 0;
        let mut drop_one = |tree: &mut Self, id| {
            tree.deeper(|tree| tree.put(id)).map(|(gone, left)| {
                count += gone;
                left
            })
        };
        let previous = drop_one(self, previous)?;
        let following = drop_one(self, following)?;
        if let Some(previous) = previous {
            let to = following.map(|following| self.refer(following)).transpose()?;
            self.node(previous)?.following = to;
        }
        if let Some(following) = following {
            let to = previous.map(|previous| self.refer(previous)).transpose()?;
            self.node(following)?.previous = to;
        }
        for next in [branches[YES].next, branches[NO].next] {
            count += self.deeper(|tree| tree.put_tree(next))?;
        }
        self.node(id)?.freed = true;
        Ok((count + 1, previous.or(following)))
    }

    /// `_db_tree_put`: drops a reference, and a level that nothing else points to.
    fn put_tree(&mut self, id: Option<Id>) -> Result<usize, Broken> {
        let (count, left) = self.put(id)?;
        match left {
            Some(level) => Ok(count + self.clean_level(level)?),
            None => Ok(count),
        }
    }

    /// `_db_level_clean`.
    fn clean_level(&mut self, level: Id) -> Result<usize, Broken> {
        let first = self.first(level)?;
        let mut at = Some(first);
        for _ in 0..=self.nodes.len() {
            let Some(id) = at else {
                let (mut count, mut left) = (0, Some(first));
                while left.is_some() {
                    let (gone, now) = self.put(left)?;
                    count += gone;
                    left = now;
                }
                return Ok(count);
            };
            let node = self.node(id)?;
            let links = usize::from(node.previous.is_some()) + usize::from(node.following.is_some());
            if node.references > links {
                return Ok(0);
            }
            at = node.following;
        }
        Err(Broken::Endless)
    }

    /// `db_rule_add`, for a rule with conditions and a call that has no rule without.
    fn add_rule(&mut self, row: &Row, width: Width) -> Result<(), Broken> {
        let chain = self.chain(row, width);
        if self.root.is_none() {
            self.root = Some(chain);
            return Ok(());
        }
        let (removed, redundant) = self.prune_for(chain, row.outcome)?;
        if self.root.is_none() {
            self.root = Some(chain);
            return Ok(());
        }
        if removed > 0 || !redundant {
            self.add(Slot::Root, chain)?;
        }
        self.put_tree(Some(chain)).map(drop)
    }

    /// `_db_rule_gen_32` and `_db_rule_gen_64`: a rule's own chain, to which its caller holds the one reference. Conditions that
    /// compare no bit are left out before, and one at least is left.
    fn chain(&mut self, row: &Row, width: Width) -> Id {
        let mut conditions: Vec<&Condition> = row.conditions.iter().collect();
        conditions.sort_by_key(|condition| condition.index);
        let head = self.nodes.len();
        // The branches of the condition before that lead on.
        let mut open: Vec<(Id, usize)> = Vec::new();
        for condition in conditions {
            let at = self.nodes.len();
            let exits = match width {
                Width::Bits32 => self.words_32(condition),
                Width::Bits64 => self.words_64(condition),
            };
            self.nodes[at].references = open.len();
            for (node, branch) in open.drain(..) {
                self.nodes[node].branches[branch].next = Some(at);
            }
            open = exits;
        }
        for (node, branch) in open {
            let branch = &mut self.nodes[node].branches[branch];
            (branch.acts, branch.action) = (true, Some(row.outcome));
        }
        self.nodes[head].references = 1;
        head
    }

    /// A condition's one word, and the branch that leads on.
    fn words_32(&mut self, condition: &Condition) -> Vec<(Id, usize)> {
        let (comparison, exit) = match condition.op {
            Operator::MaskedEq => (Comparison::MaskedEqual, YES),
            Operator::Equal => (Comparison::Equal, YES),
            Operator::NotEqual => (Comparison::Equal, NO),
            Operator::GreaterThan => (Comparison::Greater, YES),
            Operator::LessOrEqual => (Comparison::Greater, NO),
            Operator::GreaterOrEqual => (Comparison::GreaterOrEqual, YES),
            Operator::LessThan => (Comparison::GreaterOrEqual, NO),
        };
        vec![(self.word(condition, false, comparison), exit)]
    }

    /// A condition's two words, or three comparisons of them, and the branches that lead on.
    fn words_64(&mut self, condition: &Condition) -> Vec<(Id, usize)> {
        let equal = match condition.op {
            Operator::MaskedEq => Comparison::MaskedEqual,
            _ => Comparison::Equal,
        };
        let (low, exits) = match condition.op {
            Operator::MaskedEq | Operator::Equal | Operator::NotEqual => {
                let high = self.word(condition, true, equal);
                let low = self.word(condition, false, equal);
                self.link(high, YES, low);
                return match condition.op {
                    Operator::NotEqual => vec![(high, NO), (low, NO)],
                    _ => vec![(low, YES)],
                };
            }
            Operator::GreaterThan => (Comparison::Greater, YES),
            Operator::LessOrEqual => (Comparison::Greater, NO),
            Operator::GreaterOrEqual => (Comparison::GreaterOrEqual, YES),
            Operator::LessThan => (Comparison::GreaterOrEqual, NO),
        };
        let above = self.word(condition, true, Comparison::Greater);
        let same = self.word(condition, true, Comparison::Equal);
        let low = self.word(condition, false, low);
        self.link(above, NO, same);
        self.link(same, YES, low);
        if exits == YES { vec![(above, YES), (low, YES)] } else { vec![(same, NO), (low, NO)] }
    }

    fn link(&mut self, from: Id, branch: usize, to: Id) {
        self.nodes[from].branches[branch].next = Some(to);
        self.nodes[to].references += 1;
    }

    fn word(&mut self, condition: &Condition, high: bool, comparison: Comparison) -> Id {
        let part = |value: u64| if high { (value >> 32) as u32 } else { value as u32 };
        let mask = match condition.test {
            Test::Bits { mask, .. } if condition.op == Operator::MaskedEq => part(mask),
            _ => u32::MAX,
        };
        self.nodes.push(Node {
            argument: condition.index,
            high,
            comparison,
            operator: condition.op,
            mask,
            datum: part(condition.datum) & mask,
            full: condition.datum,
            branches: Default::default(),
            previous: None,
            following: None,
            references: 0,
            freed: false,
        });
        self.nodes.len() - 1
    }

    /// `_db_tree_add`.
    fn add(&mut self, slot: Slot, new: Id) -> Result<(), Broken> {
        let mut existing = self.get(slot).ok_or(Broken::Undefined)?;
        for _ in 0..=self.nodes.len() {
            let (order, following) = self.compared(existing, new)?;
            match order {
                Order::Equal => return self.add_to(existing, new),
                Order::Less => return self.insert_before(slot, existing, new),
                Order::Greater => {}
            }
            let Some(following) = following else {
                let previous = self.refer(existing)?;
                self.node(new)?.previous = Some(previous);
                let following = self.refer(new)?;
                self.node(existing)?.following = Some(following);
                return Ok(());
            };
            existing = following;
        }
        Err(Broken::Endless)
    }

    /// The order of two nodes on a level, and what follows the first.
    fn compared(&mut self, existing: Id, new: Id) -> Result<(Order, Option<Id>), Broken> {
        self.node(new)?;
        self.node(existing)?;
        let (mine, theirs) = (&self.nodes[existing], &self.nodes[new]);
        let order = if mine.equals(theirs) {
            Order::Equal
        } else if mine.is_less_than(theirs) {
            Order::Less
        } else {
            Order::Greater
        };
        Ok((order, mine.following))
    }

    fn insert_before(&mut self, slot: Slot, existing: Id, new: Id) -> Result<(), Broken> {
        let previous = self.node(existing)?.previous;
        if let Some(previous) = previous {
            let following = self.refer(new)?;
            self.node(previous)?.following = Some(following);
            self.node(new)?.previous = Some(previous);
            let before = self.refer(new)?;
            self.node(existing)?.previous = Some(before);
            self.node(new)?.following = Some(existing);
        } else {
            let before = self.refer(new)?;
            self.node(existing)?.previous = Some(before);
            let following = self.refer(existing)?;
            self.node(new)?.following = Some(following);
        }
        if self.get(slot) == Some(existing) {
            let start = self.refer(new)?;
            self.set(slot, Some(start));
            self.put(Some(existing))?;
        }
        Ok(())
    }

    /// What a node does is added to an equal one.
    fn add_to(&mut self, existing: Id, new: Id) -> Result<(), Broken> {
        for branch in [YES, NO] {
            self.add_action(existing, new, branch)?;
        }
        for branch in [YES, NO] {
            let Some(next) = self.node(new)?.branches[branch].next else { continue };
            let mine = self.node(existing)?.branches[branch];
            if mine.next.is_some() {
                self.deeper(|tree| tree.add(Slot::Of(existing, branch), next))?;
            } else if mine.acts {
                // The existing tree is the shorter one, and the rest isn't looked at.
                return Ok(());
            } else {
                let next = self.refer(next)?;
                self.node(existing)?.branches[branch].next = Some(next);
            }
        }
        Ok(())
    }

    fn add_action(&mut self, existing: Id, new: Id, branch: usize) -> Result<(), Broken> {
        let (mine, theirs) = (self.node(existing)?.clone(), self.node(new)?.clone());
        let (has, gets) = (mine.branches[branch], theirs.branches[branch]);
        if !gets.acts {
            return Ok(());
        }
        if !has.acts {
            if self.has_other_action(has.next, gets.action)? {
                return Err(Broken::Refused);
            }
            self.put(has.next)?;
            let branch = &mut self.node(existing)?.branches[branch];
            *branch = Branch { next: None, acts: true, action: gets.action };
        } else if gets.action != has.action {
            let wins = match branch {
                YES => theirs.full > mine.full,
                _ => theirs.full < mine.full,
            };
            if theirs.high && wins {
                // Before 2.6.1 the action of the wrong branch was set.
                let set = if self.release == Release::Older { YES } else { branch };
                self.node(existing)?.branches[set].action = gets.action;
            }
            if mine.is_leaf() || theirs.is_leaf() {
                return Err(Broken::Refused);
            }
        }
        Ok(())
    }

    /// `_db_tree_act_check`: whether an action in a tree is another one.
    fn has_other_action(&mut self, level: Option<Id>, action: Option<Outcome>) -> Result<bool, Broken> {
        let Some(level) = level else { return Ok(false) };
        let mut at = Some(self.first(level)?);
        for _ in 0..=self.nodes.len() {
            let Some(id) = at else { return Ok(false) };
            let node = self.node(id)?.clone();
            if node.branches.iter().any(|branch| branch.acts && branch.action != action) {
                return Ok(true);
            }
            for branch in [YES, NO] {
                if self.deeper(|tree| tree.has_other_action(node.branches[branch].next, action))? {
                    return Ok(true);
                }
            }
            at = node.following;
        }
        Err(Broken::Endless)
    }
}

impl Node {
    /// `_db_chain_leaf`.
    const fn is_leaf(&self) -> bool {
        self.branches[NO].next.is_none() && self.branches[YES].next.is_none()
    }

    /// `_db_chain_zombie`.
    const fn is_zombie(&self) -> bool {
        self.is_leaf() && !self.branches[NO].acts && !self.branches[YES].acts
    }

    /// `_db_chain_eq`.
    fn equals(&self, other: &Self) -> bool {
        (self.argument, self.high, self.comparison, self.datum, self.mask)
            == (other.argument, other.high, other.comparison, other.datum, other.mask)
    }

    /// `_db_chain_lt`.
    fn is_less_than(&self, other: &Self) -> bool {
        let place = |node: &Self| (node.argument, node.high, node.operator_priority());
        match place(self).cmp(&place(other)) {
            std::cmp::Ordering::Equal => match self.operator {
                Operator::LessOrEqual | Operator::LessThan => self.datum > other.datum,
                _ => self.datum < other.datum,
            },
            order => order.is_lt(),
        }
    }

    /// `__db_chain_op_priority`.
    const fn operator_priority(&self) -> u8 {
        match self.operator {
            Operator::MaskedEq | Operator::Equal | Operator::NotEqual => 3,
            Operator::LessOrEqual | Operator::LessThan => 2,
            Operator::GreaterOrEqual | Operator::GreaterThan => 1,
        }
    }
}
