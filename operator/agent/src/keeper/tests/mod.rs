//! The keeper on real directories, with time given by the test.

mod crash;
mod drift;
mod failures;
mod lists;
mod revoked;
mod starts;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use portcullis_api::{Owner, RevisionMeta, SeccompNodeStatus, ServedSet};
use portcullis_profile::Digest;
use prometheus::Registry;
use tempfile::TempDir;

use super::{Applied, Keeper, Notice, Outcome, Start, Work};
use crate::{disk::Base, metrics::Metrics, origin::Origin, settings::Timing};

const GRACE: Duration = Duration::from_secs(600);
const TIMING: Timing = Timing { rehash: Duration::from_secs(600), grace: GRACE };

/// Revisions that an agent of these tests takes in.
const MOST: usize = 150;

/// A whole list.
fn whole_list(revisions: Vec<RevisionMeta>) -> Work {
    Work::Page { revisions, is_first: true, is_last: true }
}

/// A node: its directory, its keeper, its clock.
struct Node {
    seccomp: PathBuf,
    keeper: Option<Keeper>,
    now: Instant,
    registry: Registry,
    most: usize,
    /// Removed when the test is over, where it is the test's own.
    _temporary: Option<TempDir>,
}

impl Node {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut node = Self::at(temporary.path());
        node._temporary = Some(temporary);
        node
    }

    fn at(seccomp: &Path) -> Self {
        let mut node = Self {
            seccomp: seccomp.to_owned(),
            keeper: None,
            now: Instant::now(),
            registry: Registry::new(),
            most: MOST,
            _temporary: None,
        };
        node.boot();
        node
    }

    /// A node whose agent takes in so many revisions.
    fn with_room_for(most: usize) -> Self {
        let mut node = Self::new();
        node.most = most;
        node.restart_after(|_| {});
        node
    }

    /// Starts an agent, without an API server.
    fn boot(&mut self) {
        self.registry = Registry::new();
        let metrics = Metrics::register(&self.registry).unwrap();
        let base = Base::open(&self.seccomp, Path::new("/var/lib/kubelet/seccomp"), "profiles").unwrap();
        let mut keeper = Keeper::new(base, origin("pod-1"), TIMING, self.most, metrics, self.now).unwrap();
        // A child that another test forks holds this test's lock too until it execs, so the lock may be free a moment late.
        let patience = Instant::now() + Duration::from_secs(10);
        let mut started = keeper.start(self.now).unwrap();
        while started == Start::Locked && Instant::now() < patience {
            std::thread::yield_now();
            started = keeper.start(self.now).unwrap();
        }
        assert_eq!(started, Start::Guarding);
        self.keeper = Some(keeper);
    }

    /// Ends the agent, lets something happen, and starts another.
    fn restart_after(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.keeper = None;
        meanwhile(self);
        self.boot();
    }

    fn keeper(&mut self) -> &mut Keeper {
        self.keeper.as_mut().unwrap()
    }

    fn handle(&mut self, work: Vec<Work>) -> Outcome {
        let now = self.now;
        self.keeper().handle(work, now).unwrap()
    }

    /// What happens by itself: events of the file system and what is due.
    fn turn(&mut self) -> Outcome {
        self.handle(Vec::new())
    }

    /// Lets time pass in one go.
    fn after(&mut self, time: Duration) -> Outcome {
        self.now += time;
        let mut outcome = self.turn();
        // A rehash reads in slices.
        while self.keeper().rehash.after.is_some() {
            let next = self.turn();
            outcome.notices.extend(next.notices);
            outcome.wanted.extend(next.wanted);
            outcome.status = next.status.or(outcome.status);
        }
        outcome
    }

    fn path(&self, path: &str) -> PathBuf {
        self.seccomp.join("profiles").join(path)
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    #[track_caller]
    fn assert_serves(&self, path: &str, content: &str) {
        let metadata = fs::symlink_metadata(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(metadata.is_file(), "{path} is no file: {metadata:?}");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o644, "{path}");
        assert_eq!(self.read(path).as_deref(), Some(content), "{path}");
    }

    fn metric(&self, name: &str, label: Option<&str>) -> f64 {
        let family = format!("portcullis_agent_{name}");
        let families = self.registry.gather();
        let family = families.iter().find(|found| found.name() == family).expect(name);
        let metric = family
            .get_metric()
            .iter()
            .find(|metric| label.is_none_or(|label| metric.get_label().iter().any(|l| l.value() == label)))
            .expect(name);
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    fn repaired(&self, cause: &str) -> f64 {
        self.metric("files_repaired_total", Some(cause))
    }
}

/// An agent's pod of this UID, in the boot `boot-1`.
fn origin(pod_uid: &str) -> Origin {
    Origin {
        pod_uid: pod_uid.to_owned(),
        boot_id: Some("boot-1".to_owned()),
        subdirectory: "profiles".to_owned(),
    }
}

fn meta(owner: &Owner, content: &str, sequence: i64) -> RevisionMeta {
    RevisionMeta {
        owner: owner.clone(),
        owner_uid: "u".to_owned(),
        digest: Digest::of(content.as_bytes()),
        sequence,
        revoked: None,
    }
}

fn applied(owner: &Owner, content: &str, sequence: i64) -> Work {
    Work::Applied(Box::new(Applied {
        meta: meta(owner, content, sequence),
        content: content.to_owned(),
        created: None,
        received: Instant::now(),
    }))
}

fn web() -> Owner {
    Owner::namespaced("shop", "web").unwrap()
}

fn reasons(outcome: &Outcome) -> Vec<&'static str> {
    outcome.notices.iter().map(|Notice { reason, .. }| *reason).collect()
}

