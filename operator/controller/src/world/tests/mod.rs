use std::sync::Arc;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use portcullis_api::{BaseReference, FINALIZER, Mode, ProfileKind, Reason};
use portcullis_profile::Profile;
use serde_json::json;

use super::*;
use crate::{
    resolve::{Document, Job, Source, Wishes},
    revisions::Doomed,
};

fn web() -> Owner {
    Owner::namespaced("shop", "web").unwrap()
}

fn allowing(names: &[&str]) -> Document {
    let document = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    });
    Arc::new(Profile::parse(document.to_string().as_bytes()).unwrap()).into()
}

/// So small that a test reaches them.
fn bounds() -> Bounds {
    Bounds {
        max_profiles_per_namespace: 3,
        max_revisions_per_namespace: 6,
        revision_burst: 5,
        ..Bounds::default()
    }
}

/// A profile object, to be changed by tests.
#[derive(Clone)]
struct Object {
    owner: Owner,
    metadata: ObjectMeta,
    status: Option<ProfileStatus>,
    wishes: Wishes,
    source: Source,
}

impl Object {
    fn new(owner: Owner, names: &[&str]) -> Self {
        let metadata = ObjectMeta {
            uid: Some("uid-1".to_owned()),
            generation: Some(1),
            resource_version: Some("1".to_owned()),
            ..ObjectMeta::default()
        };
        let wishes = Wishes { mode: Mode::Enforce, pin: None, history_limit: 1 };
        let source = Source { document: Some(allowing(names)), bases: vec![] };
        Self { owner, metadata, status: None, wishes, source }
    }

    fn observed(&self) -> Observed {
        Observed {
            owner: self.owner.clone(),
            metadata: self.metadata.clone(),
            status: Seen::Status(self.status.clone().map(Box::new)),
            spec: Some(Spec { wishes: self.wishes.clone(), source: Ok(Arc::new(self.source.clone())) }),
        }
    }

    fn bump_version(&mut self) {
        let version: u64 = self.metadata.resource_version.as_deref().unwrap().parse().unwrap();
        self.metadata.resource_version = Some((version + 1).to_string());
    }

    fn edit(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        *self.metadata.generation.as_mut().unwrap() += 1;
        self.bump_version();
    }
}

