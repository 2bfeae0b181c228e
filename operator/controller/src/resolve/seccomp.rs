//! What the controller asks of the seccomp model.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portcullis_api::{Mode, ProfileWarning, Reason, bounded_message};
use portcullis_profile::{
    Arch, MAX_REVISION_BYTES, Profile,
    audit::audit_within,
    compare::{Budget, Relation, compare_within, looser_unknown, reachable},
    compose::{self, NamedProfile},
    evaluate::{Evaluator, Runtime},
    lint::{Code, Finding, LintContext, Severity, lint_within},
    privileges::kept_privileges,
};

use super::{Part, baseline::Compiled};
use crate::status::Stall;

fn invalid(message: String) -> Stall {
    Stall { reason: Reason::InvalidProfile, message }
}

/// Refuses what the linter calls an error in any of the parts, and says what it warns about.
///
/// Warnings about a place are of the profile's own document; those about the whole are of what its parts make together. A
/// base's own warnings stand in the base's status.
pub(super) fn check(
    parts: &[Part],
    united: &Profile,
    mode: Mode,
    architectures: &BTreeSet<Arch>,
    budget: &Budget,
) -> Result<Vec<ProfileWarning>, Stall> {
    let context = LintContext {
        node_architectures: architectures.clone(),
        is_whole: mode == Mode::Enforce && parts.len() == 1,
        ..LintContext::default()
    };
    let mut warnings = Vec::new();
    for part in parts {
        for finding in lint_within(&part.document, &context, budget) {
            let is_of_place = !finding.path.is_empty();
            match finding.severity {
                Severity::Error => return Err(refused(part, finding)),
                Severity::Warning if part.is_own && (is_of_place || parts.len() == 1) => {
                    warnings.push(warning(finding.within(&part.at)));
                }
                Severity::Warning | Severity::Info => {}
            }
        }
    }
    if parts.len() > 1 {
        let of_whole = lint_within(united, &context, budget)
            .into_iter()
            .filter(|finding| finding.path.is_empty() && finding.severity == Severity::Warning);
        warnings.extend(of_whole.map(|finding| warning(finding.within("spec"))));
    }
    Ok(warnings)
}

fn refused(part: &Part, finding: Finding) -> Stall {
    let reason = if part.is_own { Reason::InvalidProfile } else { Reason::BaseInvalid };
    let message =
        if part.is_own { finding.within(&part.at).to_string() } else { format!("{}: {finding}", part.at) };
    Stall { reason, message }
}

fn warning(finding: Finding) -> ProfileWarning {
    let message = format!("{}. {} {}", finding.message, finding.consequence, finding.remedy);
    ProfileWarning {
        code: finding.code.as_str().to_owned(),
        path: finding.path.chars().take(1024).collect(),
        message: bounded_message(&message),
    }
}

/// What any of the parts allows.
pub(super) fn unite(parts: &[Part], budget: &Budget) -> Result<Profile, Stall> {
    let named: Vec<_> =
        parts.iter().map(|part| NamedProfile { name: &part.at, profile: &part.document }).collect();
    compose::union_within(&named, budget)
        .map_err(|error| Stall { reason: Reason::BaseConflict, message: error.to_string() })
}

/// The profile in Audit mode, for nodes of every architecture that it is meant for and whose baseline is known.
///
/// One file serves nodes of all architectures, so the rules for one are added to those for another.
pub(super) fn audit(profile: &Profile, baseline: &Compiled, budget: &Budget) -> Result<Profile, Stall> {
    let mut audited = profile.clone();
    for filter in baseline.filters() {
        // What the profile says of other nodes' architectures must not be measured by this node's default.
        let of_node: Vec<Arch> = profile
            .architectures
            .iter()
            .copied()
            .filter(|arch| reachable(filter.arch).contains(arch))
            .collect();
        if of_node.is_empty() && !profile.architectures.is_empty() {
            continue;
        }
        audited.architectures = of_node;
        audited = audit_within(&audited, &filter.profile, filter.arch, budget)
            .map_err(|error| invalid(format!("spec.mode: Audit can't be had for this profile: {error}")))?;
    }
    audited.architectures.clone_from(&profile.architectures);
    Ok(audited)
}

/// The calls that a profile lets through and the baseline doesn't, in words; none where it is not looser.
///
/// Compared on every architecture on which the baseline is known, whatever the profile lists: a filter always covers the
/// architecture of the node that it is loaded on. Names that no table here has are compared by their rules.
pub(super) fn looser(profile: &Profile, baseline: &Compiled, budget: &Budget) -> Result<Vec<String>, Stall> {
    let mut calls: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for filter in baseline.filters() {
        let compiled = compiled(profile, filter.arch)?;
        let found = compare_within(&compiled, &filter.evaluator, filter.arch, Relation::Passage, budget);
        for difference in found {
            let call = difference.name.map_or_else(|| format!("call {}", difference.number), str::to_owned);
            calls.entry((call, difference.condition)).or_default().insert(difference.arch.as_str());
        }
    }
    let in_words = |((call, condition), arches): ((String, String), BTreeSet<&str>)| {
        format!("{call} with {condition} ({})", Vec::from_iter(arches).join(", "))
    };
    let unknown: BTreeSet<String> = baseline
        .filters()
        .iter()
        .flat_map(|filter| looser_unknown(profile, &filter.profile))
        .map(|name| format!("{name} (not known here: a node's runtime may know it)"))
        .collect();
    Ok(unknown.into_iter().chain(calls.into_iter().map(in_words)).collect())
}

/// The answers of a profile on which a container runtime goes on with privileges that the pod gave up, in words; none where there are
/// none. Those of the baseline are the runtime's own choice, or the administrator's.
pub(super) fn keeps_privileges(
    profile: &Profile,
    baseline: &Compiled,
    budget: &Budget,
) -> Result<BTreeSet<String>, Stall> {
    let mut kept = BTreeSet::new();
    for filter in baseline.filters() {
        let compiled = compiled(profile, filter.arch)?;
        let found = kept_privileges(&compiled, Some(&filter.evaluator), filter.arch, budget);
        kept.extend(found.iter().map(ToString::to_string));
    }
    Ok(kept)
}

/// Refuses a content that tells a caller of a denied call that it was made: no profile may have such a rule, whoever wrote it and
/// however long ago.
pub(super) fn refuse_faked_success(profile: &Profile, at: &str, budget: &Budget) -> Result<(), Stall> {
    let findings = lint_within(profile, &LintContext::default(), budget);
    match findings.into_iter().find(|finding| finding.code == Code::ErrnoZero) {
        Some(finding) => Err(invalid(finding.within(at).to_string())),
        None => Ok(()),
    }
}

fn compiled(profile: &Profile, native: Arch) -> Result<Evaluator, Stall> {
    Evaluator::new(profile, Runtime::Runc, native)
        .map_err(|refusal| invalid(format!("spec.profile: no container starts with it: {refusal}")))
}

/// The bytes of the file.
pub(super) fn render(profile: &Profile) -> Result<Arc<str>, Stall> {
    let content = String::from_utf8(profile.render())
        .map_err(|error| invalid(format!("spec: its content is no UTF-8: {error}")))?;
    if content.len() > MAX_REVISION_BYTES {
        return Err(invalid(format!(
            "spec: with its bases and in its mode the profile has {} bytes, more than the {MAX_REVISION_BYTES} \
             (256 KiB) that a revision may have: name fewer calls",
            content.len()
        )));
    }
    Ok(content.into())
}
