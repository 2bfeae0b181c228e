//! Names that no table here has.
//!
//! A runtime skips a name that its libseccomp doesn't know, and a newer libseccomp may know one that these tables lack: then its
//! rule counts. Such names have no number to compare by, so they are compared by their rules.
//!
//! Source: `matchCall` in runc's `libcontainer/seccomp/seccomp_linux.go`, v1.3.0.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::Change;
use crate::{
    Arg, Profile, Rule,
    evaluate::{Outcome, Passage},
    syscalls,
};

/// A name that no table here has, with which two profiles do different things wherever a runtime knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChange {
    /// The name.
    pub name: String,
    /// What became of it.
    pub change: Change,
}

/// The names that no table here has, with which A lets something through that B doesn't. Where rules have conditions, one that
/// the other profile doesn't have word for word counts as looser.
#[must_use]
pub fn looser_unknown(a: &Profile, b: &Profile) -> Vec<String> {
    let (a, b) = (ByName::new(a), ByName::new(b));
    let is_looser = |name: &&str| looser(&a.rules(name), &b.rules(name));
    names(&a, &b).into_iter().filter(is_looser).map(str::to_owned).collect()
}

/// What became of each such name from A to B.
pub(super) fn name_changes(a: &Profile, b: &Profile) -> Vec<NameChange> {
    let (a, b) = (ByName::new(a), ByName::new(b));
    let change = |name: &str| {
        let (one, other) = (a.rules(name), b.rules(name));
        // Rules that are at odds with each other may make a profile looser than itself.
        if one.is_same(&other) {
            return None;
        }
        Some(match (looser(&other, &one), looser(&one, &other)) {
            (true, true) => Change::Mixed,
            (true, false) if one.lets_through() => Change::Looser,
            (true, false) => Change::OnlyInB,
            (false, true) if other.lets_through() => Change::Stricter,
            (false, true) => Change::OnlyInA,
            (false, false) => Change::Otherwise,
        })
    };
    let change = |name: &str| change(name).map(|change| NameChange { name: name.to_owned(), change });
    names(&a, &b).into_iter().filter_map(change).collect()
}

fn names<'p>(a: &ByName<'p>, b: &ByName<'p>) -> BTreeSet<&'p str> {
    a.rules.keys().chain(b.rules.keys()).copied().collect()
}

/// A profile's rules by those of its names that no table here has.
struct ByName<'p> {
    profile: &'p Profile,
    rules: FxHashMap<&'p str, Vec<&'p Rule>>,
}

impl<'p> ByName<'p> {
    fn new(profile: &'p Profile) -> Self {
        let mut rules: FxHashMap<&str, Vec<&Rule>> = FxHashMap::default();
        for rule in &profile.syscalls {
            for name in rule.names.iter().filter(|name| !syscalls::is_known_anywhere(name)) {
                rules.entry(name).or_default().push(rule);
            }
        }
        Self { profile, rules }
    }

    fn rules(&self, name: &str) -> Rules<'p> {
        Rules::of(self.profile, self.rules.get(name).map(Vec::as_slice).unwrap_or_default())
    }
}

/// A profile's rules for a name.
struct Rules<'p> {
    /// Those with conditions; none where one without decides.
    conditional: Vec<(&'p [Arg], Outcome)>,
    /// What happens where none of them matches.
    otherwise: Outcome,
}

impl<'p> Rules<'p> {
    fn of(profile: &'p Profile, rules: &[&'p Rule]) -> Self {
        let always = rules.iter().filter(|rule| rule.args.is_empty()).map(|rule| Outcome::of_rule(rule));
        // Two such rules are at odds: the least strict counts.
        if let Some(outcome) = always.min_by_key(|outcome| outcome.strictness()) {
            return Self { conditional: Vec::new(), otherwise: outcome };
        }
        Self {
            conditional: rules.iter().map(|rule| (&rule.args[..], Outcome::of_rule(rule))).collect(),
            otherwise: Outcome::of_default(profile),
        }
    }

    fn lets_through(&self) -> bool {
        let rules = self.conditional.iter().map(|(_, outcome)| *outcome);
        rules.chain([self.otherwise]).any(|outcome| outcome.passage() > Passage::Denied)
    }

    /// What the rules with exactly these conditions do.
    fn with<'s>(&'s self, args: &'s [Arg]) -> impl Iterator<Item = Passage> + 's {
        self.conditional.iter().filter(move |(own, _)| *own == args).map(|(_, outcome)| outcome.passage())
    }

    fn is_same(&self, other: &Self) -> bool {
        let has = |one: &Self, rule| one.conditional.contains(rule);
        self.otherwise == other.otherwise
            && self.conditional.iter().all(|rule| has(other, rule))
            && other.conditional.iter().all(|rule| has(self, rule))
    }
}

