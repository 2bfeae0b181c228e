use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_api::FailingNode;

use super::{
    pace::{COUNTS_BY_NODES_EVERY, COUNTS_EVERY, PATIENCE, SET_EVERY, SET_LASTS},
    *,
};

const SECOND: Duration = Duration::from_secs(1);

fn owner() -> Owner {
    Owner::namespaced("shop", "web").unwrap()
}

fn digest(content: &str) -> Digest {
    Digest::of(content.as_bytes())
}

fn rollout(ready: u32, desired: u32) -> Rollout {
    Rollout { ready, desired, ..Rollout::default() }
}

struct Case {
    generation: i64,
    content: Digest,
    served: Option<Digest>,
    rollout: Rollout,
    previous: Option<ProfileStatus>,
    now: (Instant, Timestamp),
}

impl Case {
    fn new(rollout: Rollout) -> Self {
        Self {
            generation: 1,
            content: digest("a"),
            served: Some(digest("a")),
            rollout,
            previous: None,
            now: (Instant::now(), Timestamp::from_second(1_000).unwrap()),
        }
    }

    fn status_of(&self, outcome: Outcome<'_>) -> ProfileStatus {
        Facts {
            owner: &owner(),
            generation: self.generation,
            outcome,
            served: self.served,
            revisions: vec![(digest("a"), 1)],
            rollout: &self.rollout,
            trouble: None,
            subdirectory: "profiles",
            previous: self.previous.as_ref(),
            now: self.now,
        }
        .status()
    }

    fn status(&self) -> ProfileStatus {
        self.status_of(Outcome::Resolved { digest: &self.content, mode: Some(Mode::Enforce), warnings: &[] })
    }
}

fn summary(status: &ProfileStatus) -> Vec<(&str, &str, &str)> {
    status
        .conditions
        .iter()
        .map(|condition| (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_str()))
        .collect()
}

#[test]
fn ready_is_only_what_is_on_every_node_that_counts() {
    let status = Case::new(rollout(12, 12)).status();
    assert_eq!(summary(&status), [("Ready", "True", "Distributed")]);
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.conditions[0].observed_generation, Some(1));
    assert_eq!(status.nodes.unwrap().summary, "12/12");
    assert_eq!(status.localhost_profile.as_deref(), Some("profiles/shop/web.json"));
    let pinned = format!("profiles/shop/web@{}.json", digest("a").short());
    assert_eq!(status.pinned_localhost_profile.as_deref(), Some(pinned.as_str()));

    let status = Case::new(rollout(11, 12)).status();
    assert_eq!(
        summary(&status),
        [("Ready", "False", "Distributing"), ("Reconciling", "True", "Distributing")]
    );
}

#[test]
fn no_node_is_not_ready() {
    let status = Case::new(rollout(0, 0)).status();
    assert_eq!(summary(&status), [("Ready", "False", "NoNodes"), ("Reconciling", "True", "NoNodes")]);
}

#[test]
fn a_failing_node_is_named_with_its_cause() {
    let mut rollout = rollout(11, 12);
    rollout.failing = 1;
    rollout.failing_nodes = vec![FailingNode {
        node: "n1".to_owned(),
        reason: "NoSpace".to_owned(),
        message: "shop/web.json: no space left on device".to_owned(),
    }];
    let status = Case::new(rollout).status();
    assert_eq!(summary(&status)[0], ("Ready", "False", "NodesFailing"));
    let expected = "1 of 12 nodes failed; n1: shop/web.json: no space left on device";
    assert_eq!(status.conditions[0].message, expected);
    assert_eq!(status.failing_nodes.len(), 1);
}

