use portcullis_api::{FailureReason, RevisionMeta};
use portcullis_profile::Digest;
use serde_json::json;

use super::*;

fn owner(name: &str) -> Owner {
    Owner::namespaced("shop", name).unwrap()
}

fn meta(name: &str, content: &str, sequence: i64) -> RevisionMeta {
    RevisionMeta {
        owner: owner(name),
        owner_uid: "u".to_owned(),
        digest: Digest::of(content.as_bytes()),
        sequence,
    }
}

fn failure(name: &str) -> NodeFailure {
    NodeFailure {
        kind: portcullis_api::ProfileKind::SeccompProfile,
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
        path: format!("shop/{name}.json"),
        reason: FailureReason::NoSpace,
        message: "no space left on device".to_owned(),
    }
}

/// A cluster in which everything is in order on node `a`, with one profile, `web`, of content `a`.
struct Cluster {
    log: ChangeLog,
    nodes: Nodes,
    now: Instant,
}

impl Cluster {
    fn new() -> Self {
        Self::with(ChangeLog::default())
    }

    fn with(mut log: ChangeLog) -> Self {
        log.apply(&meta("web", "a", 1));
        log.first_list_done();
        let mut cluster = Self { log, nodes: Nodes::default(), now: Instant::now() };
        let daemon_set = json!({"spec": {"selector": {}, "template": {"spec": {
            "containers": [], "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"operator": "Exists"}],
        }}}});
        let placement = Placement::of(serde_json::from_value(daemon_set).unwrap());
        cluster.nodes.place(Some(placement), &cluster.log, cluster.now);
        cluster.add("a");
        cluster
    }

    /// A node that is up to date.
    fn add(&mut self, name: &str) -> Affected {
        self.node(name, true).and(self.agent(name, true)).and(self.report(name, |_| {}))
    }

    fn node(&mut self, name: &str, ready: bool) -> Affected {
        let facts = NodeFacts {
            name: name.to_owned(),
            uid: format!("node-{name}"),
            ready,
            linux: true,
            labels: [("kubernetes.io/os".to_owned(), "linux".to_owned())].into(),
            taints: vec![],
        };
        self.nodes.apply_node(facts, &self.log, self.now)
    }

    fn agent(&mut self, node: &str, ready: bool) -> Affected {
        let pod = AgentPod { node: Some(node.to_owned()), ready };
        self.nodes.apply_agent(format!("pod-{node}"), pod, &self.log, self.now)
    }

    fn report(&mut self, name: &str, change: impl FnOnce(&mut Report)) -> Affected {
        let mut report = Report {
            uid: None,
            node_uid: Some(format!("node-{name}")),
            agent_pod_uid: Some(format!("pod-{name}")),
            digest: Some(self.log.set().digest()),
            failures: vec![],
            failures_truncated: false,
        };
        change(&mut report);
        self.nodes.report(name, Some(report), &self.log, self.now)
    }

    fn write(&mut self, meta: &RevisionMeta) -> Affected {
        self.log.apply(meta);
        self.nodes.log_grew(&self.log, self.now)
    }

    fn rollout(&self, name: &str, content: &str) -> Rollout {
        let digest = Digest::of(content.as_bytes());
        self.nodes.rollout(Wanted { owner: &owner(name), digest: &digest }, &self.log, self.now)
    }

    fn counts(&self, name: &str, content: &str) -> (u32, u32) {
        let rollout = self.rollout(name, content);
        (rollout.ready, rollout.desired)
    }
}

fn only(name: &str) -> Affected {
    Affected::Owners([owner(name)].into())
}

#[test]
fn a_node_has_a_profile_once_it_reports_the_change() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.counts("web", "a"), (1, 1));
    cluster.write(&meta("web", "b", 2));
    assert_eq!(cluster.counts("web", "b"), (0, 1));
    assert_eq!(cluster.report("a", |_| {}), only("web"));
    assert_eq!(cluster.counts("web", "b"), (1, 1));
}

#[test]
fn content_that_is_not_the_current_revision_is_nowhere() {
    let cluster = Cluster::new();
    assert_eq!(cluster.counts("web", "other"), (0, 1));
    assert_eq!(cluster.counts("db", "a"), (0, 1));
}

#[test]
fn a_profile_does_not_wait_for_the_changes_of_others() {
    let mut cluster = Cluster::new();
    cluster.write(&meta("db", "x", 1));
    assert_eq!(cluster.counts("web", "a"), (1, 1));
    assert_eq!(cluster.counts("db", "x"), (0, 1));
}