/// The digest that the controller computes for these revisions.
pub(crate) fn digest_of<'a>(
    revisions: impl IntoIterator<Item = &'a RevisionMeta>,
) -> Option<portcullis_api::SetDigest> {
    let mut set = ServedSet::default();
    for meta in revisions {
        set.apply(meta);
    }
    Some(set.digest())
}

fn status(outcome: &Outcome) -> &SeccompNodeStatus {
    outcome.status.as_ref().expect("a status")
}

/// A node that has taken in the first list and serves one profile.
fn serving(content: &str) -> Node {
    let mut node = Node::new();
    node.handle(vec![whole_list(Vec::new())]);
    node.handle(vec![applied(&web(), content, 1)]);
    node
}

#[test]
fn serves_a_revision_at_both_paths_and_reports_it() {
    let mut node = Node::new();
    assert!(node.handle(Vec::new()).status.is_none(), "reports before the first list");
    let first = node.handle(vec![whole_list(Vec::new())]);
    assert_eq!(status(&first).digest, digest_of([]));
    let outcome = node.handle(vec![applied(&web(), "{1}", 1)]);
    let pinned = web().revision_path(&Digest::of(b"{1}"));
    node.assert_serves("shop/web.json", "{1}");
    node.assert_serves(&pinned, "{1}");
    let status = status(&outcome);
    assert_eq!(status.digest, digest_of([&meta(&web(), "{1}", 1)]));
    assert_eq!((status.revisions, status.agent_pod_uid.as_deref()), (1, Some("pod-1")));
    assert_eq!(
        (status.boot_id.as_deref(), status.subdirectory.as_deref()),
        (Some("boot-1"), Some("profiles"))
    );
    assert_eq!(node.metric("files_written_total", None), 2.0);
    assert_eq!(node.metric("files_served", None), 2.0);
    assert_eq!(node.metric("store_bytes", None), 3.0);
}

#[test]
fn its_own_writes_are_no_drift() {
    let mut node = serving("{1}");
    for (sequence, content) in (2..).zip(["{2}", "{3}", "{2}"]) {
        node.handle(vec![applied(&web(), content, sequence)]);
    }
    let outcome = node.turn();
    assert!(outcome.notices.is_empty(), "{:?}", outcome.notices);
    assert!(outcome.status.is_none());
}

