//! Conditions after kstatus: `Ready` is always there; `Reconciling` and `Stalled` only while they are true.
//!
//! Source: <https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use portcullis_api::{ConditionType, ProfileStatus, Reason};

/// A condition's message may have 32768 characters; people read fewer.
const MAX_MESSAGE: usize = 1024;

/// What the conditions say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every node that counts has it.
    Ready { message: String },
    /// It goes on.
    Reconciling { reason: Reason, message: String },
    /// It goes no further by itself.
    Stalled { reason: Reason, message: String },
}

/// The conditions. Where one's status is what it was, so is its `lastTransitionTime`.
pub(super) fn conditions(
    verdict: &Verdict,
    generation: i64,
    previous: Option<&ProfileStatus>,
    now: Timestamp,
) -> Vec<Condition> {
    let condition = |kind: ConditionType, status: bool, reason: Reason, message: &str| {
        let status = if status { "True" } else { "False" };
        Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: bounded(message),
            observed_generation: Some(generation),
            last_transition_time: previous
                .and_then(|previous| find(previous, kind))
                .filter(|condition| condition.status == status)
                .map_or_else(|| Time(whole_seconds(now)), |condition| condition.last_transition_time.clone()),
        }
    };
    match verdict {
        Verdict::Ready { message } => {
            vec![condition(ConditionType::Ready, true, Reason::Distributed, message)]
        }
        Verdict::Reconciling { reason, message } => vec![
            condition(ConditionType::Ready, false, *reason, message),
            condition(ConditionType::Reconciling, true, *reason, message),
        ],
        Verdict::Stalled { reason, message } => vec![
            condition(ConditionType::Ready, false, *reason, message),
            condition(ConditionType::Stalled, true, *reason, message),
        ],
    }
}

/// Whether a status says that its profile is ready, of whatever generation.
pub(crate) fn is_ready(status: &ProfileStatus) -> bool {
    find(status, ConditionType::Ready).is_some_and(|condition| condition.status == "True")
}

/// Whether a status says of this generation that its profile is stalled for this reason.
pub(crate) fn is_stalled(status: &ProfileStatus, reason: Reason, generation: i64) -> bool {
    find(status, ConditionType::Stalled).is_some_and(|condition| {
        condition.reason == reason.as_str() && condition.observed_generation == Some(generation)
    })
}

/// The `Ready` of a status.
pub(super) fn ready(status: &ProfileStatus) -> Option<&Condition> {
    find(status, ConditionType::Ready)
}

/// A condition of a status.
pub(super) fn find(status: &ProfileStatus, kind: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// The API keeps whole seconds; a finer time would differ from what is read back.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A message of at most 1024 bytes.
pub(super) fn bounded(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MAX_MESSAGE - '…'.len_utf8());
    format!("{}…", &message[..end])
}
