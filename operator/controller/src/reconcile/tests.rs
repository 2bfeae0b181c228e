//! Scenarios against a mock API server: which requests are made, with which bodies, and what is made of the answers.

use std::collections::HashSet;

use http::Method;
use portcullis_api::{ClusterSeccompProfile, ProfileResource, SeccompProfile};
use portcullis_profile::Digest;
use portcullis_runtime::Process;
use serde_json::{Value, json};

use super::*;
use crate::{
    mock::{Asked, Server, shared},
    nodes::{AgentPod, NodeFacts, Placement},
    observe::{Unread, observe, owner_of},
    world::World,
};

struct Scenario {
    shared: Arc<Shared>,
    server: Server,
    process: Process,
}

impl Scenario {
    fn new() -> Self {
        let process = Process::new("controller").unwrap();
        let (client, server) = Server::new();
        let shared = shared(&process, client);
        let scenario = Self { shared, server, process };
        scenario.change(|world, now| world.revisions_listed(&HashSet::new(), now));
        let daemon_set = json!({"spec": {"selector": {}, "template": {"spec": {"containers": []}}}});
        let placement = Placement::of(serde_json::from_value(daemon_set).unwrap());
        scenario.change(|world, now| world.placed(Some(placement), now));
        let (name, uid) = ("n".to_owned(), "node".to_owned());
        let node = NodeFacts { name, uid, ready: true, linux: true, ..NodeFacts::default() };
        scenario.change(|world, now| world.node_applied(node, now));
        let pod = AgentPod { node: Some("n".to_owned()), ready: true };
        scenario.change(|world, now| world.agent_applied("pod".to_owned(), pod, now));
        scenario.change(|world, _| world.all_synced());
        scenario.report();
        tokio::spawn(run(scenario.shared.clone()));
        scenario
    }

    fn change(&self, change: impl FnOnce(&mut World, Instant) -> crate::nodes::Affected) {
        self.shared.change(change);
    }

    /// The node's agent reports what there is.
    fn report(&self) {
        self.change(|world, now| {
            let report = crate::nodes::Report {
                node_uid: Some("node".to_owned()),
                agent_pod_uid: Some("pod".to_owned()),
                subdirectory: Some("profiles".to_owned()),
                digest: Some(world.served_digest()),
                ..crate::nodes::Report::default()
            };
            world.reported("n", Some(report), now)
        });
    }

    /// The watch shows a profile.
    fn shows<K: ProfileResource>(&self, object: &Value) {
        let object = serde_json::from_value::<Unread<K>>(object.clone()).unwrap();
        let observed = observe(owner_of(&object).unwrap(), object, |_, _| false);
        self.change(|world, now| world.profile_applied(observed, true, now));
    }

    async fn asked(&mut self) -> Asked {
        self.server.asked().await
    }

    /// The two requests that publish a profile, in either order: the finalizer's and the revision's.
    async fn asked_to_publish(&mut self) -> (Asked, Asked) {
        let (one, other) = (self.asked().await, self.asked().await);
        if one.path.contains("/seccomprevisions/") { (other, one) } else { (one, other) }
    }

    /// Ends it; nothing more may have been asked.
    async fn end(self) {
        self.process.shutdown.cancel();
        drop(self.shared);
        self.server.end().await;
    }
}

fn profile(names: &[&str]) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompProfile",
        "metadata": {
            "namespace": "shop", "name": "web", "uid": "uid-1", "generation": 1, "resourceVersion": "10",
        },
        "spec": {"profile": {
            "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
        }},
    })
}

fn web() -> Owner {
    Owner::namespaced("shop", "web").unwrap()
}

/// The same object, in another version and with something merged into it.
fn at_version(object: &Value, version: &str, merge: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = json!(version);
    for (key, value) in merge.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    object
}