#[test]
fn a_failure_is_the_profiles_that_it_names() {
    let mut cluster = Cluster::new();
    cluster.write(&meta("db", "x", 1));
    let affected = cluster.report("a", |report| report.failures = vec![failure("web")]);
    assert_eq!(affected, Affected::Owners([owner("db"), owner("web")].into()));
    let rollout = cluster.rollout("web", "a");
    assert_eq!((rollout.ready, rollout.failing), (0, 1));
    assert_eq!(rollout.failing_nodes[0].message, "shop/web.json: no space left on device");
    assert_eq!(cluster.counts("db", "x"), (1, 1));
    assert_eq!(cluster.report("a", |_| {}), only("web"));
    assert_eq!(cluster.counts("web", "a"), (1, 1));
}

#[test]
fn at_most_ten_failing_nodes_are_listed_and_all_are_counted() {
    let mut cluster = Cluster::new();
    for number in 0..12 {
        let name = format!("n{number}");
        cluster.add(&name);
        cluster.report(&name, |report| report.failures = vec![failure("web")]);
    }
    let rollout = cluster.rollout("web", "a");
    assert_eq!((rollout.ready, rollout.desired, rollout.failing), (1, 13, 12));
    assert_eq!(rollout.failing_nodes.len(), 10);
}

#[test]
fn truncated_failures_count_for_nothing() {
    let mut cluster = Cluster::new();
    let affected = cluster.report("a", |report| report.failures_truncated = true);
    assert_eq!(affected, Affected::Everything);
    let rollout = cluster.rollout("web", "a");
    assert_eq!((rollout.ready, rollout.desired, rollout.doubtful_until), (0, 1, None));
}

#[test]
fn a_report_of_an_agent_pod_that_is_gone_or_not_ready_counts_for_nothing() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.agent("a", false), Affected::Everything);
    assert_eq!(cluster.counts("web", "a"), (0, 1));
    assert_eq!(cluster.agent("a", true), Affected::Everything);
    assert_eq!(cluster.counts("web", "a"), (1, 1));
    assert_eq!(cluster.nodes.remove_agent("pod-a", &cluster.log, cluster.now), Affected::Everything);
    assert_eq!(cluster.counts("web", "a"), (0, 1));
    // The re-imaged node: the node and its report are still there, the agent's new pod has said nothing yet.
    let pod = AgentPod { node: Some("a".to_owned()), ready: true };
    cluster.nodes.apply_agent("pod-a-2".to_owned(), pod, &cluster.log, cluster.now);
    assert_eq!(cluster.counts("web", "a"), (0, 1));
    cluster.report("a", |report| {
        report.agent_pod_uid = Some("pod-a-2".to_owned());
        report.digest = None;
    });
    assert_eq!(cluster.counts("web", "a"), (0, 1), "it has counted before, so it does not join again");
    cluster.report("a", |report| report.agent_pod_uid = Some("pod-a-2".to_owned()));
    assert_eq!(cluster.counts("web", "a"), (1, 1));
}

#[test]
fn an_agent_pod_of_another_node_vouches_for_nothing() {
    let mut cluster = Cluster::new();
    cluster.node("b", true);
    cluster.report("b", |report| report.agent_pod_uid = Some("pod-a".to_owned()));
    assert_eq!(cluster.counts("web", "a"), (1, 2));
}

#[test]
fn a_joining_node_counts_from_its_first_report() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.node("b", true), Affected::Nothing);
    assert_eq!(cluster.agent("b", true), Affected::Nothing);
    assert_eq!(cluster.counts("web", "a"), (1, 1));
    assert_eq!(cluster.report("b", |_| {}), Affected::Everything);
    assert_eq!(cluster.counts("web", "a"), (2, 2));
}

#[test]
fn a_report_of_a_namesakes_node_says_nothing_of_a_new_one() {
    let mut cluster = Cluster::new();
    cluster.nodes.remove_node("a", &cluster.log, cluster.now);
    assert_eq!(cluster.counts("web", "a"), (0, 0));
    let renewed = NodeFacts {
        name: "a".to_owned(),
        uid: "node-a-2".to_owned(),
        ready: true,
        linux: true,
        labels: [("kubernetes.io/os".to_owned(), "linux".to_owned())].into(),
        taints: vec![],
    };
    cluster.nodes.apply_node(renewed, &cluster.log, cluster.now);
    assert_eq!(cluster.counts("web", "a"), (0, 0));
    assert_eq!(cluster.nodes.views().next().unwrap().1.standing, Standing::Joining);
}

#[test]
fn a_node_that_is_not_ready_does_not_count_until_it_is() {
    let mut cluster = Cluster::new();
    cluster.add("b");
    cluster.write(&meta("web", "b", 2));
    cluster.report("a", |_| {});
    assert_eq!(cluster.counts("web", "b"), (1, 2));
    assert_eq!(cluster.node("b", false), Affected::Everything);
    assert_eq!(cluster.counts("web", "b"), (1, 1));
    cluster.node("b", true);
    assert_eq!(cluster.counts("web", "b"), (1, 2));
}

