use std::time::Duration;

use portcullis_api::{FailureReason, RevisionMeta};
use portcullis_profile::Digest;
use serde_json::json;

use super::{steadiness::MOST_FALLS, *};

const FALL_LASTS: Duration = Duration::from_secs(5);
const STEADY_FOR: Duration = Duration::from_secs(600);

fn owner(name: &str) -> Owner {
    Owner::namespaced("shop", name).unwrap()
}

fn meta(name: &str, content: &str, sequence: i64) -> RevisionMeta {
    RevisionMeta {
        owner: owner(name),
        owner_uid: "u".to_owned(),
        digest: Digest::of(content.as_bytes()),
        sequence,
        revoked: None,
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
        let mut cluster =
            Self { log, nodes: Nodes::new("profiles".to_owned(), Lasting::default()), now: Instant::now() };
        let daemon_set = json!({"spec": {"selector": {}, "template": {"spec": {
            "containers": [], "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"operator": "Exists"}],
        }}}});
        let placement = Placement::of(serde_json::from_value(daemon_set).unwrap());
        cluster.nodes.place(Some(placement), &cluster.log, cluster.now);
        cluster.add("a");
        cluster.tick();
        cluster
    }

    /// What profiles are told as time passes.
    fn tick(&mut self) -> Affected {
        self.nodes.tick(&self.log, self.now)
    }

    /// What they are told once a fall has lasted.
    fn lasts(&mut self) -> Affected {
        self.now += FALL_LASTS;
        self.tick()
    }

    /// A node that is up to date.
    fn add(&mut self, name: &str) -> Affected {
        self.node(name, true).and(self.agent(name, true)).and(self.report(name, |_| {}))
    }

    fn node(&mut self, name: &str, ready: bool) -> Affected {
        self.machine(name, &format!("machine-{name}"), "boot-1", ready)
    }

    fn machine(&mut self, name: &str, id: &str, boot: &str, ready: bool) -> Affected {
        let facts = NodeFacts {
            name: name.to_owned(),
            uid: format!("node-{name}"),
            machine: Machine { id: id.to_owned(), boot: boot.to_owned() },
            ready,
            linux: true,
            labels: [("kubernetes.io/os".to_owned(), "linux".to_owned())].into(),
            taints: vec![],
        };
        self.nodes.apply_node(facts, &self.log, self.now)
    }

    fn standing(&self, name: &str) -> Standing {
        self.nodes.standing(name).unwrap()
    }

    fn agent(&mut self, node: &str, ready: bool) -> Affected {
        let pod = AgentPod { node: Some(node.to_owned()), ready };
        self.nodes.apply_agent(format!("pod-{node}"), pod, &self.log, self.now)
    }

    fn report(&mut self, name: &str, change: impl FnOnce(&mut Report)) -> Affected {
        let mut report = Report {
            node_uid: Some(format!("node-{name}")),
            agent_pod_uid: Some(format!("pod-{name}")),
            boot: "boot-1".to_owned(),
            subdirectory: Some("profiles".to_owned()),
            digest: Some(self.log.set().digest()),
            ..Report::default()
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
    assert_eq!(affected, only("db"));
    assert_eq!(cluster.lasts(), only("web"), "which it had");
    let rollout = cluster.rollout("web", "a");
    assert_eq!((rollout.ready, rollout.failing, rollout.doubtful_until), (0, 1, None));
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
    cluster.report("a", |report| report.failures_truncated = true);
    assert_eq!(cluster.lasts(), Affected::Everything);
    let rollout = cluster.rollout("web", "a");
    assert_eq!((rollout.ready, rollout.desired, rollout.doubtful_until), (0, 1, None));
}

#[test]
fn what_was_reported_stays_true_without_an_agent_and_a_new_revision_waits_for_one() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.agent("a", false), Affected::Nothing);
    assert_eq!(cluster.nodes.remove_agent("pod-a", &cluster.log, cluster.now), Affected::Nothing);
    assert_eq!(cluster.counts("web", "a"), (1, 1));
    assert!(!cluster.nodes.views().next().unwrap().1.has_agent);
    cluster.write(&meta("web", "b", 2));
    assert_eq!(cluster.counts("web", "b"), (0, 1));
    assert!(cluster.rollout("web", "b").waiting[0].contains("no agent runs there"));
    // The next agent's pod vouches for nothing before it has reported, and withdraws nothing.
    let pod = AgentPod { node: Some("a".to_owned()), ready: true };
    assert_eq!(
        cluster.nodes.apply_agent("pod-a-2".to_owned(), pod, &cluster.log, cluster.now),
        Affected::Nothing
    );
    assert_eq!(cluster.counts("web", "b"), (0, 1));
    let affected = cluster.report("a", |report| report.agent_pod_uid = Some("pod-a-2".to_owned()));
    assert_eq!(affected, only("web"));
    assert_eq!(cluster.counts("web", "b"), (1, 1));
    assert!(cluster.nodes.views().next().unwrap().1.has_agent);
}

