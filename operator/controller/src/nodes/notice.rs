//! What is said of a node that stops counting, once, and not in every profile's status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_api::NodeConditionType;
use portcullis_runtime::Level;

use super::{Standing, conditions::find};

/// How bad it is, a word for it, and the message.
pub(crate) type Notice = (Level, &'static str, String);

/// What there is to say when a node's standing changes; none before means that the node was not known.
pub(crate) fn notice(node: &str, before: Option<Standing>, after: Option<Standing>) -> Option<Notice> {
    match (before, after) {
        (before, Some(Standing::NotReady)) if before != Some(Standing::NotReady) => Some((
            Level::Warning,
            "NodeNotReady",
            format!("node {node} is not Ready: it counts for no profile until its kubelet is back"),
        )),
        (Some(Standing::NotReady), Some(Standing::Counts | Standing::Joining)) => Some((
            Level::Info,
            "NodeBack",
            format!("node {node} is Ready again, and counts for every profile"),
        )),
        _ => None,
    }
}

/// What there is to say when a node is left out for its word, or counts again: where its conditions say so for the first time.
pub(crate) fn notice_of_word(node: &str, before: &[Condition], after: &[Condition]) -> Option<Notice> {
    let status = |said| find(said, NodeConditionType::Steady).map(|steady| steady.status.as_str());
    match (status(before), status(after)) {
        (Some("False"), Some("True")) => Some((
            Level::Info,
            "NodeSteady",
            format!("node {node} counts again: what is reported of it has lasted"),
        )),
        (before, Some("False")) if before != Some("False") => {
            let message = find(after, NodeConditionType::Steady).map_or("", |steady| &steady.message);
            Some((
                Level::Warning,
                "NodeLeftOut",
                format!("node {node}: {message}. Its agent's log says why; or somebody else has its token"),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_when_it_is_left_out_and_when_it_counts_again_and_not_between() {
        let steady = |status: &str| {
            let json = serde_json::json!({
                "type": "Steady", "status": status, "reason": "", "message": "It fell", "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            vec![serde_json::from_value::<Condition>(json).unwrap()]
        };
        let said = |before: &[Condition], after: &[Condition]| {
            notice_of_word("n", before, after).map(|(_, reason, _)| reason)
        };
        assert_eq!(said(&[], &steady("True")), None);
        assert_eq!(said(&[], &steady("False")), Some("NodeLeftOut"));
        assert_eq!(said(&steady("True"), &steady("False")), Some("NodeLeftOut"));
        assert_eq!(said(&steady("False"), &steady("False")), None);
        assert_eq!(said(&steady("False"), &steady("True")), Some("NodeSteady"));
    }

    #[test]
    fn a_node_is_named_when_it_leaves_and_when_it_is_back_and_not_between() {
        use Standing::{Counts, Joining, NotPlaced, NotReady};
        let said = |before, after| notice("n", before, after).map(|(_, reason, _)| reason);
        for (before, after, expected) in [
            (Some(Counts), Some(NotReady), Some("NodeNotReady")),
            (None, Some(NotReady), Some("NodeNotReady")),
            (Some(NotReady), Some(NotReady), None),
            (Some(NotReady), Some(Counts), Some("NodeBack")),
            (Some(NotReady), Some(Joining), Some("NodeBack")),
            (Some(NotReady), None, None),
            (Some(Counts), Some(NotPlaced), None),
            (None, Some(Joining), None),
            (Some(Joining), Some(Counts), None),
        ] {
            assert_eq!(said(before, after), expected, "{before:?} to {after:?}");
        }
    }
}
