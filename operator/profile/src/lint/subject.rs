//! A profile as the checks look at it.

use std::collections::BTreeMap;

use super::LintContext;
use crate::{Action, Arch, Profile, Rule, syscalls};

/// What becomes of a call, whatever its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// It is denied.
    Denied,
    /// Its arguments decide.
    Depends,
    /// It is let through.
    Passes,
}

pub(super) struct Subject<'p> {
    pub(super) profile: &'p Profile,
    pub(super) context: &'p LintContext,
    /// The architectures that are filtered, as far as they are known.
    architectures: Vec<Arch>,
    /// The rules of each call that aren't the default's, by position in `syscalls`.
    effective: BTreeMap<&'p str, Vec<usize>>,
}

impl<'p> Subject<'p> {
    pub(super) fn new(profile: &'p Profile, context: &'p LintContext) -> Self {
        let mut effective: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (position, rule) in profile.syscalls.iter().enumerate() {
            if is_default(profile, rule) {
                continue;
            }
            for name in &rule.names {
                let rules = effective.entry(name).or_default();
                if rules.last() != Some(&position) {
                    rules.push(position);
                }
            }
        }
        let mut architectures = profile.architectures.clone();
        architectures.extend(&context.node_architectures);
        architectures.sort_unstable();
        architectures.dedup();
        Self { profile, context, architectures, effective }
    }

    /// Rules with their place.
    pub(super) fn rules(&self) -> impl Iterator<Item = (usize, &'p Rule)> {
        self.profile.syscalls.iter().enumerate()
    }

    /// Each call that has rules, with these.
    pub(super) fn calls(&self) -> impl Iterator<Item = (&'p str, &[usize])> {
        self.effective.iter().map(|(name, rules)| (*name, rules.as_slice()))
    }

    pub(super) fn is_default(&self, rule: &Rule) -> bool {
        is_default(self.profile, rule)
    }

    /// The architectures that are filtered, as far as they are known.
    pub(super) fn architectures(&self) -> &[Arch] {
        &self.architectures
    }

    /// Every architecture that a filter of the profile covers, as far as it is known; where nothing is, the two that nodes have as a
    /// rule.
    pub(super) fn filtered(&self) -> Vec<Arch> {
        let known: Vec<Arch> =
            self.architectures.iter().copied().filter(|&arch| syscalls::has_table(arch)).collect();
        if known.is_empty() { vec![Arch::X86_64, Arch::Aarch64] } else { known }
    }

    /// The rule that decides about a call, whatever its arguments.
    pub(super) fn decider_of(&self, name: &str) -> Option<usize> {
        self.decider(self.effective.get(name)?)
    }

    /// The first rule without conditions, which decides.
    pub(super) fn decider(&self, rules: &[usize]) -> Option<usize> {
        rules.iter().copied().find(|&rule| self.rule(rule).is_some_and(|rule| rule.args.is_empty()))
    }

    pub(super) fn rule(&self, position: usize) -> Option<&'p Rule> {
        self.profile.syscalls.get(position)
    }

    pub(super) fn fate(&self, name: &str) -> Fate {
        let default = fate_of(self.profile.default_action);
        let rules = self.effective.get(name).map(Vec::as_slice).unwrap_or_default();
        if let Some(rule) = self.decider(rules).and_then(|rule| self.rule(rule)) {
            return fate_of(rule.action);
        }
        let same =
            rules.iter().filter_map(|&rule| self.rule(rule)).all(|rule| fate_of(rule.action) == default);
        if same { default } else { Fate::Depends }
    }

    /// Whether calls without a rule are denied.
    pub(super) fn denies_by_default(&self) -> bool {
        fate_of(self.profile.default_action) == Fate::Denied
    }
}

/// NOTIFY counts as passing: a supervisor may let the call through. TRACE doesn't: without a tracer the call fails.
fn fate_of(action: Action) -> Fate {
    match action {
        Action::Allow | Action::Log | Action::Notify => Fate::Passes,
        _ => Fate::Denied,
    }
}

/// Whether an action denies the call.
pub(super) fn denies(action: Action) -> bool {
    fate_of(action) == Fate::Denied
}

/// Runtimes compare actions with the errno in them, EPERM where none is given.
fn is_default(profile: &Profile, rule: &Rule) -> bool {
    let thread = |action| if action == Action::Kill { Action::KillThread } else { action };
    let errno = |action, errno: Option<u32>| has_errno(action).then(|| errno.unwrap_or(1));
    thread(rule.action) == thread(profile.default_action)
        && errno(rule.action, rule.errno_ret) == errno(profile.default_action, profile.default_errno_ret)
}

/// Whether an action has an errno.
pub(super) fn has_errno(action: Action) -> bool {
    matches!(action, Action::Errno | Action::Trace)
}
