//! Which profile brought what.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Wanted, calls::passes};
use crate::{Action, Arch, Profile, Rule, compose::NamedProfile, evaluate::Outcome};

/// What a profile did to the result of those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// The profile.
    pub profile: String,
    /// How many of the calls that any of the profiles has rules for it lets through, for some arguments at least.
    pub calls: usize,
    /// Calls that it added to a union, or took out of an intersection; for the first profile none.
    pub changed: Vec<String>,
    /// Calls that stay as they are but for their arguments.
    pub arguments: Vec<String>,
}

/// Something in which the profiles didn't agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Different defaults.
    Default {
        /// The profile of which the result has the default.
        profile: String,
        /// It.
        chosen: Outcome,
        /// Another profile.
        other: String,
        /// Its default.
        given_up: Outcome,
    },
    /// A union lists architectures that a profile doesn't.
    ArchitecturesAdded {
        /// The profile.
        profile: String,
        /// What it doesn't list.
        missing: Vec<Arch>,
        /// Whether it lists any.
        lists_any: bool,
    },
    /// An intersection leaves out architectures that a profile doesn't list.
    ArchitecturesLeftOut {
        /// The profile.
        profile: String,
        /// What it doesn't list and another one does.
        missing: Vec<Arch>,
    },
    /// Rules that deny a call with different errnos.
    Errnos {
        /// The call.
        call: String,
        /// The errno of the result.
        chosen: Outcome,
        /// Another one.
        given_up: Outcome,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |arches: &[Arch]| arches.iter().map(Arch::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Default { profile, chosen, other, given_up } => {
                write!(f, "defaultAction is {chosen} of {profile}; {other} has {given_up}")?;
                match (passes(*chosen), passes(*given_up)) {
                    (true, false) => write!(f, ", so calls that no profile names are let through"),
                    (false, true) => write!(f, ", so calls that no profile names are denied"),
                    _ => Ok(()),
                }
            }
            Self::ArchitecturesAdded { profile, missing, lists_any: true } => write!(
                f,
                "{profile} does not list {}, whose calls its filter kills; the result allows there too what it allows",
                list(missing)
            ),
            Self::ArchitecturesAdded { profile, missing, lists_any: false } => write!(
                f,
                "{profile} lists no architecture, so it filters the node's own alone; the result allows what it allows on {} too",
                list(missing)
            ),
            Self::ArchitecturesLeftOut { profile, missing } => {
                write!(
                    f,
                    "{profile} does not list {}: the result kills such calls, except on a node of that architecture",
                    list(missing)
                )
            }
            Self::Errnos { call, chosen, given_up } => {
                write!(f, "{call} gets {chosen}; another profile has {given_up}")
            }
        }
    }
}

/// What becomes of a call by its name.
#[derive(Clone, PartialEq, Eq)]
enum Fate {
    Denied,
    /// Its arguments decide: the rules that let it through.
    Depends(BTreeSet<(Vec<crate::Arg>, Action)>),
    Passes,
}

impl Fate {
    fn of(rules: &[&Rule], default: Outcome) -> Self {
        let always = |outcome| if passes(outcome) { Self::Passes } else { Self::Denied };
        if let Some(rule) = rules.iter().find(|rule| rule.args.is_empty()) {
            return always(Outcome::of_rule(rule));
        }
        let rules: BTreeSet<_> = rules
            .iter()
            .filter(|rule| Outcome::of_rule(rule) != default)
            .map(|rule| (rule.args.clone(), rule.action))
            .collect();
        if rules.is_empty() { always(default) } else { Self::Depends(rules) }
    }

    /// Together with another one.
    fn with(&self, other: &Self, wanted: Wanted) -> Self {
        match (self, other, wanted) {
            (Self::Passes, _, Wanted::LeastStrict)
            | (_, Self::Passes, Wanted::LeastStrict)
            | (Self::Passes, Self::Passes, Wanted::Strictest) => Self::Passes,
            (Self::Denied, other, Wanted::LeastStrict) | (Self::Passes, other, Wanted::Strictest) => {
                other.clone()
            }
            (own, Self::Denied, Wanted::LeastStrict) | (own, Self::Passes, Wanted::Strictest) => own.clone(),
            (Self::Denied, _, Wanted::Strictest) | (_, Self::Denied, Wanted::Strictest) => Self::Denied,
            (Self::Depends(own), Self::Depends(other), _) => {
                Self::Depends(own.union(other).cloned().collect())
            }
        }
    }
}

