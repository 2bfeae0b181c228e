//! Which requests are made, with which bodies, and what is made of the answers.

use std::{sync::Arc, time::Duration};

use portcullis_api::Owner;
use portcullis_runtime::Process;

use super::*;
use crate::{
    mock::{Asked, Server, shared},
    nodes::NodeFacts,
    recordings::{Recordings, work},
    world::World,
};

pub(super) struct Scenario {
    pub(super) recordings: Arc<Recordings>,
    server: Server,
    process: Process,
}

const PROFILES: &str = "/apis/portcullis.dev/v1alpha1/namespaces/shop/seccompprofiles";
const STATUS: &str = "PATCH /apis/portcullis.dev/v1alpha1/namespaces/shop/seccomprecordings/web/status";

impl Scenario {
    pub(super) fn new(spec: &Value) -> Self {
        let process = Process::new("controller").unwrap();
        let (client, server) = Server::new();
        let shared = shared(&process, client.clone());
        let (name, uid) = ("n1".to_owned(), "node".to_owned());
        let node = NodeFacts { name, uid, ready: true, linux: true, ..NodeFacts::default() };
        shared.change(|world, now| world.node_applied(node, now));
        let recordings = Arc::new(Recordings::new(shared, client));
        recordings.change(|picture| picture.recording_applied(key(), read(&recording(spec))));
        let seen = part("n1", "1", &[("suite", saw(&[("read", 5), ("write", 1)], 0))]);
        recordings.change(|picture| picture.part_applied(seen));
        recordings.change(|picture| picture.recorder_applied("recorder-n1".to_owned(), recorder("n1", true)));
        recordings.change(|picture| picture.all_synced());
        tokio::spawn(work::run(recordings.clone()));
        Self { recordings, server, process }
    }

    pub(super) async fn asked(&mut self, line: &str) -> Asked {
        let asked = self.server.asked().await;
        assert_eq!(asked.line(), line);
        asked
    }

    /// The status is written, and answered.
    pub(super) async fn status(&mut self) -> Value {
        let asked = self.asked(STATUS).await;
        assert!(asked.is_apply());
        assert_eq!(asked.body["metadata"]["uid"], "uid-1");
        let status = asked.body["status"].clone();
        let mut object = recording(&json!({}));
        object["status"] = status.clone();
        asked.answer(&object);
        status
    }

    /// Nothing more is asked for so long.
    pub(super) async fn rests(self, time: Duration) {
        tokio::time::sleep(time).await;
        self.process.shutdown.cancel();
        drop(self.recordings);
        self.server.end().await;
    }
}

/// The condition's status and reason.
fn words(status: &Value, kind: &str) -> Option<(String, String)> {
    let condition = status["conditions"].as_array()?.iter().find(|one| one["type"] == kind)?;
    Some((condition["status"].as_str()?.to_owned(), condition["reason"].as_str()?.to_owned()))
}

