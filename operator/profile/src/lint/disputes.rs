//! Rules of one call that libseccomp can't make a filter of that does what they say.

use std::collections::BTreeSet;

use super::{Code, Findings, shortened, subject::Subject};
use crate::{
    compare::{Budget, Dispute, DisputeCause, disputes_in},
    evaluate::{Refusal, Runtime, check_everywhere, tables},
    program::MAX_INSTRUCTIONS,
};

pub(super) fn check(subject: &Subject<'_>, budget: &Budget, findings: &mut Findings) {
    match check_everywhere(subject.profile) {
        Ok(()) => {}
        Err(Refusal::TooManyRules) => {
            return findings.push(Code::TooHard, "syscalls".to_owned(), || {
                format!(
                    "has more than {MAX_INSTRUCTIONS} rules once each call and each alternative has its own"
                )
            });
        }
        // What no runtime loads has no filter; other codes say why.
        Err(_) => return,
    }
    let mut said = BTreeSet::new();
    let mut hangs_on_order = false;
    for (arch, table) in tables(subject.profile, Runtime::Crun, &subject.filtered()) {
        hangs_on_order |= table.work() > 0;
        for Dispute { call, rules, cause, .. } in disputes_in(&table, arch, budget) {
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
                DisputeCause::TooHard => findings.push(Code::TooHard, path, || {
                    format!(
                        "the conditions on {call} in {all} are too many, or too hard, to compare ({arch})"
                    )
                }),
                DisputeCause::Endless => findings.push(Code::WrongMerge, path, || {
                    format!("libseccomp never ends merging the conditions on {call} in {all} ({arch})")
                }),
                DisputeCause::Refused => findings.push(Code::Overlap, path, || {
                    format!(
                        "libseccomp refuses the conditions on {call} in {all}, which have different actions ({arch})"
                    )
                }),
                DisputeCause::NumberNotLoaded { absent } => {
                    findings.push(Code::NumberNotLoaded, path, || {
                        let (absent, say) = (shortened(&absent), if rules.len() == 1 { "says" } else { "say" });
                        format!(
                            "{call} gets the default action on {arch}, whatever {all} {say}: {absent}, a call that is not \
                             there, comes first in the filter, which so never looks at a call's number"
                        )
                    });
                }
                DisputeCause::Overlap { condition } => findings.push(Code::Overlap, path, || {
                    format!("{all} have different actions for {call} with {condition} ({arch})")
                }),
            }
        }
    }
    if hangs_on_order && said.is_empty() {
        as_served(subject, budget, findings);
    }
}

/// What libseccomp makes of conditional rules may hang on their order, and nodes get the profile in its canonical one.
fn as_served(subject: &Subject<'_>, budget: &Budget, findings: &mut Findings) {
    let served = subject.profile.canonical();
    let mut said = BTreeSet::new();
    for (arch, table) in tables(&served, Runtime::Crun, &subject.filtered()) {
        for Dispute { call, .. } in disputes_in(&table, arch, budget) {
            if said.insert(call.clone()) {
                findings.push(Code::WrongMerge, "syscalls".to_owned(), || {
                    let call = shortened(&call);
                    format!("the conditions on {call} can't be merged faithfully in the order that nodes get them in ({arch})")
                });
            }
        }
    }
}

/// The rules' places, the first five of them.
fn places(rules: &[usize]) -> String {
    let places: Vec<String> = rules.iter().map(|rule| format!("syscalls[{rule}]")).collect();
    super::list(&places.iter().map(String::as_str).collect::<Vec<_>>())
}
