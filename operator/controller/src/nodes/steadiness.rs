//! Whether a node's word lasts: one that falls back again and again is left out until it has not for a while.

use std::{collections::VecDeque, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_api::NodeConditionType;
use tokio::time::Instant;

use super::{Progress, conditions::find};
use crate::changelog::Index;

/// How often a node's word may fall back within [`WITHIN`]: an agent that is made anew, or a disk that is full, takes one or two.
pub(super) const MOST_FALLS: usize = 5;
/// See [`MOST_FALLS`].
pub(super) const WITHIN: Duration = Duration::from_secs(600);

/// What a node's reports did lately.
#[derive(Debug, Default)]
pub(super) struct Steadiness {
    /// Up to where its agent last reported to be.
    reached: Option<Index>,
    /// Whether its agent has since reported what is not known.
    is_unknown: bool,
    /// When its word fell back, the oldest first; one more than [`MOST_FALLS`] at most.
    falls: VecDeque<Instant>,
    left_out: bool,
}

impl Steadiness {
    /// What an earlier leader left written of the node.
    pub(super) fn as_said(conditions: &[Condition], now: Instant) -> Self {
        let left_out =
            find(conditions, NodeConditionType::Steady).is_some_and(|steady| steady.status == "False");
        let falls = left_out.then_some(now).into_iter().collect();
        Self { falls, left_out, ..Self::default() }
    }

    /// Takes in how far a node is. `reported`: its agent says so, rather than that the controller's own watch went on; `lost`: it now
    /// names, as failed, a file that it has reported to have.
    pub(super) fn observe(
        &mut self,
        progress: &Progress,
        reported: bool,
        lost: impl FnOnce(Index) -> bool,
        now: Instant,
    ) {
        // A set of files that comes back to what it was takes along whoever has not moved, and who then follows step by step falls nowhere.
        if !reported && !self.is_unknown {
            return;
        }
        // Of an agent that is ahead nobody knows yet what it was to have.
        let lost = matches!(progress, Progress::Known(_)) && self.reached.is_some_and(lost);
        let fell = match (self.reached, progress) {
            (Some(reached), Progress::Known(index)) => {
                *index < reached || (self.is_unknown && *index == reached)
            }
            // An agent may be ahead of the controller's own watch. Where it comes back to shows whether it was.
            (_, Progress::Unknown) => false,
            (reached, Progress::NoReport | Progress::Truncated) => reached.is_some(),
            (None, Progress::Known(_)) => false,
        };
        match progress {
            Progress::Known(index) => (self.reached, self.is_unknown) = (Some(*index), false),
            Progress::Unknown => self.is_unknown = self.reached.is_some(),
            Progress::NoReport | Progress::Truncated => (self.reached, self.is_unknown) = (None, false),
        }
        if fell || lost {
            self.fell(now);
        }
    }

    /// Whether the node is left out.
    pub(super) const fn is_left_out(&self) -> bool {
        self.left_out
    }

    /// Time has passed. Says whether the node is to count again, for its word has lasted so long.
    pub(super) fn recovers(&mut self, steady: Duration, now: Instant) -> bool {
        let is_steady = self.falls.back().is_none_or(|last| now.saturating_duration_since(*last) >= steady);
        let recovers = self.left_out && is_steady;
        if recovers {
            self.left_out = false;
            self.falls.clear();
        }
        recovers
    }

    fn fell(&mut self, now: Instant) {
        self.falls.retain(|fall| now.saturating_duration_since(*fall) < WITHIN);
        self.falls.push_back(now);
        if self.falls.len() > MOST_FALLS {
            self.left_out = true;
            self.falls.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const STEADY: Duration = Duration::from_secs(600);

    struct Node {
        steadiness: Steadiness,
        now: Instant,
    }

    impl Node {
        fn new() -> Self {
            Self { steadiness: Steadiness::default(), now: Instant::now() }
        }

        fn reports(&mut self, progress: &Progress) -> bool {
            self.steadiness.observe(progress, true, |_| false, self.now);
            self.steadiness.is_left_out()
        }
    }

    #[test]
    fn six_falls_within_ten_minutes_leave_a_node_out_and_ten_steady_minutes_take_it_back() {
        for low in [Progress::Known(4), Progress::Unknown, Progress::Truncated, Progress::NoReport] {
            let mut node = Node::new();
            assert!(!node.reports(&Progress::Known(5)));
            for fall in 1..=6 {
                node.now += 60 * SECOND;
                node.reports(&low);
                node.now += SECOND;
                assert_eq!(node.reports(&Progress::Known(5)), fall == 6, "{low:?} for the {fall}. time");
            }
            node.now += STEADY - 2 * SECOND;
            assert!(!node.steadiness.recovers(STEADY, node.now));
            node.now += 2 * SECOND;
            assert!(node.steadiness.recovers(STEADY, node.now));
            assert!(!node.steadiness.recovers(STEADY, node.now), "only once");
            node.reports(&low);
            assert!(!node.reports(&Progress::Known(5)), "it begins anew");
        }
    }

    #[test]
    fn falls_that_are_far_apart_leave_nobody_out() {
        let mut node = Node::new();
        node.reports(&Progress::Known(5));
        for _ in 0..100 {
            node.now += WITHIN / 5;
            node.reports(&Progress::Known(4));
            assert!(!node.reports(&Progress::Known(5)));
        }
    }

    #[test]
    fn a_node_that_is_left_out_stays_so_while_it_goes_on() {
        let mut node = Node::new();
        for _ in 0..7 {
            node.reports(&Progress::Known(5));
            node.reports(&Progress::Known(4));
        }
        for _ in 0..100 {
            node.now += STEADY - SECOND;
            assert!(!node.steadiness.recovers(STEADY, node.now));
            node.reports(&Progress::Known(5));
            assert!(node.reports(&Progress::Known(4)));
        }
    }

    /// An agent's watch is often some milliseconds ahead of the controller's, and a controller's may stand for a minute.
    #[test]
    fn an_agent_that_is_ahead_of_the_controller_falls_nowhere() {
        let mut node = Node::new();
        for index in 0..100 {
            node.reports(&Progress::Known(2 * index));
            node.reports(&Progress::Unknown);
            node.steadiness.observe(&Progress::Known(2 * index + 1), false, |_| false, node.now);
            assert!(!node.steadiness.is_left_out());
        }
        assert_eq!(node.steadiness.falls.len(), 0);
    }

    /// A profile that comes and goes leaves the set as it was: who did not move is taken to its end, and then reports the way there.
    #[test]
    fn an_agent_that_follows_a_set_which_came_back_falls_nowhere() {
        let mut node = Node::new();
        for round in 0..100 {
            node.reports(&Progress::Known(2 * round));
            node.steadiness.observe(&Progress::Known(2 * round + 2), false, |_| false, node.now);
            node.reports(&Progress::Known(2 * round + 1));
        }
        assert_eq!(node.steadiness.falls.len(), 0);
    }

    #[test]
    fn a_file_that_it_had_and_lost_is_a_fall_and_one_that_it_never_had_is_none() {
        let mut node = Node::new();
        let changed_at = |change: Index| move |reached: Index| change <= reached;
        node.reports(&Progress::Known(5));
        node.steadiness.observe(&Progress::Known(6), true, changed_at(6), node.now);
        assert_eq!(node.steadiness.falls.len(), 0);
        node.steadiness.observe(&Progress::Known(6), true, changed_at(6), node.now);
        assert_eq!(node.steadiness.falls.len(), 1);
    }

    #[test]
    fn what_an_earlier_leader_said_holds() {
        let condition = |status: &str| {
            let json = serde_json::json!({
                "type": "Steady", "status": status, "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            vec![serde_json::from_value::<Condition>(json).unwrap()]
        };
        let now = Instant::now();
        let mut left_out = Steadiness::as_said(&condition("False"), now);
        assert!(left_out.is_left_out() && !left_out.recovers(STEADY, now));
        assert!(left_out.recovers(STEADY, now + STEADY));
        assert!(!Steadiness::as_said(&condition("True"), now).is_left_out());
        assert!(!Steadiness::as_said(&[], now).is_left_out());
    }
}