/// Whether A may let arguments get further than B.
fn looser(a: &Rules<'_>, b: &Rules<'_>) -> bool {
    let below = |passage: Passage| {
        b.otherwise.passage() < passage || b.conditional.iter().any(|(_, one)| one.passage() < passage)
    };
    let by_rule = a.conditional.iter().any(|(args, outcome)| {
        let passage = outcome.passage();
        let same = b.with(args).min();
        below(passage) && same.is_none_or(|same| same < passage)
    });
    let otherwise = a.otherwise.passage();
    let by_rest = b.otherwise.passage() < otherwise
        || b.conditional.iter().any(|(args, outcome)| {
            let passage = outcome.passage();
            passage < otherwise && a.with(args).max().is_none_or(|same| same > passage)
        });
    by_rule || by_rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"[{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]"#;
    const TWO: &str = r#"[{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]"#;

    fn profile(default: &str, rules: &[(&str, &str)]) -> Profile {
        let rules: Vec<String> = rules
            .iter()
            .map(|(action, args)| {
                format!(r#"{{"names": ["brand_new"], "action": "SCMP_ACT_{action}", "args": {args}}}"#)
            })
            .collect();
        let text = format!(r#"{{"defaultAction": "SCMP_ACT_{default}", "syscalls": [{}]}}"#, rules.join(","));
        Profile::parse(text.as_bytes()).expect("a profile")
    }

    #[test]
    fn unknown_names_are_compared_by_their_rules() {
        let denies = || profile("ERRNO", &[]);
        for (a, b, looser, back) in [
            (profile("ERRNO", &[("ALLOW", "[]")]), denies(), true, false),
            (profile("ERRNO", &[("LOG", ONE)]), denies(), true, false),
            (profile("ERRNO", &[("KILL", "[]")]), denies(), false, false),
            (profile("ERRNO", &[("NOTIFY", "[]")]), denies(), true, false),
            (profile("ERRNO", &[("ALLOW", ONE)]), profile("ERRNO", &[("ALLOW", ONE)]), false, false),
            (profile("ERRNO", &[("ALLOW", ONE)]), profile("ERRNO", &[("ALLOW", TWO)]), true, true),
            (profile("ERRNO", &[("ALLOW", "[]")]), profile("ERRNO", &[("ALLOW", TWO)]), true, false),
            (profile("ALLOW", &[]), profile("ALLOW", &[("ERRNO", ONE)]), true, false),
            (profile("ALLOW", &[("ERRNO", ONE)]), profile("ALLOW", &[("KILL", ONE)]), false, false),
            (profile("ALLOW", &[]), profile("ERRNO", &[("ALLOW", "[]")]), false, false),
        ] {
            let names = |found: bool| if found { vec!["brand_new".to_owned()] } else { Vec::new() };
            assert_eq!(looser_unknown(&a, &b), names(looser), "{a:?} {b:?}");
            assert_eq!(looser_unknown(&b, &a), names(back), "{b:?} {a:?}");
        }
    }

    #[test]
    fn each_kind_of_change_is_told_apart() {
        let change = |a, b| name_changes(&a, &b).first().map(|one| one.change);
        let rules = |rules: &[(&str, &str)]| profile("ERRNO", rules);
        assert_eq!(change(rules(&[]), rules(&[("ALLOW", "[]")])), Some(Change::OnlyInB));
        assert_eq!(change(rules(&[("ALLOW", ONE)]), rules(&[("ALLOW", "[]")])), Some(Change::Looser));
        assert_eq!(change(rules(&[("ALLOW", ONE)]), rules(&[("ALLOW", TWO)])), Some(Change::Mixed));
        assert_eq!(change(rules(&[("ALLOW", "[]")]), rules(&[])), Some(Change::OnlyInA));
        assert_eq!(change(rules(&[]), rules(&[("KILL", "[]")])), Some(Change::Otherwise));
        assert_eq!(change(rules(&[("ALLOW", "[]")]), rules(&[("ALLOW", "[]")])), None);
        let at_odds = || rules(&[("ALLOW", ONE), ("KILL", ONE)]);
        assert_eq!(change(at_odds(), at_odds()), None);
    }
}
