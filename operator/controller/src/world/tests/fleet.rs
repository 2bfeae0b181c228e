//! What nodes do, counted in writes: none of it may cost one for each profile, but for the counts now and then.

use std::collections::BTreeMap;

use portcullis_api::SetDigest;

use super::*;
use crate::nodes::Standing;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const PROFILES: usize = 20;
const NODES: usize = 10;

/// Profiles that are Ready on all of some nodes, looked at when they are woken or due.
struct Fleet {
    scene: Scene,
    due: BTreeMap<Owner, Instant>,
    falls: usize,
}

fn node(name: &str) -> NodeFacts {
    NodeFacts {
        name: name.to_owned(),
        uid: format!("node-{name}"),
        ready: true,
        linux: true,
        ..NodeFacts::default()
    }
}

fn name_of(number: usize) -> String {
    format!("n{number}")
}

impl Fleet {
    fn new() -> Self {
        let mut scene = Scene::new();
        scene.agent = false;
        scene.world.node_removed("n", scene.now);
        let mut fleet = Self { scene, due: BTreeMap::new(), falls: 0 };
        for number in 0..NODES {
            fleet.join(&name_of(number));
        }
        for number in 0..PROFILES {
            let mut object = Object::new(Owner::cluster(&format!("p{number}")).unwrap(), &["read"]);
            object.metadata.uid = Some(format!("uid-{number}"));
            let affected = fleet.scene.apply(&object);
            fleet.wake(affected);
        }
        fleet.pass(SECOND);
        fleet.all_report();
        fleet.pass(SECOND);
        assert_eq!((fleet.ready(), fleet.counts()), (PROFILES, format!("{NODES}/{NODES}")));
        // What was written of late is not written again soon, and that is not what is tested.
        fleet.pass(15 * MINUTE);
        fleet.scene.writes();
        fleet
    }

    fn wake(&mut self, affected: Affected) {
        let now = self.scene.now;
        let owners: Vec<Owner> = match affected {
            Affected::Nothing => vec![],
            Affected::Owners(owners) => owners.into_iter().collect(),
            Affected::Everything => self.scene.world.owners().cloned().collect(),
        };
        for owner in owners {
            self.due.insert(owner, now);
        }
        self.look();
    }

