//! Calls that runtimes' defaults deny with `ENOSYS`, so that programs use another one.

use std::collections::BTreeSet;

use super::{Baseline, known_runtime_defaults};
use crate::{
    Action, Arch, Arg, Profile, Rule,
    evaluate::{Outcome, Passage},
};

/// `ENOSYS`, on which callers fall back.
const ENOSYS: u32 = 38;
/// Nodes' architectures, of which there are defaults.
const NODES: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

/// A call that callers do without where it fails with `ENOSYS`.
#[derive(Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The call.
    pub call: &'static str,
    /// What they make instead.
    pub instead: &'static str,
    /// Why a default denies it, for people.
    pub why: &'static str,
    /// Who falls back.
    pub source: &'static str,
}

/// The calls that a known default denies with `ENOSYS`, and that every caller falls back from because its C library does.
pub const FALLBACKS: &[Fallback] = &[Fallback {
    call: "clone3",
    instead: "clone",
    why: "no filter sees clone3's flags",
    source: "glibc sysdeps/unix/sysv/linux/clone-internal.c, __clone_internal",
}];

/// The fallback from a call that some runtime's default denies with `ENOSYS`.
#[must_use]
pub fn fallback(call: &str) -> Option<&'static Fallback> {
    let known = FALLBACKS.iter().find(|fallback| fallback.call == call)?;
    known_runtime_defaults().iter().any(|default| answers_enosys(&default.profile, call)).then_some(known)
}

/// Has a profile answer with `ENOSYS` each call that it allows and a baseline answers so, and allow what callers make instead as the
/// baseline does.
///
/// Whoever was seen without a filter made the call and never what comes in its place. Without this the profile would be looser than the
/// baseline; with the call left out, programs that can't fall back from another errno would fail. Gives what was changed.
pub fn fall_back(
    profile: &mut Profile,
    baseline: &Baseline,
    arches: &BTreeSet<Arch>,
) -> Vec<&'static Fallback> {
    let defaults: Option<Vec<&Profile>> =
        NODES.iter().filter(|arch| arches.contains(arch)).map(|arch| baseline.on(*arch)).collect();
    let Some(defaults) = defaults.filter(|defaults| !defaults.is_empty()) else { return Vec::new() };
    let mut changed = Vec::new();
    for fallback in FALLBACKS {
        let is_open = rules_of(profile, fallback.call).any(|rule| rule.args.is_empty());
        let is_denied = defaults.iter().all(|default| answers_enosys(default, fallback.call));
        let conditions: Vec<BTreeSet<Vec<Arg>>> =
            defaults.iter().map(|default| conditions(default, fallback.instead)).collect();
        let Some(first) = conditions.first().filter(|first| conditions.iter().all(|one| one == *first))
        else {
            continue;
        };
        if !is_open || !is_denied || first.is_empty() {
            continue;
        }
        remove(profile, fallback.call);
        remove(profile, fallback.instead);
        if Outcome::of_default(profile) != Outcome::new(Action::Errno, Some(ENOSYS)) {
            profile.syscalls.push(Rule {
                names: vec![fallback.call.to_owned()],
                action: Action::Errno,
                errno_ret: Some(ENOSYS),
                args: Vec::new(),
            });
        }
        profile.syscalls.extend(first.iter().map(|args| Rule {
            names: vec![fallback.instead.to_owned()],
            action: Action::Allow,
            errno_ret: None,
            args: args.clone(),
        }));
        changed.push(fallback);
    }
    changed
}

/// The rules that let a call through.
fn rules_of<'p>(profile: &'p Profile, call: &'p str) -> impl Iterator<Item = &'p Rule> {
    let permits = |rule: &&Rule| Outcome::of_rule(rule).passage() == Passage::Permitted;
    profile.syscalls.iter().filter(permits).filter(move |rule| rule.names.iter().any(|name| name == call))
}

fn conditions(profile: &Profile, call: &str) -> BTreeSet<Vec<Arg>> {
    rules_of(profile, call).map(|rule| rule.args.clone()).collect()
}

/// Whether a profile answers a call so whatever its arguments.
fn answers_enosys(profile: &Profile, call: &str) -> bool {
    let mut rules =
        profile.syscalls.iter().filter(|rule| rule.names.iter().any(|name| name == call)).peekable();
    let enosys = Outcome::new(Action::Errno, Some(ENOSYS));
    match rules.peek() {
        None => Outcome::of_default(profile) == enosys,
        Some(_) => rules.all(|rule| rule.args.is_empty() && Outcome::of_rule(rule) == enosys),
    }
}

fn remove(profile: &mut Profile, call: &str) {
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| name != call);
    }
    profile.syscalls.retain(|rule| !rule.names.is_empty());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Dialect;

    fn profile(default: &serde_json::Value, names: &[&str]) -> Profile {
        let mut document = default.clone();
        document["syscalls"] = json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]);
        Profile::from_value(&document, Dialect::Oci).unwrap()
    }

    fn answer(profile: &Profile, call: &str) -> Vec<(Action, Option<u32>, usize)> {
        let of = profile.syscalls.iter().filter(|rule| rule.names.iter().any(|name| name == call));
        of.map(|rule| (rule.action, rule.errno_ret, rule.args.len())).collect()
    }

    #[test]
    fn every_fallback_is_from_a_call_that_a_default_denies_with_enosys() {
        for one in FALLBACKS {
            assert_eq!(fallback(one.call), Some(one));
        }
        assert_eq!(fallback("mount"), None, "that is denied for good");
    }

    #[test]
    fn clone3_is_answered_as_the_default_does_and_clone_allowed_as_it_does() {
        for (default, answered) in [
            (json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}), vec![]),
            (json!({"defaultAction": "SCMP_ACT_ERRNO"}), vec![(Action::Errno, Some(38), 0)]),
            (json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"}), vec![(Action::Errno, Some(38), 0)]),
        ] {
            let arches = [Arch::X86_64, Arch::Aarch64].into();
            let mut made = profile(&default, &["read", "clone3", "clone"]);
            let changed = fall_back(&mut made, &Baseline::strictest(), &arches);
            assert_eq!(changed.iter().map(|one| one.call).collect::<Vec<_>>(), ["clone3"]);
            assert_eq!(answer(&made, "clone3"), answered, "{default}");
            assert_eq!(answer(&made, "clone"), [(Action::Allow, None, 1)], "{default}");
            let mut without = profile(&default, &["read", "clone"]);
            let before = without.clone();
            assert!(fall_back(&mut without, &Baseline::strictest(), &arches).is_empty());
            assert_eq!(without, before);
        }
    }

    #[test]
    fn a_baseline_that_allows_the_call_changes_nothing() {
        let default = json!({"defaultAction": "SCMP_ACT_ERRNO"});
        let loose = Baseline::chosen("mine".to_owned(), profile(&default, &["clone3", "clone"]));
        let mut made = profile(&default, &["clone3"]);
        assert!(fall_back(&mut made, &loose, &[Arch::X86_64].into()).is_empty());
        let mut elsewhere = profile(&default, &["clone3"]);
        let none = fall_back(&mut elsewhere, &Baseline::strictest(), &[Arch::S390x].into());
        assert!(none.is_empty(), "there is no default to go by");
    }
}