/// Takes a profile to Ready, as the watch, the agent and the API server would; the object as it is then.
async fn make_ready(scenario: &mut Scenario) -> Value {
    let object = profile(&["read"]);
    scenario.shows::<SeccompProfile>(&object);
    let (finalizer, revision) = scenario.asked_to_publish().await;
    let object = at_version(&object, "11", &json!({"finalizers": ["portcullis.dev/in-use"]}));
    finalizer.answer(&object);
    let meta =
        RevisionMeta::from_metadata(&serde_json::from_value(revision.body["metadata"].clone()).unwrap());
    let meta = meta.unwrap();
    revision.answer(&json!({"metadata": meta.to_metadata()}));
    scenario.shows::<SeccompProfile>(&object);
    scenario.change(|world, now| world.revision_applied(&meta, Some("revision-uid".to_owned()), 1, now));
    scenario.report();
    let status = scenario.asked().await;
    assert!(status.path.ends_with("/status"), "{}", status.line());
    let mut object = at_version(&object, "12", &json!({}));
    object["status"] = status.body["status"].clone();
    status.answer(&object);
    scenario.shows::<SeccompProfile>(&object);
    object
}

#[tokio::test(start_paused = true)]
async fn a_new_profile_costs_three_requests() {
    let mut scenario = Scenario::new();
    let object = profile(&["read", "write"]);
    scenario.shows::<SeccompProfile>(&object);

    let (finalizer, revision) = scenario.asked_to_publish().await;
    let path = "/apis/portcullis.dev/v1alpha1/namespaces/shop/seccompprofiles/web";
    assert_eq!(finalizer.line(), format!("PATCH {path}"));
    assert!(finalizer.is_apply());
    assert_eq!(
        finalizer.body,
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
            "metadata": {
                "namespace": "shop", "name": "web", "uid": "uid-1", "finalizers": ["portcullis.dev/in-use"],
            },
        })
    );
    let content = revision.body["spec"]["content"].as_str().unwrap().to_owned();
    let digest = Digest::of(content.as_bytes());
    let name = web().revision_name(&digest);
    assert_eq!(revision.line(), format!("PATCH /apis/portcullis.dev/v1alpha1/seccomprevisions/{name}"));
    assert!(revision.is_apply());
    let meta =
        RevisionMeta::from_metadata(&serde_json::from_value(revision.body["metadata"].clone()).unwrap());
    let meta = meta.unwrap();
    let owner_uid = "uid-1".to_owned();
    let expected = RevisionMeta { owner: web(), owner_uid, digest, sequence: 1, revoked: None };
    assert_eq!(meta, expected);

    let object = at_version(&object, "11", &json!({"finalizers": ["portcullis.dev/in-use"]}));
    finalizer.answer(&object);
    revision.answer(&json!({"metadata": meta.to_metadata()}));
    scenario.shows::<SeccompProfile>(&object);
    scenario.change(|world, now| world.revision_applied(&meta, None, 1, now));
    scenario.report();

    let status = scenario.asked().await;
    assert_eq!(status.line(), format!("PATCH {path}/status"));
    assert!(status.is_apply());
    assert_eq!(status.body["metadata"]["uid"], "uid-1");
    assert_eq!(status.body["status"]["conditions"][0]["type"], "Ready");
    assert_eq!(status.body["status"]["conditions"][0]["status"], "True");
    assert_eq!(status.body["status"]["conditions"][0]["observedGeneration"], 1);
    assert_eq!(status.body["status"]["localhostProfile"], "profiles/shop/web.json");
    assert_eq!(status.body["status"]["nodes"]["summary"], "1/1");
    assert_eq!(status.body["spec"], Value::Null, "a user's spec is the user's");
    let mut object = at_version(&object, "12", &json!({}));
    object["status"] = status.body["status"].clone();
    status.answer(&object);
    scenario.shows::<SeccompProfile>(&object);
    tokio::time::sleep(Duration::from_secs(60)).await;
    scenario.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_looser_profile_costs_one_status_that_names_the_calls() {
    let mut scenario = Scenario::new();
    scenario.shows::<SeccompProfile>(&profile(&["bpf"]));
    let status = scenario.asked().await;
    let conditions = &status.body["status"]["conditions"];
    assert_eq!(conditions[1]["type"], "Stalled");
    assert_eq!(conditions[1]["reason"], "LooserThanRuntimeDefault");
    assert!(conditions[1]["message"].as_str().unwrap().contains("bpf"), "{conditions}");
    status.answer(&at_version(&profile(&["bpf"]), "11", &json!({})));
    tokio::task::yield_now().await;
    scenario.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_refuses_is_said_in_the_status_and_tried_again() {
    let mut scenario = Scenario::new();
    let object = profile(&["read"]);
    scenario.shows::<SeccompProfile>(&object);
    let (finalizer, revision) = scenario.asked_to_publish().await;
    let object = at_version(&object, "11", &json!({"finalizers": ["portcullis.dev/in-use"]}));
    finalizer.answer(&object);
    revision.refuse(403, "exceeded quota: revisions");
    // After a second both are due: the next attempt, and (it has failed again) the status.
    let again = scenario.asked().await;
    assert!(again.path.contains("/seccomprevisions/"), "{}", again.line());
    again.refuse(403, "exceeded quota: revisions");
    let status = scenario.asked().await;
    let message = status.body["status"]["conditions"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("exceeded quota: revisions"), "{message}");
    assert!(message.contains("SeccompProfile shop/web"), "{message}");
    status.answer(&at_version(&object, "12", &json!({})));
    assert_eq!(scenario.shared.metrics.errors.with_label_values(&["ApiForbidden"]).get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_profile_asks_for_its_pods_then_goes_with_its_revisions() {
    let mut scenario = Scenario::new();
    let object = make_ready(&mut scenario).await;
    let object =
        at_version(&object, "20", &json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "generation": 2}));
    scenario.shows::<SeccompProfile>(&object);

    let first = scenario.asked().await;
    assert_eq!(first.line(), "GET /api/v1/pods");
    assert!(first.query.contains("limit=50"), "{:?}", first.query);
    first.answer(&json!({"metadata": {"continue": "more"}, "items": []}));
    let second = scenario.asked().await;
    assert!(second.query.contains("continue=more"), "{:?}", second.query);
    let pod = json!({
        "metadata": {"namespace": "other", "name": "web-0"},
        "spec": {"containers": [{"name": "c", "securityContext": {"seccompProfile": {
            "type": "Localhost", "localhostProfile": "profiles/shop/web.json",
        }}}]},
    });
    second.answer(&json!({"metadata": {}, "items": [pod]}));
    let status = scenario.asked().await;
    let message = status.body["status"]["conditions"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("other/web-0"), "{message}");
    let mut object = at_version(&object, "21", &json!({}));
    object["status"] = status.body["status"].clone();
    status.answer(&object);
    scenario.shows::<SeccompProfile>(&object);

    let again = scenario.asked().await;
    assert_eq!(again.line(), "GET /api/v1/pods");
    again.answer(&json!({"metadata": {}, "items": []}));
    let deletion = scenario.asked().await;
    assert_eq!(deletion.method, Method::DELETE);
    assert!(deletion.path.contains("/seccomprevisions/sp.shop.web."), "{}", deletion.line());
    assert_eq!(deletion.body["preconditions"]["uid"], "revision-uid");
    deletion.answer(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
    let release = scenario.asked().await;
    assert_eq!(release.line(), "PATCH /apis/portcullis.dev/v1alpha1/namespaces/shop/seccompprofiles/web");
    assert_eq!(
        release.body,
        json!([
            {"op": "test", "path": "/metadata/finalizers/0", "value": "portcullis.dev/in-use"},
            {"op": "remove", "path": "/metadata/finalizers/0"},
        ])
    );
    release.answer(&at_version(&object, "22", &json!({"finalizers": []})));
    scenario.change(|world, now| world.profile_removed(&web(), now));
    tokio::task::yield_now().await;
    scenario.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_that_was_made_anew_meanwhile_is_left_alone() {
    let mut scenario = Scenario::new();
    let mut object = profile(&["read"]);
    object["kind"] = json!("ClusterSeccompProfile");
    object["metadata"].as_object_mut().unwrap().remove("namespace");
    scenario.shows::<ClusterSeccompProfile>(&object);
    let (finalizer, revision) = scenario.asked_to_publish().await;
    assert_eq!(finalizer.line(), "PATCH /apis/portcullis.dev/v1alpha1/clusterseccompprofiles/web");
    finalizer.refuse(409, "uid mismatch");
    revision.answer(&json!({"metadata": revision_metadata()}));
    tokio::task::yield_now().await;
    let owner = Owner::cluster("web").unwrap();
    scenario.change(|world, now| world.profile_removed(&owner, now));
    assert_eq!(scenario.shared.metrics.errors.with_label_values(&["ApiConflict"]).get(), 0, "no failure");
    scenario.end().await;
}

fn revision_metadata() -> Value {
    json!({"name": "csp.web.000000000000"})
}

/// A document of many names, each profile's own, so that none is served already. What counts is how many are worked on, not how long.
fn heavy(number: usize) -> Value {
    let name = |at: usize| {
        let letter = |at: usize| char::from(b"abcdefghijklmnopqrstuvwxyz"[at % 26]);
        format!("{}{}{}", letter(at), letter(at / 26), letter(at / 676))
    };
    let names: Vec<String> = (0..400).map(|at| name(at + number)).collect();
    let rules: Vec<Value> = (0..4).map(|_| json!({"names": names, "action": "SCMP_ACT_ALLOW"})).collect();
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
        "metadata": {
            "namespace": "flood", "name": format!("heavy-{number}"), "uid": format!("flood-{number}"), "generation": 1,
            "resourceVersion": "10",
        },
        "spec": {"profile": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}},
    })
}

