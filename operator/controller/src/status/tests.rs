use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_api::FailingNode;

use super::{pace::PATIENCE, *};

const SETTLED: Since = Since { seen: Duration::from_secs(60), written: Some(Duration::from_secs(60)) };
const FRESH: Since = Since { seen: Duration::from_millis(10), written: None };

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
    assert_eq!(pace(None, &next, FRESH), Pace::After(PATIENCE - Duration::from_millis(10)));
    assert_eq!(pace(None, &next, SETTLED), Pace::Now);
    assert_eq!(pace(None, &Case::new(rollout(2, 2)).status(), FRESH), Pace::Now);
    let stall = Stall { reason: Reason::InvalidProfile, message: String::new() };
    let stalled = Case::new(rollout(0, 2)).status_of(Outcome::Stalled(&stall));
    assert_eq!(pace(None, &stalled, FRESH), Pace::Now);
}

#[test]
fn nothing_is_written_where_nothing_changed() {
    let mut case = Case::new(rollout(2, 2));
    let written = case.status();
    case.previous = Some(written.clone());
    case.now.1 = Timestamp::from_second(9_000).unwrap();
    assert_eq!(pace(Some(&written), &case.status(), SETTLED), Pace::Same);
    let mut with_anothers = written.clone();
    let foreign = Condition { type_: "Clean".to_owned(), ..written.conditions[0].clone() };
    with_anothers.conditions.push(foreign);
    assert_eq!(pace(Some(&with_anothers), &written, SETTLED), Pace::Same, "another's condition is another's");
}

#[test]
fn transitions_are_written_at_once_and_counts_every_half_minute() {
    let recently = Since { seen: Duration::from_secs(60), written: Some(Duration::from_secs(10)) };
    let ready = Case::new(rollout(12, 12)).status();
    let more_nodes = Case::new(rollout(13, 13)).status();
    let distributing = Case::new(rollout(9, 12)).status();
    let further = Case::new(rollout(10, 12)).status();
    assert_eq!(pace(Some(&ready), &distributing, recently), Pace::Now);
    assert_eq!(pace(Some(&distributing), &ready, recently), Pace::Now);
    assert_eq!(pace(Some(&ready), &more_nodes, recently), Pace::After(Duration::from_secs(20)));
    assert_eq!(pace(Some(&distributing), &further, recently), Pace::After(Duration::from_secs(20)));
    assert_eq!(pace(Some(&distributing), &further, SETTLED), Pace::Now);
}

#[test]
fn an_edit_of_a_ready_profile_is_said_at_once_and_of_one_that_is_not_after_a_second() {
    let ready = Case::new(rollout(2, 2)).status();
    let distributing = Case::new(rollout(0, 2)).status();
    let mut edited = Case::new(rollout(0, 2));
    edited.generation = 2;
    edited.content = digest("b");
    let next = edited.status();
    let since = Since { seen: Duration::from_millis(10), written: Some(Duration::from_secs(60)) };
    assert_eq!(pace(Some(&ready), &next, since), Pace::Now);
    assert!(matches!(pace(Some(&distributing), &next, since), Pace::After(_)));
}
