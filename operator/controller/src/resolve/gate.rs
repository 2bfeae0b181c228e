//! No way round the runtime default.
//!
//! Pod Security `restricted` accepts any Localhost profile, so whoever may write a `SeccompProfile` could take a call back that the
//! runtime default denies to everybody. A namespaced profile that is looser is therefore refused, unless an administrator
//! labelled the namespace.
//!
//! What is judged is the very content that would be served: with its bases, whoever wrote them, and in its mode. So a namespaced
//! profile that is looser only because an administrator's cluster profile is its base is refused as well: the administrator
//! published that profile at its own path, not as a part of other people's. An earlier revision that `spec.pin` names is
//! judged anew, so that a permission that was withdrawn can't be had back from the history.

use portcullis_api::{ALLOW_LOOSER_LABEL, Owner, Reason};
use portcullis_profile::Profile;

use super::seccomp;
use crate::status::Stall;

/// Most calls that a message names.
const MAX_NAMED: usize = 10;

/// Refuses what is looser than the runtime default, naming the calls.
pub(super) fn check(owner: &Owner, profile: &Profile) -> Result<(), Stall> {
    let looser = seccomp::looser_than_runtime_default(profile)?;
    if looser.is_empty() {
        return Ok(());
    }
    let more = looser.len().saturating_sub(MAX_NAMED);
    let named = looser.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let namespace = owner.namespace().unwrap_or_default();
    Err(Stall {
        reason: Reason::LooserThanRuntimeDefault,
        message: format!(
            "the profile allows what the runtime default denies: {named}{more}. Take that out, or have an administrator label \
             namespace {namespace} with {ALLOW_LOOSER_LABEL}=true"
        ),
    })
}