fn created(reason: &str, holds: &str) -> Option<(String, String)> {
    Some((holds.to_owned(), reason.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_recording_that_makes_no_profile_costs_one_request() {
    let mut scenario = Scenario::new(&json!({}));
    let status = scenario.status().await;
    assert_eq!(status["callNames"], json!(["read", "write"]));
    assert_eq!(words(&status, "ProfileCreated"), None);
    scenario.rests(Duration::from_secs(3600)).await;
}

#[tokio::test(start_paused = true)]
async fn creates_a_profile_in_audit_mode_that_says_where_it_comes_from() {
    let spec = json!({"output": {"create": true}, "profile": {"name": "made", "defaultErrnoRet": 1}});
    let mut scenario = Scenario::new(&spec);
    scenario.asked(&format!("GET {PROFILES}/made")).await.refuse(404, "not found");
    let create = scenario.asked(&format!("POST {PROFILES}")).await;
    assert_eq!(create.body["metadata"]["name"], "made");
    assert_eq!(create.body["metadata"]["annotations"]["portcullis.dev/recording-uid"], "uid-1");
    let made = create.body["spec"].clone();
    assert_eq!((&made["mode"], &made["profile"]["defaultErrnoRet"]), (&json!("Audit"), &json!(1)));
    let names = ["exit", "exit_group", "read", "restart_syscall", "rt_sigreturn", "write"];
    assert_eq!(made["profile"]["syscalls"][0]["names"], json!(names));
    assert_eq!(
        made["recordedFrom"],
        json!({
            "recording": "web", "images": ["sha256:1"], "kernels": ["6.18"], "runtimes": ["containerd://2"],
            "architectures": ["SCMP_ARCH_X86_64"], "runs": ["suite"], "lastNewCallTime": at(0).to_string(),
        })
    );
    let body = create.body.clone();
    create.answer(&body);
    assert_eq!(words(&scenario.status().await, "ProfileCreated"), created("Created", "True"));
    scenario.rests(Duration::from_secs(3600)).await;
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_it_did_not_create_is_left_alone() {
    let mut scenario = Scenario::new(&json!({"output": {"create": true}}));
    let mut existing = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
        "metadata": {"namespace": "shop", "name": "web", "uid": "p", "resourceVersion": "7"},
        "spec": {"profile": {"defaultAction": "SCMP_ACT_ERRNO"}},
    });
    scenario.asked(&format!("GET {PROFILES}/web")).await.answer(&existing);
    let status = scenario.status().await;
    assert_eq!(words(&status, "ProfileCreated"), created("NameTaken", "False"));
    // One of an earlier recording of the same name is another's as well.
    existing["metadata"]["annotations"] = json!({"portcullis.dev/recording-uid": "uid-0"});
    tokio::time::sleep(Duration::from_secs(200)).await;
    scenario.asked(&format!("GET {PROFILES}/web")).await.answer(&existing);
    scenario.rests(Duration::from_secs(200)).await;
}

#[tokio::test(start_paused = true)]
async fn updates_the_profile_that_it_created_and_what_a_user_set_beside_it_stays() {
    let mut scenario = Scenario::new(&json!({"output": {"create": true}}));
    let existing = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
        "metadata": {
            "namespace": "shop", "name": "web", "uid": "p", "resourceVersion": "7",
            "labels": {"team": "web"}, "annotations": {"portcullis.dev/recording-uid": "uid-1"},
        },
        "spec": {"mode": "Audit", "revisionHistoryLimit": 5, "profile": {"defaultAction": "SCMP_ACT_ERRNO"}},
    });
    scenario.asked(&format!("GET {PROFILES}/web")).await.answer(&existing);
    let update = scenario.asked(&format!("PUT {PROFILES}/web")).await;
    assert_eq!(update.body["metadata"]["resourceVersion"], "7", "or another's write would be lost");
    assert_eq!(update.body["metadata"]["labels"], json!({"team": "web"}));
    assert_eq!(update.body["spec"]["revisionHistoryLimit"], 5);
    assert_eq!(update.body["spec"]["recordedFrom"]["recording"], "web");
    // Somebody was faster: it is read again.
    update.refuse(409, "the object has been modified");
    scenario.asked(&format!("GET {PROFILES}/web")).await.answer(&existing);
    let update = scenario.asked(&format!("PUT {PROFILES}/web")).await;
    let body = update.body.clone();
    update.answer(&body);
    assert_eq!(words(&scenario.status().await, "ProfileCreated"), created("Created", "True"));
    scenario.rests(Duration::from_secs(3600)).await;
}