#[test]
fn without_the_daemon_set_no_node_counts() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.nodes.place(None, &cluster.log, cluster.now), Affected::Everything);
    assert_eq!(cluster.counts("web", "a"), (0, 0));
}

#[test]
fn an_agent_that_is_ahead_of_the_controllers_watch_is_caught_up_with() {
    let mut cluster = Cluster::new();
    let mut ahead = ChangeLog::default();
    ahead.apply(&meta("web", "a", 1));
    ahead.apply(&meta("db", "x", 1));
    let digest = ahead.set().digest();
    assert_eq!(cluster.report("a", |report| report.digest = Some(digest)), Affected::Nothing);
    let rollout = cluster.rollout("web", "a");
    assert_eq!((rollout.ready, rollout.desired), (0, 1));
    assert_eq!(rollout.doubtful_until, Some(cluster.now + UNKNOWN_GRACE));
    assert_eq!(cluster.write(&meta("db", "x", 1)), only("db"));
    assert_eq!(cluster.counts("web", "a"), (1, 1));
    assert_eq!(cluster.counts("db", "x"), (1, 1));
    assert_eq!(cluster.nodes.tick(cluster.now + UNKNOWN_GRACE), Affected::Nothing);
}

#[test]
fn an_unknown_digest_counts_for_nothing_once_its_grace_is_over() {
    let mut cluster = Cluster::new();
    let foreign = Some("sha256:".to_owned() + &"0".repeat(64)).map(|text| text.parse().unwrap());
    cluster.report("a", |report| report.digest = foreign);
    assert_eq!(cluster.nodes.tick(cluster.now), Affected::Nothing);
    assert_eq!(cluster.nodes.tick(cluster.now + UNKNOWN_GRACE), Affected::Everything);
    assert_eq!(cluster.nodes.tick(cluster.now + UNKNOWN_GRACE), Affected::Nothing, "only once");
}

#[test]
fn a_new_agent_with_an_unknown_digest_gets_no_grace_but_the_leaders() {
    let mut cluster = Cluster::new();
    let pod = AgentPod { node: Some("a".to_owned()), ready: true };
    cluster.nodes.apply_agent("pod-a-2".to_owned(), pod, &cluster.log, cluster.now);
    let affected = cluster.report("a", |report| {
        report.agent_pod_uid = Some("pod-a-2".to_owned());
        report.digest = Some(format!("sha256:{}", "0".repeat(64)).parse().unwrap());
    });
    assert_eq!(affected, Affected::Everything);
    assert_eq!(
        cluster.rollout("web", "a").doubtful_until,
        Some(cluster.now),
        "the leader's grace is over now"
    );
}

#[test]
fn a_set_that_comes_back_to_an_earlier_digest_takes_its_nodes_along() {
    let mut cluster = Cluster::new();
    cluster.write(&meta("db", "x", 1));
    let gone = cluster.log.remove(&owner("db"), &Digest::of(b"x"));
    assert!(gone);
    assert_eq!(cluster.nodes.log_grew(&cluster.log, cluster.now), only("db"));
    assert_eq!(cluster.nodes.views().next().unwrap().1.progress, Progress::Known(2));
}

#[test]
fn a_node_that_is_further_behind_than_the_log_reaches_has_nothing_until_it_reports() {
    let mut cluster = Cluster::with(ChangeLog::with_capacity(3));
    cluster.write(&meta("db", "x", 1));
    assert_eq!(cluster.counts("db", "x"), (0, 1));
    for number in 0..3 {
        cluster.write(&meta(&format!("other{number}"), "y", 1));
    }
    assert_eq!(cluster.log.last_change(&owner("db")), 0, "it is forgotten when db changed");
    assert_eq!(cluster.counts("db", "x"), (0, 1));
    assert_eq!(
        cluster.counts("web", "a"),
        (0, 1),
        "whether it changed since the node's report is forgotten too"
    );
    assert_eq!(cluster.report("a", |_| {}), Affected::Everything);
    assert_eq!(cluster.counts("db", "x"), (1, 1));
    assert_eq!(cluster.counts("web", "a"), (1, 1));
}

#[test]
fn the_longest_failure_that_a_report_may_hold_fits_a_profiles_status() {
    let mut cluster = Cluster::new();
    cluster.report("a", |report| {
        report.failures = vec![NodeFailure {
            path: "é".repeat(512),
            message: "é".repeat(portcullis_api::MAX_MESSAGE_LENGTH),
            ..failure("web")
        }];
    });
    let rollout = cluster.rollout("web", "a");
    assert_eq!(rollout.failing_nodes[0].message.chars().count(), portcullis_api::MAX_MESSAGE_LENGTH);
}