#[test]
fn a_stalled_profile_says_what_goes_on_being_served() {
    let stall = Stall { reason: Reason::InvalidProfile, message: "spec.profile: no".to_owned() };
    let mut case = Case::new(rollout(12, 12));
    let status = case.status_of(Outcome::Stalled(&stall));
    assert_eq!(
        summary(&status),
        [("Ready", "False", "InvalidProfile"), ("Stalled", "True", "InvalidProfile")]
    );
    assert_eq!(status.digest, Some(digest("a")));
    assert!(status.conditions[0].message.ends_with(&digest("a").short()), "{status:?}");
    case.served = None;
    let status = case.status_of(Outcome::Stalled(&stall));
    assert_eq!(status.conditions[1].message, "spec.profile: no");
    assert_eq!((status.digest, status.localhost_profile, status.nodes), (None, None, None));
}

#[test]
fn a_transition_time_stays_until_the_status_flips() {
    let mut case = Case::new(rollout(12, 12));
    let first = case.status();
    case.previous = Some(first.clone());
    case.generation = 2;
    case.now.1 = Timestamp::from_second(2_000).unwrap();
    let second = case.status();
    assert_eq!(second.conditions[0].observed_generation, Some(2));
    assert_eq!(second.conditions[0].last_transition_time, first.conditions[0].last_transition_time);
    case.rollout = rollout(11, 12);
    let third = case.status();
    assert_eq!(third.conditions[0].last_transition_time.0.as_second(), 2_000);
}

#[test]
fn a_standing_ready_outlives_unknown_digests_while_their_grace_lasts() {
    let mut case = Case::new(rollout(12, 12));
    let standing = case.status();
    case.rollout = rollout(11, 12);
    case.rollout.doubtful_until = Some(case.now.0 + Duration::from_secs(5));
    assert_eq!(summary(&case.status())[0].1, "False", "nothing stood, so nothing stands");
    case.previous = Some(standing);
    assert_eq!(summary(&case.status()), [("Ready", "True", "Distributed")]);
    case.generation = 2;
    assert_eq!(summary(&case.status())[0].1, "False", "what stands is of another generation");
    case.generation = 1;
    case.now.0 += Duration::from_secs(5);
    assert_eq!(summary(&case.status())[0].1, "False", "the grace is over");
}

#[test]
fn a_new_profile_that_becomes_ready_within_a_second_is_written_once() {
    let next = Case::new(rollout(0, 2)).status();
    assert_eq!(Change::between(None, &next, None), Change::Unsettled);
    let ready = Case::new(rollout(2, 2)).status();
    assert_eq!(Change::between(None, &ready, None), Change::Own);
    let stall = Stall { reason: Reason::InvalidProfile, message: String::new() };
    let stalled = Case::new(rollout(0, 2)).status_of(Outcome::Stalled(&stall));
    assert_eq!(Change::between(None, &stalled, None), Change::Own);
}

#[test]
fn nothing_is_written_where_nothing_changed() {
    let mut case = Case::new(rollout(2, 2));
    let written = case.status();
    case.previous = Some(written.clone());
    case.now.1 = Timestamp::from_second(9_000).unwrap();
    assert_eq!(Change::between(Some(&written), &case.status(), None), Change::Nothing);
    let mut with_anothers = written.clone();
    let foreign = Condition { type_: "Clean".to_owned(), ..written.conditions[0].clone() };
    with_anothers.conditions.push(foreign);
    let change = Change::between(Some(&with_anothers), &written, None);
    assert_eq!(change, Change::Nothing, "another's condition is another's");
}