#[tokio::test(start_paused = true)]
async fn a_base_that_is_missing_is_named() {
    let bases = json!([{"kind": "ClusterSeccompProfile", "name": "base"}]);
    let mut scenario = Scenario::new(&json!({"output": {"create": true}, "profile": {"bases": bases}}));
    let base = "GET /apis/portcullis.dev/v1alpha1/clusterseccompprofiles/base";
    scenario.asked(base).await.refuse(404, "not found");
    let status = scenario.status().await;
    assert_eq!(words(&status, "ProfileCreated"), created("NotMade", "False"));
    let message = status["conditions"][2]["message"].as_str().unwrap();
    assert_eq!(message, "spec.profile.bases: there is no ClusterSeccompProfile base");
    let found = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "ClusterSeccompProfile", "metadata": {"name": "base"},
        "spec": {"profile": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        ]}},
    });
    scenario.asked(base).await.answer(&found);
    scenario.asked(&format!("GET {PROFILES}/web")).await.refuse(404, "not found");
    let create = scenario.asked(&format!("POST {PROFILES}")).await;
    assert_eq!(create.body["spec"]["bases"], bases);
    let names = create.body["spec"]["profile"]["syscalls"][0]["names"].clone();
    assert!(!names.as_array().unwrap().contains(&json!("read")), "{names}");
    let body = create.body.clone();
    create.answer(&body);
    let status = scenario.status().await;
    assert_eq!(status["notes"], json!(["left to the bases, which allow them: read"]));
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_held_to_what_stands_in_the_runtime_defaults_place() {
    let mut scenario = Scenario::new(&json!({"output": {"create": true}}));
    let chosen = Owner::cluster("standard").unwrap();
    let shared = scenario.recordings.shared.clone();
    {
        let mut world = shared.world();
        let lasting = crate::settings::Lasting::default();
        let empty =
            World::new("profiles".to_owned(), shared.bounds.clone(), lasting, tokio::time::Instant::now());
        *world = std::mem::replace(&mut *world, empty).with_baseline(Some(chosen));
    }
    // Nothing is made before it is known.
    let begun = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    shared.change(|world, _| world.all_synced());
    let status = scenario.status().await;
    assert!(begun.elapsed() >= Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(words(&status, "ProfileCreated"), created("NotMade", "False"));
    let message = status["conditions"][2]["message"].as_str().unwrap();
    assert!(
        message.starts_with("ClusterSeccompProfile standard, which the controller was told"),
        "{message}"
    );
    drop(shared);
    scenario.rests(Duration::from_secs(200)).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_being_deleted_is_no_failure() {
    let mut scenario = Scenario::new(&json!({"output": {"create": true}}));
    scenario.asked(&format!("GET {PROFILES}/web")).await.refuse(404, "not found");
    let ending = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": "unable to create new content in namespace shop because it is being terminated",
        "details": {"causes": [{"reason": "NamespaceTerminating", "message": "namespace shop is being terminated"}]},
    });
    scenario.asked(&format!("POST {PROFILES}")).await.answer_with(403, &ending);
    scenario.recordings.change(|picture| picture.recording_removed(&key()));
    let errors = &scenario.recordings.shared.metrics.errors;
    assert_eq!(errors.with_label_values(&["ApiForbidden"]).get(), 0);
    scenario.rests(Duration::from_secs(3600)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_is_tried_again_later() {
    let mut scenario = Scenario::new(&json!({}));
    scenario.asked(STATUS).await.refuse(500, "etcd is away");
    let failed = tokio::time::Instant::now();
    scenario.status().await;
    assert!(failed.elapsed() >= Duration::from_secs(30), "{:?}", failed.elapsed());
    scenario.rests(Duration::from_secs(3600)).await;
}

#[tokio::test(start_paused = true)]
async fn the_part_of_a_node_that_is_gone_is_written_down_before_it_is_deleted() {
    let mut scenario = Scenario::new(&json!({}));
    scenario.status().await;
    scenario.recordings.shared.change(|world, now| world.node_removed("n1", now));
    let tick = tokio::spawn(scenario.recordings.clone().tick());
    let gone = tokio::time::Instant::now();
    assert_eq!(scenario.status().await["nodes"], 0);
    let parts = "/apis/portcullis.dev/v1alpha1/namespaces/shop/seccomprecordingparts";
    let write = scenario.asked(&format!("POST {parts}")).await;
    assert!(gone.elapsed() >= Duration::from_secs(600), "{:?}", gone.elapsed());
    assert_eq!(write.body["metadata"]["ownerReferences"][0]["uid"], "uid-1");
    assert_eq!(write.body["spec"]["entries"][0]["calls"], "SCMP_ARCH_X86_64=0:5:0,1:1:0");
    let mut written = write.body.clone();
    written["metadata"]["uid"] = json!("archive");
    written["metadata"]["resourceVersion"] = json!("20");
    write.answer(&written);
    let delete = scenario.asked(&format!("DELETE {parts}/web.n1")).await;
    assert_eq!(delete.body["preconditions"], json!({"uid": "part-n1", "resourceVersion": "1"}));
    delete.answer(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
    // Another node goes: that part is written in place of the version that is known, and of no other.
    let next = part("n2", "5", &[("suite", saw(&[("read", 1)], 0))]);
    scenario.recordings.change(|picture| picture.part_applied(next));
    let write = scenario.asked(&format!("PUT {parts}/web")).await;
    assert_eq!(write.body["metadata"]["resourceVersion"], "20");
    assert_eq!(
        write.body["spec"]["entries"][0]["calls"], "SCMP_ARCH_X86_64=0:5:0,1:1:0",
        "what was pending is settled"
    );
    assert_eq!(write.body["spec"]["entries"][1]["part"], "part-n2");
    write.refuse(409, "the object has been modified");
    let again = scenario.asked(&format!("PUT {parts}/web")).await;
    let mut written = again.body.clone();
    written["metadata"]["resourceVersion"] = json!("21");
    again.answer(&written);
    let delete = scenario.asked(&format!("DELETE {parts}/web.n2")).await;
    delete.answer(&json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    tick.abort();
    scenario.rests(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_recording_are_looked_for_while_a_node_has_no_recorder() {
    let mut scenario = Scenario::new(&json!({}));
    scenario.status().await;
    let recorder = |ready| super::recorder("n1", ready);
    scenario.recordings.change(|picture| picture.recorder_applied("recorder-n1".to_owned(), recorder(false)));
    let pods = "GET /api/v1/namespaces/shop/pods";
    let pod = |name: &str, node: &str| {
        let metadata = json!({"name": name, "uid": name, "creationTimestamp": at(0).to_string()});
        json!({"metadata": metadata, "spec": {"nodeName": node}, "status": {"phase": "Running"}})
    };
    let list =
        |items: &[Value]| json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    scenario.asked(pods).await.answer(&list(&[pod("web-1", "n1"), pod("web-2", "n2")]));
    // It is gone at the next look, so the recorder, once it is back, finds it no more.
    scenario.asked(pods).await.answer(&list(&[]));
    let status = scenario.status().await;
    assert_eq!(status["unrecorded"][0]["pods"], json!([{"name": "web-1", "uid": "web-1"}]));
    scenario.recordings.change(|picture| picture.recorder_applied("recorder-n1".to_owned(), recorder(true)));
    scenario.asked(pods).await.answer(&list(&[]));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(scenario.status().await["unrecorded"][0]["until"].is_string());
    scenario.rests(Duration::from_secs(3600)).await;
}