    /// Looks at what is due.
    fn look(&mut self) {
        let is_due = |(owner, at): (&Owner, &Instant)| (*at <= self.scene.now).then(|| owner.clone());
        let due: Vec<Owner> = self.due.iter().filter_map(is_due).collect();
        for owner in due {
            self.due.remove(&owner);
            let was_ready = self.is_ready(&owner);
            if let Some(at) = self.scene.settle(&owner) {
                assert!(at > self.scene.now, "{owner} is due for ever");
                self.due.insert(owner.clone(), at);
            }
            self.falls += usize::from(was_ready && !self.is_ready(&owner));
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.scene.now + time;
        while self.scene.now < until {
            self.scene.now += SECOND.min(until - self.scene.now);
            let affected = self.scene.world.tick(self.scene.now);
            self.wake(affected);
        }
    }

    fn is_ready(&self, owner: &Owner) -> bool {
        self.scene.objects[owner].status.as_ref().is_some_and(crate::status::is_ready)
    }

    fn ready(&self) -> usize {
        self.scene.objects.keys().filter(|owner| self.is_ready(owner)).count()
    }

    /// What every profile says of its nodes.
    fn counts(&self) -> String {
        let summary =
            |object: &Object| object.status.as_ref().unwrap().nodes.as_ref().unwrap().summary.clone();
        let all: BTreeSet<String> = self.scene.objects.values().map(summary).collect();
        all.into_iter().collect::<Vec<_>>().join(" or ")
    }

    fn digest(&self) -> SetDigest {
        self.scene.world.revisions.log().set().digest()
    }

    fn apply(&mut self, facts: NodeFacts) {
        let affected = self.scene.world.node_applied(facts, self.scene.now);
        self.wake(affected);
    }

    fn agent(&mut self, node: &str, uid: &str, ready: bool) {
        let pod = AgentPod { node: Some(node.to_owned()), ready };
        let affected = self.scene.world.agent_applied(uid.to_owned(), pod, self.scene.now);
        self.wake(affected);
    }

    fn report(&mut self, node: &str, digest: Option<SetDigest>) {
        let report = Report {
            node_uid: Some(format!("node-{node}")),
            agent_pod_uid: Some(format!("pod-{node}")),
            subdirectory: Some("profiles".to_owned()),
            digest,
            ..Report::default()
        };
        let affected = self.scene.world.reported(node, Some(report), self.scene.now);
        self.wake(affected);
    }

    fn join(&mut self, name: &str) {
        self.apply(node(name));
        self.agent(name, &format!("pod-{name}"), true);
        let digest = self.digest();
        self.report(name, Some(digest));
    }

    fn leave(&mut self, name: &str) {
        for affected in [
            self.scene.world.node_removed(name, self.scene.now),
            self.scene.world.agent_removed(&format!("pod-{name}"), self.scene.now),
            self.scene.world.reported(name, None, self.scene.now),
        ] {
            self.wake(affected);
        }
    }

    fn all_report(&mut self) {
        let digest = self.digest();
        for number in 0..NODES {
            self.report(&name_of(number), Some(digest));
        }
    }

    /// How much was written, and how often a Ready fell, since this was asked last.
    fn cost(&mut self) -> (usize, usize) {
        (self.scene.writes().len(), std::mem::take(&mut self.falls))
    }
}

/// A digest of what the controller never saw.
fn foreign() -> Option<SetDigest> {
    Some(format!("sha256:{}", "0".repeat(64)).parse().unwrap())
}

#[test]
fn agents_that_restart_or_are_rolled_out_cost_nothing() {
    let mut fleet = Fleet::new();
    for number in 0..NODES {
        let name = name_of(number);
        fleet.agent(&name, &format!("pod-{name}"), false);
        fleet.pass(20 * SECOND);
        let affected = fleet.scene.world.agent_removed(&format!("pod-{name}"), fleet.scene.now);
        fleet.wake(affected);
        fleet.agent(&name, &format!("pod-{name}"), true);
        fleet.pass(SECOND);
    }
    fleet.all_report();
    fleet.pass(30 * MINUTE);
    assert_eq!(fleet.cost(), (0, 0));
}

#[test]
fn a_node_that_reboots_or_is_labelled_costs_nothing() {
    let mut fleet = Fleet::new();
    fleet.apply(NodeFacts { ready: false, ..node("n0") });
    fleet.pass(4 * MINUTE);
    fleet.apply(node("n0"));
    fleet.pass(30 * MINUTE);
    fleet.apply(NodeFacts { labels: [("pool".to_owned(), "a".to_owned())].into(), ..node("n0") });
    fleet.pass(30 * MINUTE);
    assert_eq!(fleet.cost(), (0, 0));
}

#[test]
fn nodes_that_join_cost_one_write_a_profile_spread_over_ten_minutes() {
    for agent_is_first in [true, false] {
        let mut fleet = Fleet::new();
        let digest = fleet.digest();
        let empty = portcullis_api::ServedSet::default().digest();
        for number in NODES..NODES + 50 {
            let name = name_of(number);
            fleet.apply(NodeFacts { ready: false, ..node(&name) });
            if !agent_is_first {
                fleet.apply(node(&name));
            }
            fleet.agent(&name, &format!("pod-{name}"), true);
            // What is there before its first sync.
            fleet.report(&name, Some(empty));
            fleet.pass(2 * SECOND);
            fleet.report(&name, Some(digest));
            fleet.apply(node(&name));
        }
        fleet.pass(MINUTE);
        assert_eq!(fleet.cost(), (0, 0));
        fleet.pass(5 * MINUTE);
        let (first, _) = fleet.cost();
        assert!((1..PROFILES).contains(&first), "{first} at once");
        fleet.pass(10 * MINUTE);
        assert_eq!(fleet.cost(), (PROFILES - first, 0));
        assert_eq!(fleet.counts(), "60/60");
    }
}

#[test]
fn nodes_that_leave_cost_one_write_a_profile() {
    let mut fleet = Fleet::new();
    for number in 1..NODES {
        fleet.leave(&name_of(number));
        fleet.pass(SECOND);
    }
    fleet.pass(30 * MINUTE);
    assert_eq!(fleet.cost(), (PROFILES, 0));
    assert_eq!(fleet.counts(), "1/1");
}

#[test]
fn a_node_that_falls_ten_times_a_second_withdraws_nothing_and_is_left_out_until_it_is_steady() {
    let mut fleet = Fleet::new();
    let digest = fleet.digest();
    for tenths in 0..1_200 {
        fleet.report("n0", if tenths % 2 == 0 { foreign() } else { Some(digest) });
        fleet.pass(SECOND / 10);
    }
    let standing = |fleet: &Fleet| fleet.scene.world.nodes().standing("n0");
    assert_eq!(standing(&fleet), Some(Standing::LeftOut));
    assert_eq!(fleet.cost(), (0, 0));
    fleet.pass(9 * MINUTE);
    assert_eq!(standing(&fleet), Some(Standing::LeftOut));
    fleet.pass(MINUTE);
    assert_eq!(standing(&fleet), Some(Standing::Counts));
    fleet.pass(30 * MINUTE);
    let (written, falls) = fleet.cost();
    assert!(written <= 2 * PROFILES && falls == 0, "{written} writes, {falls} falls");
    assert_eq!(fleet.counts(), "10/10");
}

/// Slowly enough that each fall is told: first by one node, then by all of them in turn, so that none is left out for long.
#[test]
fn falls_that_last_cost_a_profile_one_write_a_minute_for_all_nodes_together() {
    for nodes in [1, NODES] {
        let mut fleet = Fleet::new();
        let digest = fleet.digest();
        for round in 0..60 {
            let name = name_of(round % nodes);
            fleet.report(&name, foreign());
            fleet.pass(10 * SECOND);
            fleet.report(&name, Some(digest));
            fleet.pass(10 * SECOND);
        }
        let (written, falls) = fleet.cost();
        assert!(written <= PROFILES * (20 + 2), "{nodes} nodes: {written} writes in 20 minutes");
        assert!(falls >= PROFILES, "{nodes} nodes: {falls} falls");
        fleet.pass(30 * MINUTE);
        assert_eq!((fleet.ready(), fleet.counts()), (PROFILES, "10/10".to_owned()), "{nodes} nodes");
    }
}

#[test]
fn a_node_that_goes_on_lacking_what_it_had_is_said_once_and_its_end_at_once() {
    let mut fleet = Fleet::new();
    fleet.report("n0", foreign());
    fleet.pass(4 * SECOND);
    assert_eq!(fleet.cost(), (0, 0));
    fleet.pass(MINUTE);
    assert_eq!(fleet.cost(), (PROFILES, PROFILES));
    let digest = fleet.digest();
    fleet.report("n0", Some(digest));
    assert_eq!((fleet.cost(), fleet.ready()), ((PROFILES, 0), PROFILES));
}

/// Regression: a digest that was unknown when the grace of a change of leader ended, and was known again later, woke nobody.
#[test]
fn what_the_end_of_a_leaders_grace_withdrew_comes_back() {
    let mut fleet = Fleet::new();
    fleet.scene.world.led_since = fleet.scene.now;
    fleet.scene.world.leader_grace_ended = false;
    fleet.pass(10 * SECOND);
    fleet.report("n0", foreign());
    fleet.pass(LEADER_GRACE - 11 * SECOND);
    assert_eq!(fleet.cost(), (0, 0));
    fleet.pass(2 * SECOND);
    assert_eq!(fleet.ready(), 0);
    let digest = fleet.digest();
    fleet.report("n0", Some(digest));
    assert_eq!(fleet.ready(), PROFILES);
}

#[test]
fn a_first_ready_waits_for_nothing_that_nodes_did_before() {
    let mut fleet = Fleet::new();
    for _ in 0..5 {
        fleet.report("n0", foreign());
        fleet.pass(10 * SECOND);
        fleet.all_report();
    }
    let owner = Owner::cluster("p0").unwrap();
    let mut object = fleet.scene.objects[&owner].clone();
    object.edit(|object| object.source.document = Some(allowing(&["write"])));
    let affected = fleet.scene.apply(&object);
    fleet.wake(affected);
    assert!(!fleet.is_ready(&owner));
    fleet.all_report();
    assert!(fleet.is_ready(&owner));
}

/// A fall that is over soon wakes nobody, nor does its end; but who has seen it must not keep to what it saw.
#[test]
fn a_profile_that_looked_while_a_node_had_fallen_looks_again() {
    let mut fleet = Fleet::new();
    let owner = Owner::cluster("p0").unwrap();
    let mut object = fleet.scene.objects[&owner].clone();
    object.edit(|object| object.source.document = Some(allowing(&["write"])));
    let affected = fleet.scene.apply(&object);
    fleet.wake(affected);
    let digest = fleet.digest();
    for number in (0..NODES).filter(|number| *number != 1) {
        fleet.report(&name_of(number), Some(digest));
    }
    fleet.report("n0", foreign());
    fleet.report("n1", Some(digest));
    fleet.report("n0", Some(digest));
    assert!(!fleet.is_ready(&owner));
    fleet.pass(6 * SECOND);
    assert!(fleet.is_ready(&owner));
}

#[test]
fn an_architecture_that_flips_is_news_once_and_to_those_alone_of_which_it_is_said() {
    let mut fleet = Fleet::new();
    let both = Owner::cluster("both").unwrap();
    let mut object = Object::new(both.clone(), &["read"]);
    object.source.document = Some(
        Arc::new(
            Profile::parse(
                json!({
                    "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
                    "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}],
                })
                .to_string()
                .as_bytes(),
            )
            .unwrap(),
        )
        .into(),
    );
    let affected = fleet.scene.apply(&object);
    fleet.wake(affected);
    fleet.all_report();
    fleet.pass(15 * MINUTE);
    fleet.cost();
    let of = |arch: &str| NodeFacts {
        labels: [("kubernetes.io/arch".to_owned(), arch.to_owned())].into(),
        ..node("n0")
    };
    for _ in 0..10 {
        fleet.apply(of("arm64"));
        fleet.pass(MINUTE);
        fleet.apply(of("amd64"));
        fleet.pass(MINUTE);
    }
    let written = fleet.scene.writes();
    assert!(!written.contains(&"get both".to_owned()), "{written:?}");
    let reads = written.iter().filter(|write| write.starts_with("get ")).count();
    // Nodes of amd64 are as new as the others, and every profile lists it.
    assert_eq!((reads, written.len()), (PROFILES, 2 * PROFILES), "{written:?}");
    fleet.pass(30 * MINUTE);
    let written = fleet.scene.writes();
    assert_eq!(written.len(), 2 * PROFILES, "once more when it is gone: {written:?}");
}