/// One namespace may not hold up another, by processor time or by requests that are not answered.
#[tokio::test(start_paused = true)]
async fn a_flood_of_one_namespace_delays_another_by_no_more_than_its_share() {
    let mut scenario = Scenario::new();
    for number in 0..1_000 {
        scenario.shows::<SeccompProfile>(&heavy(number));
    }
    // The flood has what it can have at once under way, and none of its requests is answered.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let begun = scenario.shared.metrics.begun.get();
    assert!(begun <= u64::try_from(SHARE).unwrap(), "{begun} were worked out");
    let mut held_up = Vec::new();
    scenario.shows::<SeccompProfile>(&profile(&["read"]));
    let ready = loop {
        let asked = scenario.asked().await;
        match asked.line() {
            line if line.contains("/namespaces/shop/seccompprofiles/web/status") => break asked,
            line if line.contains("/namespaces/shop/") => {
                let object =
                    at_version(&profile(&["read"]), "11", &json!({"finalizers": ["portcullis.dev/in-use"]}));
                asked.answer(&object);
                scenario.shows::<SeccompProfile>(&object);
            }
            line if line.contains("/seccomprevisions/sp.shop.web.") => {
                let metadata = serde_json::from_value(asked.body["metadata"].clone()).unwrap();
                let meta = RevisionMeta::from_metadata(&metadata).unwrap();
                asked.answer(&json!({"metadata": meta.to_metadata()}));
                scenario.change(|world, now| world.revision_applied(&meta, None, 1, now));
                scenario.report();
            }
            _ => held_up.push(asked),
        }
    };
    assert_eq!(ready.body["status"]["conditions"][0]["status"], "True");
    // The flood's own requests: a finalizer and a revision, or a status, of each that it may have under way.
    assert!(held_up.len() <= 2 * SHARE, "{}", held_up.len());
    let more = scenario.shared.metrics.begun.get() - begun;
    assert!(more <= 2, "{more} were worked out until the other's was Ready");
}
