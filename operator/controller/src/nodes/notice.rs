//! What is said of a node that stops counting, once, and not in every profile's status.

use portcullis_runtime::Level;

use super::Standing;

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

#[cfg(test)]
mod tests {
    use super::*;

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