#[test]
fn a_roll_out_of_every_agent_concerns_no_profile() {
    let mut cluster = Cluster::new();
    cluster.add("b");
    for node in ["a", "b"] {
        let (log, now) = (&cluster.log, cluster.now);
        let mut affected = cluster.nodes.remove_agent(&format!("pod-{node}"), log, now);
        let pod = AgentPod { node: Some(node.to_owned()), ready: true };
        affected = affected.and(cluster.nodes.apply_agent(format!("new-{node}"), pod, log, now));
        let new = |report: &mut Report| report.agent_pod_uid = Some(format!("new-{node}"));
        assert_eq!(affected.and(cluster.report(node, new)), Affected::Nothing);
        assert_eq!(cluster.counts("web", "a"), (2, 2));
    }
}

#[test]
fn a_report_whose_object_was_lost_is_missed_and_its_node_does_not_join_again() {
    let mut cluster = Cluster::new();
    cluster.report("a", |report| report.digest = None);
    assert_eq!(cluster.lasts(), Affected::Everything);
    assert_eq!(cluster.counts("web", "a"), (0, 1), "it has counted before");
    cluster.report("a", |_| {});
    assert_eq!(cluster.counts("web", "a"), (1, 1));
}

#[test]
fn a_boot_of_the_same_machine_takes_nothing_away() {
    let mut cluster = Cluster::new();
    let recorded = Machine { id: "machine-a".to_owned(), boot: "boot-1".to_owned() };
    cluster.report("a", |report| report.recorded = recorded.clone());
    assert_eq!(cluster.machine("a", "machine-a", "boot-2", true), Affected::Nothing);
    assert_eq!(cluster.counts("web", "a"), (1, 1));
    cluster.write(&meta("web", "b", 2));
    assert_eq!(cluster.counts("web", "b"), (0, 1), "a new revision waits for its agent");
    cluster.report("a", |report| report.boot = "boot-2".to_owned());
    assert_eq!(cluster.counts("web", "b"), (1, 1));
}

#[test]
fn another_machine_under_the_nodes_name_starts_anew() {
    let mut cluster = Cluster::new();
    let recorded = Machine { id: "machine-a".to_owned(), boot: "boot-1".to_owned() };
    let old = |report: &mut Report| report.recorded = recorded.clone();
    cluster.report("a", old);
    cluster.machine("a", "machine-x", "boot-9", true);
    assert_eq!((cluster.standing("a"), cluster.counts("web", "a")), (Standing::Joining, (0, 0)));
    // A leader that starts now sees no more than this.
    let mut next = Cluster::new();
    next.machine("a", "machine-x", "boot-9", true);
    next.nodes.joined.clear();
    next.report("a", old);
    assert_eq!((next.standing("a"), next.counts("web", "a")), (Standing::Joining, (0, 0)));
    for cluster in [&mut cluster, &mut next] {
        cluster.report("a", |report| {
            old(report);
            report.boot = "boot-9".to_owned();
        });
        assert_eq!((cluster.standing("a"), cluster.counts("web", "a")), (Standing::Counts, (1, 1)));
    }
}

