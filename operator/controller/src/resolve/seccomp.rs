//! What the controller asks of the seccomp model.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use portcullis_api::{ProfileSpec, ProfileWarning, Reason, bounded_message};
use portcullis_profile::{
    Arch, MAX_REVISION_BYTES, Profile, RuntimeDefault,
    compare::{self, Relation, looser_unknown, reachable},
    compose::{self, NamedProfile},
    evaluate::{Evaluator, Runtime},
    lint::{Finding, LintContext, Severity, lint},
    runtime_defaults,
};

use super::{Part, Source};
use crate::status::Stall;

/// The runtime defaults, compiled once: each profile of a namespace is compared with all of them.
static BASELINES: LazyLock<Vec<(Arch, Evaluator)>> = LazyLock::new(|| {
    let compiled = |default: &RuntimeDefault| {
        Evaluator::new(&default.profile, Runtime::Runc, default.arch)
            .ok()
            .map(|compiled| (default.arch, compiled))
    };
    runtime_defaults().iter().filter_map(compiled).collect()
});

fn invalid(message: String) -> Stall {
    Stall { reason: Reason::InvalidProfile, message }
}

/// Reads a spec's document.
///
/// # Errors
/// What is wrong with it, in words, with the fields' paths.
pub(crate) fn prepare(spec: &ProfileSpec) -> Result<Source, String> {
    let document = match &spec.profile {
        None => None,
        Some(document) => Some(Arc::new(Profile::try_from(document).map_err(|error| error.to_string())?)),
    };
    Ok(Source { document, bases: spec.bases.clone() })
}

/// The architecture of nodes that bear this label.
///
/// Source: <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-arch>, Go's GOARCH.
pub(crate) fn arch_of_label(label: &str) -> Option<Arch> {
    Some(match label {
        "amd64" => Arch::X86_64,
        "arm64" => Arch::Aarch64,
        "arm" => Arch::Arm,
        "386" => Arch::X86,
        "ppc64le" => Arch::Ppc64le,
        "s390x" => Arch::S390x,
        "riscv64" => Arch::Riscv64,
        "loong64" => Arch::Loongarch64,
        _ => return None,
    })
}

/// Refuses what the linter calls an error in any of the parts, and says what it warns about.
///
/// Warnings about a place are of the profile's own document; those about the whole are of what its parts make together. A
/// base's own warnings stand in the base's status.
pub(super) fn check(
    parts: &[Part],
    united: &Profile,
    architectures: &BTreeSet<Arch>,
) -> Result<Vec<ProfileWarning>, Stall> {
    let context = LintContext { node_architectures: architectures.clone(), oldest_runc: None };
    let mut warnings = Vec::new();
    for part in parts {
        for finding in lint(&part.document, &context) {
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
        let of_whole = lint(united, &context)
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
pub(super) fn unite(parts: &[Part]) -> Result<Profile, Stall> {
    let named: Vec<_> =
        parts.iter().map(|part| NamedProfile { name: &part.at, profile: &part.document }).collect();
    compose::union(&named).map_err(|error| Stall { reason: Reason::BaseConflict, message: error.to_string() })
}

/// The profile in Audit mode, for nodes of every architecture that it is meant for and whose runtime default is known.
///
/// One file serves nodes of all architectures, so the rules for one are added to those for another.
pub(super) fn audit(profile: &Profile) -> Result<Profile, Stall> {
    let mut audited = profile.clone();
    for default in runtime_defaults() {
        // What the profile says of other nodes' architectures must not be measured by this node's default.
        let of_node: Vec<Arch> = profile
            .architectures
            .iter()
            .copied()
            .filter(|arch| reachable(default.arch).contains(arch))
            .collect();
        if of_node.is_empty() && !profile.architectures.is_empty() {
            continue;
        }
        audited.architectures = of_node;
        audited = portcullis_profile::audit::audit(&audited, &default.profile, default.arch)
            .map_err(|error| invalid(format!("spec.mode: Audit can't be had for this profile: {error}")))?;
    }
    audited.architectures.clone_from(&profile.architectures);
    Ok(audited)
}

/// The calls that a profile lets through and the runtime default doesn't, in words; none where it is not looser.
///
/// Compared with the default of every architecture that has one, whatever the profile lists: a filter always covers the
/// architecture of the node that it is loaded on. Names that no table here has are compared by their rules.
pub(super) fn looser_than_runtime_default(profile: &Profile) -> Result<Vec<String>, Stall> {
    let mut calls: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for (native, baseline) in BASELINES.iter() {
        let compiled = Evaluator::new(profile, Runtime::Runc, *native)
            .map_err(|refusal| invalid(format!("spec.profile: no container starts with it: {refusal}")))?;
        for difference in compare::compare(&compiled, baseline, *native, Relation::Passage) {
            let call = difference.name.map_or_else(|| format!("call {}", difference.number), str::to_owned);
            calls.entry((call, difference.condition)).or_default().insert(difference.arch.as_str());
        }
    }
    let in_words = |((call, condition), arches): ((String, String), BTreeSet<&str>)| {
        format!("{call} with {condition} ({})", Vec::from_iter(arches).join(", "))
    };
    let unknown: BTreeSet<String> = runtime_defaults()
        .iter()
        .flat_map(|default| looser_unknown(profile, &default.profile))
        .map(|name| format!("{name} (not known here: a node's runtime may know it)"))
        .collect();
    Ok(unknown.into_iter().chain(calls.into_iter().map(in_words)).collect())
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
