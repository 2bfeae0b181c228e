//! Everything that the controller asks of the model about one profile.

use std::collections::BTreeSet;

use portcullis_profile::{
    Arch, Profile,
    audit::audit_within,
    compare::{Budget, Relation, compare_within, looser_unknown},
    compose::{NamedProfile, union_within},
    evaluate::{Evaluator, Runtime},
    lint::{LintContext, Severity, lint_within},
    runtime_defaults,
};

/// Whether a profile of some parts may be served.
pub(crate) fn judge(parts: &[Profile], budget: &Budget) -> bool {
    let context = LintContext {
        node_architectures: BTreeSet::from([Arch::X86_64, Arch::Aarch64]),
        ..LintContext::default()
    };
    let parts: Vec<Profile> = parts.iter().cloned().map(Profile::with_unique_names).collect();
    let named: Vec<NamedProfile<'_>> =
        parts.iter().map(|profile| NamedProfile { name: "part", profile }).collect();
    let Ok(mut profile) = union_within(&named, budget) else { return false };
    for part in parts.iter().chain([&profile]) {
        if lint_within(part, &context, budget).iter().any(|finding| finding.severity == Severity::Error) {
            return false;
        }
    }
    for default in runtime_defaults() {
        match audit_within(&profile, &default.profile, default.arch, budget) {
            Ok(audited) => profile = audited,
            Err(_) => return false,
        }
    }
    let mut looser = 0;
    for default in runtime_defaults() {
        let baseline = Evaluator::new(&default.profile, Runtime::Runc, default.arch).expect("it loads");
        let Ok(compiled) = Evaluator::new(&profile, Runtime::Runc, default.arch) else { return false };
        looser += compare_within(&compiled, &baseline, default.arch, Relation::Passage, budget).len();
        looser += looser_unknown(&profile, &default.profile).len();
    }
    drop(profile.render());
    looser == 0
}
