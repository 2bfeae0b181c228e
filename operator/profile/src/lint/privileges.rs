//! Denials that a container runtime takes for something else.

use super::{Code, Findings, subject::Subject};
use crate::{
    compare::Budget,
    evaluate::{Evaluator, Runtime},
    privileges::kept_privileges,
    runtime_default,
};

pub(super) fn check(subject: &Subject<'_>, budget: &Budget, findings: &mut Findings) {
    // Runtimes are programs of the node's own architecture, and of these something is known.
    for arch in subject.filtered().into_iter().filter(|&arch| runtime_default(arch).is_some()) {
        // What no runtime loads has no filter; other codes say why.
        let Ok(compiled) = Evaluator::new(subject.profile, Runtime::Runc, arch) else { continue };
        for kept in kept_privileges(&compiled, None, arch, budget) {
            let path =
                kept.rule.map_or_else(|| "defaultAction".to_owned(), |rule| format!("syscalls[{rule}]"));
            // Most often the same on every architecture: once is enough.
            if !findings.has(Code::KeepsPrivileges, &path) {
                findings.push(Code::KeepsPrivileges, path, || kept.to_string());
            }
        }
    }
}