#[test]
fn a_report_of_another_directory_says_nothing_of_this_one() {
    let mut cluster = Cluster::new();
    cluster.report("a", |report| report.subdirectory = Some("elsewhere".to_owned()));
    assert_eq!(cluster.counts("web", "a"), (0, 1));
}

#[test]
fn a_joining_node_counts_from_its_first_report() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.node("b", true), Affected::Nothing);
    assert_eq!(cluster.agent("b", true), Affected::Nothing);
    assert_eq!(cluster.counts("web", "a"), (1, 1));
    assert_eq!(cluster.tick(), Affected::Nothing);
    assert_eq!(cluster.report("b", |_| {}), Affected::Nothing);
    assert_eq!(cluster.tick(), Affected::Everything, "once for all that joined meanwhile");
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
        machine: Machine { id: "machine-a".to_owned(), boot: "boot-1".to_owned() },
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
    cluster.tick();
    cluster.node("b", false);
    assert_eq!(cluster.tick(), Affected::Everything);
    assert_eq!(cluster.counts("web", "b"), (1, 1));
    cluster.node("b", true);
    assert_eq!(cluster.counts("web", "b"), (1, 2));
}

#[test]
fn without_the_daemon_set_no_node_counts() {
    let mut cluster = Cluster::new();
    cluster.nodes.place(None, &cluster.log, cluster.now);
    assert_eq!(cluster.tick(), Affected::Everything);
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
    assert_eq!(rollout.doubtful_until, Some(cluster.now + FALL_LASTS));
    assert_eq!(cluster.write(&meta("db", "x", 1)), only("db"));
    assert_eq!(cluster.counts("web", "a"), (1, 1));
    assert_eq!(cluster.counts("db", "x"), (1, 1));
    assert_eq!(cluster.lasts(), Affected::Nothing);
}

/// A digest that no watch ever went through.
fn unknown(report: &mut Report) {
    report.digest = Some(format!("sha256:{}", "0".repeat(64)).parse().unwrap());
}

#[test]
fn an_unknown_digest_counts_for_nothing_once_its_grace_is_over() {
    let mut cluster = Cluster::new();
    cluster.report("a", unknown);
    assert_eq!(cluster.tick(), Affected::Nothing);
    assert_eq!(cluster.lasts(), Affected::Everything);
    assert_eq!(cluster.lasts(), Affected::Nothing, "only once");
}

/// Regression: once all were told that a node's digest is unknown, the known one after it concerned none but those that had changed since,
/// and the others stayed as they were, not Ready.
#[test]
fn a_digest_that_is_known_again_concerns_all_that_were_told_it_was_not() {
    let mut cluster = Cluster::new();
    cluster.write(&meta("db", "x", 1));
    cluster.report("a", |_| {});
    cluster.report("a", unknown);
    assert_eq!(cluster.lasts(), Affected::Everything);
    assert_eq!(cluster.report("a", |_| {}), Affected::Everything);
    assert_eq!(cluster.counts("web", "a"), (1, 1));
}

#[test]
fn a_node_that_begins_to_count_withdraws_nothing_for_a_moment() {
    let mut cluster = Cluster::new();
    cluster.node("b", true);
    cluster.report("b", unknown);
    assert_eq!(cluster.tick(), Affected::Everything);
    assert_eq!(cluster.rollout("web", "a").doubtful_until, Some(cluster.now + FALL_LASTS));
    assert_eq!(cluster.lasts(), Affected::Everything);
    let of_leader = Some(cluster.now);
    assert_eq!(cluster.rollout("web", "a").doubtful_until, of_leader, "the leader's grace is over now");
}