#[test]
fn goes_back_to_an_earlier_content() {
    let mut node = serving("a");
    node.handle(vec![applied(&web(), "b", 2)]);
    node.assert_serves("shop/web.json", "b");
    let outcome = node.handle(vec![applied(&web(), "a", 3)]);
    node.assert_serves("shop/web.json", "a");
    node.assert_serves(&web().revision_path(&Digest::of(b"b")), "b");
    assert_eq!(status(&outcome).digest, digest_of([&meta(&web(), "a", 3), &meta(&web(), "b", 2)]));
}

#[test]
fn namesakes_of_both_kinds_and_prefixes_do_not_mix() {
    let mut node = serving("a");
    let cluster = Owner::cluster("web").unwrap();
    let longer = Owner::namespaced("shop-2", "web").unwrap();
    let named_as_namespace = Owner::cluster("shop").unwrap();
    node.handle(vec![
        applied(&cluster, "b", 1),
        applied(&longer, "c", 1),
        applied(&named_as_namespace, "d", 1),
    ]);
    for (path, content) in
        [("shop/web.json", "a"), ("web.json", "b"), ("shop-2/web.json", "c"), ("shop.json", "d")]
    {
        node.assert_serves(path, content);
    }
    node.handle(vec![Work::Deleted { owner: web(), digest: Digest::of(b"a") }]);
    assert!(!node.path("shop").exists());
    node.assert_serves("shop-2/web.json", "c");
    node.assert_serves("shop.json", "d");
}

#[test]
fn an_explicit_deletion_removes_at_once_and_forgets_the_content() {
    let mut node = serving("a");
    let outcome = node.handle(vec![Work::Deleted { owner: web(), digest: Digest::of(b"a") }]);
    assert!(!node.path("shop").exists());
    assert_eq!(status(&outcome).digest, digest_of([]));
    assert_eq!(node.metric("files_removed_total", None), 2.0);
    assert_eq!(node.metric("store_bytes", None), 0.0);
    assert_eq!(fs::read_dir(node.path(".store/content")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(node.path(".store/index")).unwrap().count(), 0);
}

#[test]
fn deleted_and_made_again_in_one_batch_stays() {
    let mut node = serving("a");
    node.handle(vec![
        Work::Deleted { owner: web(), digest: Digest::of(b"a") },
        applied(&web(), "a", 1),
        applied(&Owner::cluster("short-lived").unwrap(), "x", 1),
        Work::Deleted { owner: Owner::cluster("short-lived").unwrap(), digest: Digest::of(b"x") },
    ]);
    node.assert_serves("shop/web.json", "a");
    assert!(!node.path("short-lived.json").exists());
}

#[test]
fn refuses_a_content_that_is_not_what_its_digest_says() {
    let mut node = serving("a");
    let Work::Applied(mut forged) = applied(&web(), "b", 2) else { unreachable!() };
    forged.content = "evil".to_owned();
    let outcome = node.handle(vec![Work::Applied(forged)]);
    node.assert_serves("shop/web.json", "a");
    let failure = &status(&outcome).failures[0];
    assert_eq!((failure.name.as_str(), failure.reason.as_str()), ("web", "DigestMismatch"));
    assert_eq!(
        status(&outcome).digest,
        digest_of([&meta(&web(), "a", 1), &meta(&web(), "b", 2)]),
        "it counts as processed"
    );
    let outcome = node.handle(vec![applied(&web(), "b", 2)]);
    node.assert_serves("shop/web.json", "b");
    assert!(status(&outcome).failures.is_empty());
}

#[test]
fn what_is_deleted_takes_no_foreign_file_along() {
    let mut node = Node::new();
    fs::create_dir_all(node.path("shop")).unwrap();
    fs::write(node.path("shop/web.json"), "theirs").unwrap();
    node.handle(vec![whole_list(Vec::new()), applied(&web(), "a", 1)]);
    node.handle(vec![Work::Deleted { owner: web(), digest: Digest::of(b"a") }]);
    assert_eq!(node.read("shop/web.json").as_deref(), Some("theirs"));
    assert!(!node.path(&web().revision_path(&Digest::of(b"a"))).exists());
}
