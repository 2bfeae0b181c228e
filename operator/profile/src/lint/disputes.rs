//! Rules of one call that libseccomp can't make a filter of that does what they say.

use std::collections::BTreeSet;

use super::{Code, Findings, shortened, subject::Subject};
use crate::{
    Arch,
    compare::{Budget, Dispute, DisputeCause, disputes_in},
    evaluate::{Runtime, check_everywhere, tables},
    syscalls,
};

pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) {
    // What no runtime loads has no filter; other codes say why.
    if check_everywhere(subject.profile).is_err() {
        return;
    }
    let mut budget = Budget::profiles();
    let mut said = BTreeSet::new();
    for (arch, table) in tables(subject.profile, Runtime::Crun, &filtered(subject)) {
        for Dispute { call, rules, cause, .. } in disputes_in(&table, arch, &mut budget) {
            // Most often the same on every architecture: once is enough.
            if !said.insert(call.clone()) {
                continue;
            }
            let path =
                rules.first().map_or_else(|| "syscalls".to_owned(), |rule| format!("syscalls[{rule}]"));
            let all = places(&rules);
            let call = shortened(&call);
            match cause {
                DisputeCause::Merge => findings.push(Code::WrongMerge, path, || {
                    format!("the conditions on {call} in {all} can't be merged faithfully ({arch})")
                }),
                DisputeCause::Endless => findings.push(Code::WrongMerge, path, || {
                    format!("libseccomp may never end merging the conditions on {call} in {all} ({arch})")
                }),
                DisputeCause::Refused => findings.push(Code::Overlap, path, || {
                    format!("{all} have different actions for {call} with the same conditions ({arch})")
                }),
                DisputeCause::Overlap { condition } => findings.push(Code::Overlap, path, || {
                    format!("{all} have different actions for {call} with {condition} ({arch})")
                }),
            }
        }
    }
}

/// Every architecture that a filter of the profile covers, as far as it is known; where nothing is, the two that nodes have as a
/// rule.
fn filtered(subject: &Subject<'_>) -> Vec<Arch> {
    let known: Vec<Arch> =
        subject.architectures().iter().copied().filter(|&arch| syscalls::has_table(arch)).collect();
    if known.is_empty() { vec![Arch::X86_64, Arch::Aarch64] } else { known }
}

/// The rules' places, the first five of them.
fn places(rules: &[usize]) -> String {
    let places: Vec<String> = rules.iter().map(|rule| format!("syscalls[{rule}]")).collect();
    super::list(&places.iter().map(String::as_str).collect::<Vec<_>>())
}