#[test]
fn what_a_profile_becomes_ready_with_first_is_its_own_and_what_nodes_lose_of_it_is_theirs() {
    let ready = Case::new(rollout(12, 12)).status();
    let distributing = Case::new(rollout(9, 12)).status();
    let further = Case::new(rollout(10, 12)).status();
    let more_nodes = Case::new(rollout(13, 13)).status();
    let mut failing = rollout(11, 12);
    failing.failing = 1;
    failing.failing_nodes =
        vec![FailingNode { node: "n".to_owned(), reason: "Io".to_owned(), message: String::new() }];
    let failing = Case::new(failing).status();
    let was_ready = content(&ready);
    let change = |one: &ProfileStatus, other, was_ready| Change::between(Some(one), other, was_ready);
    assert_eq!(change(&distributing, &ready, None), Change::Own);
    assert_eq!(change(&distributing, &ready, Some((0, digest("a")))), Change::Own, "of another generation");
    assert_eq!(change(&distributing, &further, None), Change::Counts);
    assert_eq!(change(&distributing, &failing, None), Change::ByNodes);
    assert_eq!(change(&ready, &distributing, was_ready), Change::ByNodes);
    assert_eq!(change(&distributing, &further, was_ready), Change::CountsByNodes);
    assert_eq!(change(&distributing, &ready, was_ready), Change::ByNodes);
    assert_eq!(change(&ready, &more_nodes, was_ready), Change::NodeSet);
}

#[test]
fn an_edit_of_a_ready_profile_is_said_at_once_and_of_one_that_is_not_after_a_second() {
    let ready = Case::new(rollout(2, 2)).status();
    let distributing = Case::new(rollout(0, 2)).status();
    let mut edited = Case::new(rollout(0, 2));
    edited.generation = 2;
    edited.content = digest("b");
    let next = edited.status();
    assert_eq!(Change::between(Some(&ready), &next, content(&ready)), Change::Own);
    assert_eq!(Change::between(Some(&distributing), &next, None), Change::Unsettled);
}

#[test]
fn after_a_revision_is_written_a_second_passes_until_nodes_are_named() {
    let mut written = Case::new(rollout(0, 2));
    written.served = None;
    let written = written.status();
    assert_eq!(summary(&written)[0], ("Ready", "False", "Publishing"));
    let distributing = Case::new(rollout(1, 2)).status();
    assert_eq!(Change::between(Some(&written), &distributing, None), Change::Unsettled);
}

#[test]
fn each_change_has_its_time() {
    let now = Instant::now() + SET_EVERY;
    let times = Times { seen: now, written: None, set_changed: now, by_nodes: None, share: 0.25 };
    let due = |change: Change, times: &Times| change.due(times, now);
    assert_eq!(due(Change::Nothing, &times), None);
    assert_eq!(due(Change::Own, &times), Some(now));
    assert_eq!(due(Change::Unsettled, &times), Some(now + PATIENCE));
    assert_eq!(due(Change::Counts, &times), Some(now + COUNTS_EVERY));
    assert_eq!(due(Change::ByNodes, &times), Some(now));
    assert_eq!(due(Change::CountsByNodes, &times), Some(now + COUNTS_BY_NODES_EVERY));
    assert_eq!(due(Change::NodeSet, &times), Some(now + SET_LASTS + SET_EVERY / 4));
    let written = Times { written: Some(now - 20 * SECOND), by_nodes: Some(now + SECOND), ..times };
    assert_eq!(due(Change::Own, &written), Some(now));
    assert_eq!(due(Change::Counts, &written), Some(now + COUNTS_EVERY - 20 * SECOND));
    assert_eq!(due(Change::ByNodes, &written), Some(now + SECOND));
    assert_eq!(due(Change::CountsByNodes, &written), Some(now + COUNTS_BY_NODES_EVERY - 20 * SECOND));
    assert_eq!(due(Change::NodeSet, &written), Some(now + SET_EVERY - 20 * SECOND));
    let first = Times { share: 0.0, ..written };
    assert_eq!(due(Change::NodeSet, &first), Some(now + SET_EVERY - 20 * SECOND));
}

#[test]
fn profiles_share_ten_minutes_among_them() {
    let shares: Vec<f64> = (0..1_000).map(|number| share_of(&format!("uid-{number}"))).collect();
    for tenth in 0..10 {
        let from = f64::from(tenth) / 10.0;
        let within = shares.iter().filter(|share| (from..from + 0.1).contains(*share)).count();
        assert!((60..150).contains(&within), "{within} of 1000 from {from}");
    }
    assert!((share_of("uid-1") - share_of("uid-1")).abs() < f64::EPSILON);
}
