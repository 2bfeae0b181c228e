//! No way round the runtime default.
//!
//! Pod Security `restricted` accepts any Localhost profile, so whoever may write a `SeccompProfile` could take a call back that the
//! runtime default denies to everybody. A namespaced profile that is looser is therefore refused, unless an administrator
//! labelled the namespace.
//!
//! What is judged is the very content that would be served: with its bases, whoever wrote them, and in its mode. So a namespaced
//! profile that is looser only because an administrator's cluster profile is its base is refused as well: the administrator
//! published that profile at its own path, not as a part of other people's. An earlier revision that `spec.pin` names is
//! judged anew, so that after a permission was withdrawn no profile goes back to what it permitted. What is served stays served until then,
//! and a kept revision can be named by a pod at its own path: pods need them to start again.
//!
//! An administrator may put a ClusterSeccompProfile in the runtime default's place, stricter or looser: all is held against that then.
//!
//! Denying can be worse than allowing: a runtime that loads the filter before it gives up privileges, and is told that it gave them up,
//! starts the container with all of them ([`portcullis_profile::privileges`]). So for the calls by which a runtime gives something up, a
//! namespaced profile may do what the runtime default does, end the process, or deny in a way that was measured to keep nothing.
//!
//! Nodes of an architecture whose runtime default nobody knows are no place for a namespaced profile: it can't be judged by another
//! architecture's, on which the same argument has another meaning (`clone`'s flags are its second argument on s390x).
//!
//! A listener needs the permission too: the runtime connects to any socket of the node that `listenerPath` names, as root, and hands it the
//! container's state, `listenerMetadata` and the descriptor that decides about calls
//! (<https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp>).

use std::collections::BTreeSet;

use portcullis_api::{ALLOW_LOOSER_LABEL, Owner, Reason};
use portcullis_profile::{Arch, Profile, compare::Budget};

use super::{baseline::Compiled, seccomp};
use crate::status::Stall;

/// Most calls that a message names.
const MAX_NAMED: usize = 10;

/// Refuses what is looser than the runtime default or keeps privileges, naming the calls, and a listener.
pub(super) fn check(
    owner: &Owner,
    profile: &Profile,
    architectures: &BTreeSet<Arch>,
    baseline: &Compiled,
    budget: &Budget,
) -> Result<(), Stall> {
    let namespace = owner.namespace().unwrap_or_default();
    let remedy = format!(
        "Take that out, or have an administrator label namespace {namespace} with {ALLOW_LOOSER_LABEL}=true"
    );
    let listener =
        [("listenerPath", &profile.listener_path), ("listenerMetadata", &profile.listener_metadata)];
    if let Some((field, _)) = listener.iter().find(|(_, value)| value.is_some()) {
        return Err(Stall {
            reason: Reason::ListenerNotPermitted,
            message: format!(
                "{field}: the runtime would connect to a socket of the node as root and hand it what the profile says. {remedy}"
            ),
        });
    }
    let unknown: Vec<&str> = baseline.unknown_on(architectures).map(|arch| arch.as_str()).collect();
    if !unknown.is_empty() {
        return Err(Stall {
            reason: Reason::NoRuntimeDefault,
            message: format!(
                "the cluster has nodes of {}, on which {baseline} is not known, so nobody can say that the profile is nowhere looser. \
                 Have an administrator label namespace {namespace} with {ALLOW_LOOSER_LABEL}=true, or take those nodes out",
                unknown.join(", ")
            ),
        });
    }
    let looser = seccomp::looser(profile, baseline, budget)?;
    if !looser.is_empty() {
        return Err(Stall {
            reason: Reason::LooserThanRuntimeDefault,
            message: format!("the profile allows what {baseline} denies: {}. {remedy}", listed(&looser)),
        });
    }
    let kept = Vec::from_iter(seccomp::keeps_privileges(profile, baseline, budget)?);
    if !kept.is_empty() {
        return Err(Stall {
            reason: Reason::KeepsPrivileges,
            message: format!(
                "a container under the profile keeps privileges that the pod gave up: {}. Allow these calls, deny them with errnoRet 1 or 38, \
                 or have an administrator label namespace {namespace} with {ALLOW_LOOSER_LABEL}=true",
                listed(&kept)
            ),
        });
    }
    Ok(())
}

/// Some of these, and how many more there are.
fn listed(all: &[String]) -> String {
    let more = all.len().saturating_sub(MAX_NAMED);
    let named = all.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}
