//! The one form of a profile's content: pure OCI JSON, of which the digest is taken.
//!
//! # What equal content is
//! Two profiles have equal content, and so equal bytes and one digest, when they differ only in
//! - the order and repetition of architectures, of flags, and of the names in a rule;
//! - the order of conditions in a rule (their order never matters: conditions on different arguments are ANDed,
//!   and those on one argument split the rule into rules of one action, see below);
//! - `valueTwo` of an operator that ignores it;
//! - `SCMP_ACT_KILL_THREAD` spelled as `SCMP_ACT_KILL`, which every version of every runtime knows;
//! - how rules are divided over names: `{names: [a, b]}` is `{names: [a]}` and `{names: [b]}`;
//! - the order of rules, and rules repeated, except where one call's rules have different actions.
//!
//! That the filter is the same follows from how it is made: runc (`libcontainer/seccomp/seccomp_linux.go`, `matchCall`)
//! and crun (`src/libcrun/seccomp.c`) give libseccomp one rule for each name of each rule, in order, and
//! libseccomp keeps the rules of each call apart (`struct db_sys_list`, `src/db.h`). So only the order of
//! one call's rules can matter, and among those of one action (errno included) not even that. What this module keeps is
//! therefore, for each call, its sequence of rules, sorted only within stretches of one action. Calls that i386 and
//! s390 make through `socketcall` or `ipc` share that call's list with it, so where a profile has conditions on the
//! carrier itself, they are one sequence.
//!
//! A document that differs in anything else has another digest, even if a filter made from it might be the same:
//! an explicit errno of 1 isn't an absent one, and a rule equal to the default isn't an absent one either, because
//! runc's ENOSYS stub begins above the highest call that any rule names.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use crate::{Action, Arg, Digest, Operator, Profile, Rule, syscalls};

/// What a rule does, apart from the calls it does it to. The order of the fields is the order in a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Effect {
    action: Action,
    errno_ret: Option<u32>,
    args: Vec<Arg>,
}

/// A rule for one call.
type Step<'p> = (Effect, &'p str);

impl Profile {
    /// The same content in its one form.
    #[must_use]
    pub fn canonical(&self) -> Self {
        Self {
            default_action: one_spelling(self.default_action),
            default_errno_ret: self.default_errno_ret,
            architectures: sorted(&self.architectures),
            flags: sorted(&self.flags),
            listener_path: self.listener_path.clone(),
            listener_metadata: self.listener_metadata.clone(),
            syscalls: self.canonical_rules(),
        }
    }

    /// The content as pure OCI JSON, the one form of it: equal content gives equal bytes. One rule a line, to be
    /// read and compared by people too; ends with a line break.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let profile = self.canonical();
        let mut fields = vec![field("defaultAction", &profile.default_action)];
        if let Some(errno) = profile.default_errno_ret {
            fields.push(field("defaultErrnoRet", &errno));
        }
        if !profile.architectures.is_empty() {
            fields.push(field("architectures", &profile.architectures));
        }
        if !profile.flags.is_empty() {
            fields.push(field("flags", &profile.flags));
        }
        if let Some(path) = &profile.listener_path {
            fields.push(field("listenerPath", path));
        }
        if let Some(metadata) = &profile.listener_metadata {
            fields.push(field("listenerMetadata", metadata));
        }
        if !profile.syscalls.is_empty() {
            let rules: Vec<String> =
                profile.syscalls.iter().map(|rule| format!("    {}", json(rule))).collect();
            fields.push(format!("  \"syscalls\": [\n{}\n  ]", rules.join(",\n")));
        }
        format!("{{\n{}\n}}\n", fields.join(",\n")).into_bytes()
    }

    /// The address of the content: the digest of what [`Profile::render`] gives.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.render())
    }

    fn canonical_rules(&self) -> Vec<Rule> {
        let mut sequences: BTreeMap<&str, Vec<Step<'_>>> = BTreeMap::new();
        let shared = self.carriers_with_conditions();
        for rule in &self.syscalls {
            let effect = effect(rule);
            for name in &rule.names {
                // Hardly any profile has them, and looking every name up costs most of the time.
                let own = || carrier(name).filter(|carrier| shared.contains(carrier)).unwrap_or(name);
                let list = if shared.is_empty() { name } else { own() };
                sequences.entry(list).or_default().push((effect.clone(), name));
            }
        }
        merge(sequences.into_values().map(in_order).collect())
    }

    /// `socketcall` and `ipc`, as far as a rule has conditions on them.
    fn carriers_with_conditions(&self) -> BTreeSet<&'static str> {
        let conditional = || self.syscalls.iter().filter(|rule| !rule.args.is_empty());
        ["socketcall", "ipc"]
            .into_iter()
            .filter(|carrier| conditional().any(|rule| rule.names.iter().any(|name| name == carrier)))
            .collect()
    }
}

