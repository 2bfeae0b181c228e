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
//! A listener needs the permission too: the runtime connects to any socket of the node that `listenerPath` names, as root, and hands it the
//! container's state, `listenerMetadata` and the descriptor that decides about calls
//! (<https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp>).

use portcullis_api::{ALLOW_LOOSER_LABEL, Owner, Reason};
use portcullis_profile::Profile;

use super::seccomp;
use crate::status::Stall;

/// Most calls that a message names.
const MAX_NAMED: usize = 10;

/// Refuses what is looser than the runtime default, naming the calls, and a listener.
pub(super) fn check(owner: &Owner, profile: &Profile) -> Result<(), Stall> {
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
    let looser = seccomp::looser_than_runtime_default(profile)?;
    if looser.is_empty() {
        return Ok(());
    }
    let more = looser.len().saturating_sub(MAX_NAMED);
    let named = looser.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Err(Stall {
        reason: Reason::LooserThanRuntimeDefault,
        message: format!("the profile allows what the runtime default denies: {named}{more}. {remedy}"),
    })
}