/// A world with a clock, and an API server and one node that do what they are told.
struct Scene {
    world: World,
    now: Instant,
    writes: Vec<String>,
    objects: HashMap<Owner, Object>,
    contents: HashMap<(Owner, Digest), Arc<str>>,
    pods: Usage,
    /// Whether the node's agent keeps up.
    agent: bool,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let mut world = World::new("profiles".to_owned(), bounds(), Lasting::default(), now);
        world.revisions_listed(&HashSet::new(), now);
        let daemon_set = json!({"spec": {"selector": {}, "template": {"spec": {"containers": []}}}});
        world.placed(Some(Placement::of(serde_json::from_value(daemon_set).unwrap())), now);
        let node = NodeFacts {
            name: "n".to_owned(),
            uid: "node".to_owned(),
            ready: true,
            linux: true,
            ..NodeFacts::default()
        };
        world.node_applied(node, now);
        world.agent_applied("pod".to_owned(), AgentPod { node: Some("n".to_owned()), ready: true }, now);
        world.all_synced();
        let mut scene = Self {
            world,
            now,
            writes: vec![],
            objects: HashMap::new(),
            contents: HashMap::new(),
            pods: Usage::default(),
            agent: true,
        };
        scene.report();
        scene
    }

    fn report(&mut self) {
        let report = Report {
            node_uid: Some("node".to_owned()),
            agent_pod_uid: Some("pod".to_owned()),
            subdirectory: Some("profiles".to_owned()),
            digest: Some(self.world.revisions.log().set().digest()),
            ..Report::default()
        };
        self.world.reported("n", Some(report), self.now);
    }

    fn apply(&mut self, object: &Object) -> Affected {
        self.objects.insert(object.owner.clone(), object.clone());
        self.world.profile_applied(object.observed(), true, self.now)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.world.tick(self.now);
    }

    /// Takes steps until there is nothing to do; says until when.
    fn settle(&mut self, owner: &Owner) -> Option<Instant> {
        for _ in 0..32 {
            match self.world.step(owner, self.now, Timestamp::from_second(1_000).unwrap()) {
                Step::Wait(at) => {
                    self.world.put_away(owner);
                    return at;
                }
                step => self.perform(owner, step),
            }
        }
        panic!("{owner} does not settle: {:?}", self.writes);
    }

    fn perform(&mut self, owner: &Owner, step: Step) {
        match step {
            Step::Wait(_) => {}
            Step::Fetch(owners) => {
                self.writes
                    .push(format!("get {}", owners.iter().map(Owner::name).collect::<Vec<_>>().join(" ")));
                for needed in owners {
                    let observed = self.objects[&needed].observed();
                    assert!(self.world.fetched(owner, observed));
                }
            }
            Step::FetchRevision { digest } => {
                self.writes.push("get revision".to_owned());
                let content = self.contents[&(owner.clone(), digest)].clone();
                self.world.fetched_revision(owner, digest, content);
            }
            Step::Resolve { job, epoch } => {
                let resolution = Job::run(*job);
                self.world.resolved(owner, epoch, resolution);
            }
            Step::Publish { finalizer, revision } => {
                if finalizer {
                    self.writes.push("finalizer".to_owned());
                    let object = self.objects.get_mut(owner).unwrap();
                    object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
                    object.bump_version();
                    let (metadata, observed) = (object.metadata.clone(), object.observed());
                    self.world.wrote_profile(owner, metadata, None, self.now);
                    self.world.profile_applied(observed, true, self.now);
                }
                if let Some((meta, content)) = revision {
                    self.writes.push(format!("revision {}", meta.sequence));
                    let bytes = u64::try_from(content.len()).unwrap();
                    self.contents.insert((owner.clone(), meta.digest), content);
                    self.world.wrote_revision(meta.clone(), self.now);
                    self.world.revision_applied(&meta, Some("object".to_owned()), bytes, self.now);
                    if self.agent {
                        self.report();
                    }
                }
            }
            Step::Status(status, announcement) => {
                let said = announcement.map(|said| format!(" and {}", said.reason)).unwrap_or_default();
                self.writes.push(format!("status {}{said}", ready_of(&status)));
                let object = self.objects.get_mut(owner).unwrap();
                object.status = Some(*status.clone());
                object.bump_version();
                let (metadata, observed) = (object.metadata.clone(), object.observed());
                self.world.wrote_profile(owner, metadata, Some(*status), self.now);
                assert_eq!(
                    self.world.profile_applied(observed, true, self.now),
                    Affected::Nothing,
                    "a profile is not woken by its own status"
                );
            }
            Step::AskUsage => {
                self.writes.push("ask".to_owned());
                let pods = self.pods.clone();
                self.world.usage_known(owner, &pods, self.now);
            }
            Step::Release { revisions, .. } => {
                self.writes.push(format!("release {}", revisions.len()));
                for Doomed { owner, digest, .. } in revisions {
                    self.world.revision_removed(&owner, &digest, self.now);
                }
                self.objects.remove(owner);
                self.world.profile_removed(owner, self.now);
            }
        }
    }

    fn writes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.writes)
    }

    fn served(&self, owner: &Owner) -> Option<Digest> {
        self.world.revisions.log().set().current(owner)
    }

    fn reason(&self, owner: &Owner) -> String {
        ready_of(self.objects[owner].status.as_ref().unwrap())
    }

    fn message(&self, owner: &Owner) -> &str {
        &self.objects[owner].status.as_ref().unwrap().conditions[0].message
    }
}

fn ready_of(status: &ProfileStatus) -> String {
    format!("{} {}", status.conditions[0].status, status.conditions[0].reason)
}

impl Scene {
    /// A node and its agent, whose last report is this.
    fn restart_with(&mut self, digest: portcullis_api::SetDigest) {
        let daemon_set = json!({"spec": {"selector": {}, "template": {"spec": {"containers": []}}}});
        self.world.placed(Some(Placement::of(serde_json::from_value(daemon_set).unwrap())), self.now);
        let node = NodeFacts {
            name: "n".to_owned(),
            uid: "node".to_owned(),
            ready: true,
            linux: true,
            ..NodeFacts::default()
        };
        self.world.node_applied(node, self.now);
        let pod = AgentPod { node: Some("n".to_owned()), ready: true };
        self.world.agent_applied("pod".to_owned(), pod, self.now);
        let report = Report {
            node_uid: Some("node".to_owned()),
            agent_pod_uid: Some("pod".to_owned()),
            subdirectory: Some("profiles".to_owned()),
            digest: Some(digest),
            ..Report::default()
        };
        self.world.reported("n", Some(report), self.now);
    }
}

mod baseline;
mod bounded;
mod fleet;
mod keeping;
mod revoked;
mod serving;