/// The call that others are made through: itself, or the one that some architecture makes `name` through.
fn carrier(name: &str) -> Option<&'static str> {
    match name {
        "socketcall" => Some("socketcall"),
        "ipc" => Some("ipc"),
        _ => crate::Arch::ALL
            .iter()
            .find_map(|&arch| syscalls::multiplexed(arch, name))
            .map(|multiplexed| multiplexed.through),
    }
}

fn one_spelling(action: Action) -> Action {
    if action == Action::KillThread { Action::Kill } else { action }
}

fn effect(rule: &Rule) -> Effect {
    let mut args = rule.args.clone();
    for arg in args.iter_mut().filter(|arg| arg.op != Operator::MaskedEq) {
        arg.value_two = 0;
    }
    args.sort_unstable();
    Effect { action: one_spelling(rule.action), errno_ret: rule.errno_ret, args }
}

fn sorted<T: Ord + Clone>(items: &[T]) -> Vec<T> {
    items.iter().cloned().collect::<BTreeSet<T>>().into_iter().collect()
}

/// A call's rules: sorted within each stretch of one action, and each only once.
fn in_order(steps: Vec<Step<'_>>) -> VecDeque<Step<'_>> {
    let mut seen = BTreeSet::new();
    let mut stretches: Vec<Vec<Step<'_>>> = Vec::new();
    for step in steps {
        if !seen.insert(step.clone()) {
            continue;
        }
        let same_action = |last: &&mut Vec<Step<'_>>| {
            last.last().is_some_and(|(effect, _)| {
                effect.action == step.0.action && effect.errno_ret == step.0.errno_ret
            })
        };
        match stretches.last_mut().filter(same_action) {
            Some(stretch) => stretch.push(step),
            None => stretches.push(vec![step]),
        }
    }
    for stretch in &mut stretches {
        stretch.sort_unstable();
    }
    stretches.into_iter().flatten().collect()
}

/// Rules from sequences: each takes the least effect that heads any sequence, and every call that it heads.
/// Only heads are taken, so each call's rules stay in their order.
fn merge(mut sequences: Vec<VecDeque<Step<'_>>>) -> Vec<Rule> {
    let mut rules = Vec::new();
    // The sequences by the effect at their head, so that no round has to look at all of them.
    let mut heads: BTreeMap<Effect, Vec<usize>> = BTreeMap::new();
    for (position, sequence) in sequences.iter().enumerate() {
        if let Some((effect, _)) = sequence.front() {
            heads.entry(effect.clone()).or_default().push(position);
        }
    }
    while let Some((effect, positions)) = heads.pop_first() {
        let mut names = BTreeSet::new();
        for position in positions {
            let Some(sequence) = sequences.get_mut(position) else { continue };
            while let Some((_, name)) = sequence.pop_front_if(|(head, _)| *head == effect) {
                names.insert(name.to_owned());
            }
            if let Some((next, _)) = sequence.front() {
                heads.entry(next.clone()).or_default().push(position);
            }
        }
        let Effect { action, errno_ret, args } = effect;
        rules.push(Rule { names: names.into_iter().collect(), action, errno_ret, args });
    }
    rules
}

fn field(key: &str, value: &impl Serialize) -> String {
    format!("  {}: {}", json(&key), json(value))
}

fn json(value: &impl Serialize) -> String {
    // Strings, numbers and lists of them: serde_json fails only on maps with keys that aren't strings.
    serde_json::to_string(value).expect("the model has no map")
}

#[cfg(test)]
mod tests;