fn fates(profile: &Profile) -> BTreeMap<&str, Fate> {
    let mut rules: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
    for rule in &profile.syscalls {
        for name in &rule.names {
            rules.entry(name).or_default().push(rule);
        }
    }
    let default = Outcome::of_default(profile);
    rules.into_iter().map(|(name, rules)| (name, Fate::of(&rules, default))).collect()
}

pub(super) fn contributions(profiles: &[NamedProfile<'_>], wanted: Wanted) -> Vec<Contribution> {
    let fates: Vec<_> = profiles.iter().map(|one| fates(one.profile)).collect();
    let names: BTreeSet<&str> = fates.iter().flat_map(BTreeMap::keys).copied().collect();
    let mut so_far: BTreeMap<&str, Fate> = BTreeMap::new();
    let mut all = Vec::new();
    for (one, fates) in profiles.iter().zip(&fates) {
        let default = Fate::of(&[], Outcome::of_default(one.profile));
        let mut contribution = Contribution {
            profile: one.name.to_owned(),
            calls: 0,
            changed: Vec::new(),
            arguments: Vec::new(),
        };
        for &name in &names {
            let fate = fates.get(name).unwrap_or(&default);
            contribution.calls += usize::from(*fate != Fate::Denied);
            let Some(before) = so_far.get(name) else {
                so_far.insert(name, fate.clone());
                continue;
            };
            let after = before.with(fate, wanted);
            if *before != after {
                let whole = (*before == Fate::Denied) != (after == Fate::Denied);
                let list = if whole { &mut contribution.changed } else { &mut contribution.arguments };
                list.push(name.to_owned());
                so_far.insert(name, after);
            }
        }
        all.push(contribution);
    }
    all
}

pub(super) fn notes(profiles: &[NamedProfile<'_>], wanted: Wanted) -> Vec<Note> {
    let mut notes = defaults(profiles, wanted);
    let mut listed: Vec<Arch> = profiles.iter().flat_map(|one| &one.profile.architectures).copied().collect();
    listed.sort_unstable();
    listed.dedup();
    for one in profiles {
        let missing: Vec<Arch> =
            listed.iter().copied().filter(|arch| !one.profile.architectures.contains(arch)).collect();
        let profile = one.name.to_owned();
        match wanted {
            _ if missing.is_empty() => {}
            Wanted::LeastStrict => {
                let lists_any = !one.profile.architectures.is_empty();
                notes.push(Note::ArchitecturesAdded { profile, missing, lists_any });
            }
            Wanted::Strictest => notes.push(Note::ArchitecturesLeftOut { profile, missing }),
        }
    }
    notes.extend(errnos(profiles, wanted));
    notes
}

fn defaults(profiles: &[NamedProfile<'_>], wanted: Wanted) -> Vec<Note> {
    let default = |one: &NamedProfile<'_>| Outcome::of_default(one.profile);
    let Some(chosen) = wanted.of(profiles.iter().map(default)) else { return Vec::new() };
    let Some(from) = profiles.iter().find(|one| default(one) == chosen) else { return Vec::new() };
    let others = profiles.iter().filter(|one| default(one) != chosen);
    others
        .map(|one| Note::Default {
            profile: from.name.to_owned(),
            chosen,
            other: one.name.to_owned(),
            given_up: default(one),
        })
        .collect()
}

/// Calls of which the errno had to be chosen among rules' without conditions.
fn errnos(profiles: &[NamedProfile<'_>], wanted: Wanted) -> Vec<Note> {
    let mut given: BTreeMap<&str, Vec<Outcome>> = BTreeMap::new();
    for rule in profiles.iter().flat_map(|one| &one.profile.syscalls) {
        let outcome = Outcome::of_rule(rule);
        if rule.args.is_empty() && outcome.action() == Action::Errno {
            for name in &rule.names {
                given.entry(name).or_default().push(outcome);
            }
        }
    }
    let differing = given.into_iter().filter_map(|(name, outcomes)| {
        let chosen = wanted.of(outcomes.iter().copied())?;
        let given_up = outcomes.into_iter().find(|one| *one != chosen)?;
        // In a union another profile may allow it, so that no errno is left.
        let lets_through =
            profiles.iter().any(|one| fates(one.profile).get(name).is_some_and(|fate| *fate != Fate::Denied));
        let call = name.to_owned();
        (wanted == Wanted::Strictest || !lets_through).then_some(Note::Errnos { call, chosen, given_up })
    });
    differing.collect()
}
