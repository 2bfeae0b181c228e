//! Calls that do what others do: a deny list that forgets one, and an allow list of names that an architecture doesn't have.

use std::collections::BTreeMap;

use super::{
    Code, Findings, list,
    subject::{Fate, Subject},
};
use crate::{Arch, syscalls};

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.denies_by_default() {
        replacements(subject, findings);
    } else {
        for family in syscalls::families() {
            forgotten(subject, family, findings);
        }
    }
}

/// What a deny list denies of a family and what it forgets, for the architectures where that is the same.
fn forgotten(subject: &Subject<'_>, family: &[&'static str], findings: &mut Findings) {
    let with = |fate: Fate| family.iter().copied().filter(move |name| subject.fate(name) == fate);
    let denied: Vec<&str> = with(Fate::Denied).collect();
    let Some(rule) = denied.iter().find_map(|name| subject.decider_of(name)) else { return };
    let mut arches: BTreeMap<(Vec<&str>, Vec<&str>), Vec<Arch>> = BTreeMap::new();
    for arch in subject.filtered() {
        let here = |name: &&str| syscalls::number(arch, name).is_some();
        let passing: Vec<&str> = with(Fate::Passes).filter(here).collect();
        if !passing.is_empty() {
            let absent = denied.iter().copied().filter(|name| !here(name)).collect();
            arches.entry((passing, absent)).or_default().push(arch);
        }
    }
    for ((passing, absent), arches) in arches {
        findings.push(Code::SiblingPasses, format!("syscalls[{rule}]"), || {
            let lacking = if absent.is_empty() {
                String::new()
            } else {
                format!(", where {} not even exist", does(&absent))
            };
            format!(
                "{} denied, and {} let through on {}{lacking}",
                are(&denied),
                are(&passing),
                named(&arches)
            )
        });
    }
}

/// The calls that an allow list allows in vain on an architecture, because programs make others there, which it denies.
fn replacements(subject: &Subject<'_>, findings: &mut Findings) {
    for arch in subject.filtered() {
        let lacks = |name: &str| syscalls::number(arch, name).is_none();
        let missing: Vec<(&str, &str)> = syscalls::replaced()
            .filter(|(old, new)| lacks(old) && !lacks(new))
            .filter(|(old, new)| subject.fate(old) == Fate::Passes && subject.fate(new) == Fate::Denied)
            .collect();
        let Some(rule) = missing.iter().find_map(|(old, _)| subject.decider_of(old)) else { continue };
        findings.push(Code::ReplacementDenied, format!("syscalls[{rule}]"), || {
            let pairs: Vec<String> =
                missing.iter().map(|(old, new)| format!("{new} in place of {old}")).collect();
            let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
            format!("programs on {arch} make {}, which the profile denies", list(&pairs))
        });
    }
}

fn are(names: &[&str]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

fn does(names: &[&str]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "does" } else { "do" })
}

fn named(arches: &[Arch]) -> String {
    arches.iter().map(|arch| arch.as_str()).collect::<Vec<_>>().join(", ")
}