#[test]
fn a_fall_that_is_over_soon_concerns_nobody() {
    let mut cluster = Cluster::new();
    let before = cluster.log.set().digest();
    cluster.write(&meta("db", "x", 1));
    cluster.report("a", |_| {});
    for _ in 0..MOST_FALLS {
        assert_eq!(cluster.report("a", |report| report.digest = Some(before)), Affected::Nothing);
        let rollout = cluster.rollout("db", "x");
        assert_eq!((rollout.ready, rollout.doubtful_until), (0, Some(cluster.now + FALL_LASTS)));
        cluster.now += FALL_LASTS / 2;
        assert_eq!(cluster.tick(), Affected::Nothing);
        assert_eq!(cluster.report("a", |_| {}), Affected::Nothing);
        cluster.now += FALL_LASTS / 2;
        assert_eq!(cluster.tick(), Affected::Nothing);
    }
}

#[test]
fn a_fall_that_lasts_is_told_whom_it_concerns_and_its_end_at_once() {
    let mut cluster = Cluster::new();
    let before = cluster.log.set().digest();
    cluster.write(&meta("db", "x", 1));
    cluster.report("a", |_| {});
    cluster.report("a", |report| report.digest = Some(before));
    assert_eq!(cluster.lasts(), only("db"));
    assert_eq!((cluster.counts("db", "x"), cluster.counts("web", "a")), ((0, 1), (1, 1)));
    assert_eq!(cluster.rollout("db", "x").doubtful_until, None);
    assert_eq!(cluster.report("a", |_| {}), only("db"));
}

#[test]
fn who_falls_again_and_again_is_left_out_and_comes_back_once_it_has_not() {
    let mut cluster = Cluster::new();
    cluster.add("b");
    cluster.tick();
    let before = cluster.log.set().digest();
    cluster.write(&meta("db", "x", 1));
    for node in ["a", "b"] {
        cluster.report(node, |_| {});
    }
    let mut told = Affected::Nothing;
    for tenths in 0..600 {
        cluster.now += FALL_LASTS / 50;
        let change = |report: &mut Report| {
            if tenths % 2 == 0 {
                report.digest = Some(before);
            }
        };
        told = told.and(cluster.report("b", change));
        if tenths % 10 == 0 && cluster.standing("b") == Standing::Counts {
            told = told.and(cluster.tick());
        }
    }
    assert_eq!(told, Affected::Nothing, "while it fell nobody was told of it");
    assert_eq!(cluster.standing("b"), Standing::LeftOut);
    assert_eq!(cluster.tick(), Affected::Everything, "that it does not count");
    assert_eq!((cluster.counts("db", "x"), cluster.counts("web", "a")), ((1, 1), (1, 1)));
    cluster.now += STEADY_FOR;
    assert_eq!(cluster.tick(), Affected::Everything);
    assert_eq!((cluster.standing("b"), cluster.counts("db", "x")), (Standing::Counts, (2, 2)));
}

