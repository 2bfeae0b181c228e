//! What a `SeccompNode` says of its node besides what the agent reported: pure.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use portcullis_api::NodeConditionType;

use super::{
    Standing,
    steadiness::{MOST_FALLS, WITHIN},
};
use crate::status::whole_seconds;

/// For how long an agent may be away without a word about it: one that is rolled out anew is back before.
pub(super) const AGENT_AWAY: Duration = Duration::from_secs(30);

/// What is known of a node's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agent {
    /// It runs.
    Runs,
    /// It is away, since a short while.
    JustAway,
    /// It is away.
    Away,
}

/// The conditions, where they are other than what is said. `left_out`: for how long the word of a node that is must last.
pub(super) fn conditions(
    said: &[Condition],
    standing: Standing,
    agent: Agent,
    left_out: Option<Duration>,
    now: Timestamp,
) -> Option<Vec<Condition>> {
    if said.is_empty() && agent == Agent::JustAway && left_out.is_none() {
        // An agent that comes in time has both said in one write.
        return None;
    }
    let steady = condition(said, NodeConditionType::Steady, steady(left_out), now);
    let agent_ready = match agent_ready(standing, agent) {
        Some(words) => Some(condition(said, NodeConditionType::AgentReady, words, now)),
        None => find(said, NodeConditionType::AgentReady).cloned(),
    };
    let all: Vec<Condition> = agent_ready.into_iter().chain([steady]).collect();
    all.iter().any(|condition| !said.contains(condition)).then_some(all)
}

/// Status, reason and message.
type Words = (&'static str, &'static str, String);

/// Of the agent; none where nothing is to be said yet.
fn agent_ready(standing: Standing, agent: Agent) -> Option<Words> {
    let (status, reason, message) = match (agent, standing) {
        (Agent::JustAway, _) => return None,
        (Agent::Runs, _) => ("True", "AgentRuns", "The agent's pod is Ready and has reported"),
        (Agent::Away, Standing::NotPlaced) => {
            ("False", "NotPlaced", "The agents' DaemonSet does not go to this node")
        }
        (Agent::Away, _) => (
            "False",
            "NoAgent",
            "No agent that has reported is Ready. What was reported last stays true while the node is the same machine; nothing \
             new is written there, and nobody guards its files",
        ),
    };
    Some((status, reason, message.to_owned()))
}

/// Of the node's word.
fn steady(left_out: Option<Duration>) -> Words {
    match left_out {
        Some(time) => {
            let message = format!(
                "What is reported of this node fell back more than {MOST_FALLS} times within {} s. It counts for no profile until it has \
                 not for {} s",
                WITHIN.as_secs(),
                time.as_secs()
            );
            ("False", "LeftOut", message)
        }
        None => (
            "True",
            "WordLasts",
            "What is reported of this node does not fall back again and again".to_owned(),
        ),
    }
}

/// A condition. Where its status is what it was, so is its `lastTransitionTime`.
fn condition(
    said: &[Condition],
    kind: NodeConditionType,
    (status, reason, message): Words,
    now: Timestamp,
) -> Condition {
    let since = find(said, kind)
        .filter(|before| before.status == status)
        .map_or_else(|| Time(whole_seconds(now)), |before| before.last_transition_time.clone());
    Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since,
        observed_generation: None,
    }
}

pub(super) fn find(said: &[Condition], kind: NodeConditionType) -> Option<&Condition> {
    said.iter().find(|condition| condition.type_ == kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn of_agent(said: &[Condition], standing: Standing, agent: Agent, second: i64) -> Option<Vec<Condition>> {
        conditions(said, standing, agent, None, at(second))
    }

    #[test]
    fn an_agent_that_is_away_is_said_once_and_since_when() {
        let runs = of_agent(&[], Standing::Counts, Agent::Runs, 1).unwrap();
        assert_eq!((runs[0].type_.as_str(), runs[0].status.as_str()), ("AgentReady", "True"));
        assert_eq!(of_agent(&runs, Standing::Counts, Agent::Runs, 2), None);
        assert_eq!(of_agent(&runs, Standing::Counts, Agent::JustAway, 3), None);
        let away = of_agent(&runs, Standing::Counts, Agent::Away, 40).unwrap();
        assert_eq!((away[0].status.as_str(), away[0].reason.as_str()), ("False", "NoAgent"));
        assert_eq!(away[0].last_transition_time, Time(at(40)));
        assert_eq!(of_agent(&away, Standing::NotReady, Agent::Away, 50), None);
        let not_placed = of_agent(&away, Standing::NotPlaced, Agent::Away, 60).unwrap();
        assert_eq!(not_placed[0].reason, "NotPlaced");
        assert_eq!(not_placed[0].last_transition_time, Time(at(40)), "the status is what it was");
    }

    #[test]
    fn a_node_that_is_left_out_is_said_once_and_since_when_whether_or_not_its_agent_runs() {
        let before = of_agent(&[], Standing::Counts, Agent::Runs, 1).unwrap();
        let out = |said: &[Condition], agent, second| {
            conditions(said, Standing::LeftOut, agent, Some(WITHIN), at(second))
        };
        let said = out(&before, Agent::JustAway, 40).unwrap();
        assert_eq!(said[0], before[0]);
        assert_eq!((said[1].type_.as_str(), said[1].status.as_str()), ("Steady", "False"));
        assert_eq!(said[1].last_transition_time, Time(at(40)));
        assert!(said[1].message.contains("more than 5 times within 600 s"), "{}", said[1].message);
        assert_eq!(out(&said, Agent::Runs, 50), None);
        let back = of_agent(&said, Standing::Counts, Agent::Runs, 60).unwrap();
        assert_eq!((back[1].status.as_str(), &back[1].last_transition_time), ("True", &Time(at(60))));
    }

    #[test]
    fn of_a_new_node_whose_agent_has_some_time_to_come_nothing_is_said() {
        assert_eq!(of_agent(&[], Standing::Joining, Agent::JustAway, 1), None);
        assert_eq!(of_agent(&[], Standing::Joining, Agent::Away, 31).map(|said| said.len()), Some(2));
    }

    #[test]
    fn the_order_in_which_they_come_back_is_nothing_new() {
        let mut said = of_agent(&[], Standing::Counts, Agent::Runs, 1).unwrap();
        said.reverse();
        assert_eq!(of_agent(&said, Standing::Counts, Agent::Runs, 2), None);
    }
}