#[test]
fn a_node_that_is_left_out_is_so_for_the_next_leader() {
    let mut cluster = Cluster::new();
    let steady = json!({
        "type": "Steady", "status": "False", "reason": "LeftOut", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let conditions = vec![serde_json::from_value::<Condition>(steady).unwrap()];
    cluster.node("b", true);
    cluster.report("b", |report| report.conditions = conditions.clone());
    assert_eq!((cluster.standing("b"), cluster.counts("web", "a")), (Standing::LeftOut, (1, 1)));
    cluster.node("c", true);
    cluster.report("c", |report| {
        report.conditions = conditions;
        report.node_uid = Some("another".to_owned());
    });
    cluster.report("c", |_| {});
    assert_eq!(cluster.standing("c"), Standing::Counts, "what was said of a namesake is not said of it");
}

/// A full disk fails new files one after another, and each time says so in other words: no file that was there is lost.
#[test]
fn a_node_whose_disk_is_full_is_not_left_out_for_it() {
    let mut cluster = Cluster::new();
    let mut failures = Vec::new();
    for sequence in 2..30 {
        cluster.write(&meta("web", &format!("content {sequence}"), sequence));
        cluster.write(&meta(&format!("p{sequence}"), "x", 1));
        failures.push(failure(&format!("p{sequence}")));
        let mut all = failures.clone();
        all.push(NodeFailure { message: format!("{sequence} bytes are free"), ..failure("web") });
        cluster.report("a", |report| report.failures = all);
    }
    assert_eq!(cluster.standing("a"), Standing::Counts);
    // A file that comes and goes is another matter.
    for _ in 0..MOST_FALLS + 2 {
        cluster.report("a", |report| report.failures = failures.clone());
        cluster.report("a", |report| report.failures = vec![]);
    }
    assert_eq!(cluster.standing("a"), Standing::LeftOut);
}

/// Profiles that look only when they are told to come to see what there is, whatever nodes do, and claim nothing that is not so.
#[test]
fn whatever_nodes_report_no_profile_misses_how_it_ends() {
    // So short that nobody is left out as a rule: it would be told of nothing more.
    const END: i64 = 30;
    for seed in 0..1_000_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut roll = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below).unwrap()
        };
        let mut cluster = Cluster::new();
        let mut contents: BTreeMap<&str, i64> = BTreeMap::from([("web", 0)]);
        let mut standing: BTreeMap<&str, bool> = BTreeMap::from([("web", true)]);
        let mut due: BTreeMap<&str, Instant> = BTreeMap::new();
        let mut digests = vec![cluster.log.set().digest()];
        let look = |cluster: &Cluster, name: &str, content: i64, stood: bool| {
            let content = if content == 0 { "a".to_owned() } else { content.to_string() };
            let rollout = cluster.rollout(name, &content);
            let in_doubt = rollout.doubtful_until.is_some_and(|until| cluster.now < until);
            (rollout.complete() || (stood && in_doubt), rollout.look_again)
        };
        for step in 0..END + 20 {
            let node = ["a", "b", "c"][roll(3)];
            let (old, failing) = (digests[roll(digests.len().try_into().unwrap())], roll(3));
            let mut edited = None;
            let affected = match if step < END { roll(12) } else { 12 } {
                // In the end all nodes have everything, and then nothing happens.
                12 if step < END + 3 => {
                    let last = ["a", "b", "c"][usize::try_from(step - END).unwrap()];
                    cluster.report(last, |_| {})
                }
                0 => cluster.node(node, roll(2) == 0),
                1..=3 => cluster.report(node, |_| {}),
                4 => cluster.report(node, |report| report.digest = Some(old)),
                5 => cluster.report(node, unknown),
                6 => cluster.report(node, |report| report.failures_truncated = true),
                7 => cluster.report(node, |report| {
                    report.failures = vec![failure(["web", "db", "app"][failing])];
                }),
                8 => {
                    let name = ["web", "db", "app"][roll(3)];
                    contents.insert(name, step + 1);
                    edited = Some(name);
                    let affected = cluster.write(&meta(name, &(step + 1).to_string(), step + 2));
                    digests.push(cluster.log.set().digest());
                    affected
                }
                _ => {
                    cluster.now += FALL_LASTS / 5;
                    cluster.tick()
                }
            };
            if let Some(name) = edited {
                standing.insert(name, false);
            }
            for (name, content) in &contents {
                let is_told = edited == Some(*name)
                    || due.get(name).is_some_and(|at| *at <= cluster.now)
                    || match &affected {
                        Affected::Everything => true,
                        Affected::Nothing => false,
                        Affected::Owners(owners) => owners.contains(&owner(name)),
                    };
                if is_told {
                    let stood = standing[name];
                    let (stands, look_again) = look(&cluster, name, *content, stood);
                    standing.insert(name, stands);
                    due.remove(name);
                    due.extend(look_again.map(|at| (*name, at.max(cluster.now + FALL_LASTS / 5))));
                }
            }
        }
        for (name, content) in contents {
            assert_eq!(standing[name], look(&cluster, name, content, false).0, "seed {seed}: {name}");
        }
    }
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
