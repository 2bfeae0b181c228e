use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::cluster::fake::{self, Asked};

/// A container's state under a path.
fn pod(name: &str, path: &str, status: &Value) -> Value {
    let context = json!({
        "allowPrivilegeEscalation": false,
        "seccompProfile": {"type": "Localhost", "localhostProfile": path},
    });
    let mut status = status.clone();
    status["name"] = json!("main");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"nodeName": "node1", "containers": [{"name": "main", "securityContext": context}]},
        "status": {"containerStatuses": [status]},
    })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"state": {"waiting": {"reason": reason, "message": message}}})
}

fn crashed(code: i32, reason: &str, message: &str) -> Value {
    json!({
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": {"exitCode": code, "reason": reason, "message": message}},
    })
}

/// A document that allows all but some calls.
fn without(calls: &[&str]) -> String {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": calls, "action": "SCMP_ACT_ERRNO"}],
    })
    .to_string()
}

fn cluster(pod: Value, content: String, events: Vec<Value>) -> Cluster {
    let digest = portcullis_profile::Digest::of(content.as_bytes());
    fake::cluster(move |asked: Asked| {
        let last = asked.path.rsplit('/').next().unwrap_or_default().to_owned();
        match last.as_str() {
            "events" if asked.query.contains("FailedCreate") => fake::list(&events),
            "events" => fake::list(&events),
            "node1" => (
                StatusCode::OK,
                json!({
                    "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"},
                    "status": {"nodeInfo": {"architecture": "amd64", "bootID": "", "containerRuntimeVersion": "",
                        "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "",
                        "operatingSystem": "linux", "osImage": "", "systemUUID": ""}},
                }),
            ),
            "seccompprofiles" => fake::list(&[json!({
                "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
                "metadata": {"namespace": "shop", "name": "web", "generation": 1},
                "spec": {"mode": "Enforce"},
                "status": {
                    "localhostProfile": "profiles/shop/web.json", "digest": digest,
                    "conditions": [{"type": "Ready", "status": "True", "reason": "Distributed", "message": "on 2 nodes",
                        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                },
            })]),
            "clusterseccompprofiles" | "replicasets" | "jobs" => fake::list(&[]),
            "pods" => fake::list(&[]),
            "web" => (StatusCode::OK, pod.clone()),
            name if asked.path.contains("seccomprevisions") => (
                StatusCode::OK,
                json!({
                    "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRevision", "metadata": {"name": name},
                    "spec": {"content": content},
                }),
            ),
            _ => panic!("nobody should ask for {}", asked.path),
        }
    })
}

fn arguments(words: &[&str]) -> Arguments {
    use clap::{Args as _, FromArgMatches as _};
    let command = Arguments::augment_args(clap::Command::new("why"));
    let matches = command.get_matches_from(std::iter::once("why").chain(words.iter().copied()));
    Arguments::from_arg_matches(&matches).unwrap()
}

async fn said(pod: Value, content: String, events: Vec<Value>) -> (String, Verdict) {
    let (report, notes) = gather(&cluster(pod, content, events), &arguments(&["web"])).await.unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let mut out = Vec::new();
    report.write(&mut out).unwrap();
    (String::from_utf8(out).unwrap(), report.verdict())
}

const WEB: &str = "profiles/shop/web.json";
const NO_FILE: &str = "failed to create containerd container: cannot load seccomp profile \
                       \"/var/lib/kubelet/seccomp/profiles/shop/x.json\": open: no such file or directory";
const FSTAT: &str = "failed to create containerd task: failed to start: runc: reopen exec fifo: fstat: function not implemented";

#[tokio::test]
async fn a_wrong_path_is_named_with_the_right_one() {
    let pod = pod("web", "localhost/profiles/shop/web.json", &waiting("CreateContainerError", NO_FILE));
    let (said, verdict) = said(pod, without(&["mount"]), Vec::new()).await;
    assert_eq!(
        said,
        "pod/web, container main under localhost/profiles/shop/web.json:\n\
         \x20 its file is on no node: the path is relative to the kubelet's seccomp directory, without\n\
         \x20 \"localhost/\"\n\
         \x20 Name profiles/shop/web.json in localhostProfile.\n"
    );
    assert_eq!(verdict, Verdict::No);
}

#[tokio::test]
async fn a_file_that_came_late_needs_nothing() {
    let (said, _) =
        said(pod("web", WEB, &waiting("CreateContainerError", NO_FILE)), without(&["mount"]), Vec::new())
            .await;
    assert!(said.contains("sp/web is Ready now") && said.contains("tries again by itself"), "{said}");
}

#[tokio::test]
async fn the_runtimes_own_calls_are_named_and_the_change_is_printed() {
    let pod = pod("web", WEB, &crashed(128, "StartError", FSTAT));
    let (said, verdict) = said(pod, without(&["fstat", "mount"]), Vec::new()).await;
    assert_eq!(
        said,
        "pod/web, container main under sp/web:\n\
         \x20 the profile denies calls that the runtime makes to start a container; it said: failed to create\n\
         \x20 containerd task: failed to start: runc: reopen exec fifo: fstat: function not implemented\n\
         \x20 Denied and needed: fstat\n\
         \x20 A rule names fstat: take that out of it, because a second rule does not undo it.\n\
         \x20 Add to the profile's syscalls:\n\
         \x20   - names: [fstat]\n\
         \x20     action: SCMP_ACT_ALLOW\n"
    );
    assert_eq!(verdict, Verdict::No);
}

#[tokio::test]
async fn what_a_filter_killed_and_what_ended_by_itself_are_told_apart() {
    let (killed, verdict) =
        said(pod("web", WEB, &crashed(159, "Error", "")), without(&["brk"]), Vec::new()).await;
    assert!(killed.contains("SIGSYS") && killed.contains("Denied and needed: brk"), "{killed}");
    assert_eq!(verdict, Verdict::No);
    let (ended, verdict) =
        said(pod("web", WEB, &crashed(1, "Error", "")), without(&["mount"]), Vec::new()).await;
    assert!(ended.contains("it ended with 1, 4 times so far") && ended.contains("Audit mode"), "{ended}");
    assert_eq!(verdict, Verdict::Incomplete);
    let (unstarted, verdict) =
        said(pod("web", WEB, &crashed(1, "Error", "")), without(&["getdents64"]), Vec::new()).await;
    assert!(unstarted.contains("runc makes") && unstarted.contains("needed: getdents64"), "{unstarted}");
    assert_eq!(verdict, Verdict::No);
    let mut between = crashed(1, "Error", "");
    between["state"] = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let (again, verdict) = said(pod("web", WEB, &between), without(&["getdents64"]), Vec::new()).await;
    assert!(again.contains("needed: getdents64") && verdict == Verdict::No, "{again}");
    let (well, verdict) = said(pod("web", WEB, &between), without(&["mount"]), Vec::new()).await;
    assert!(well.contains("it runs") && verdict == Verdict::Yes, "{well}");
    let (early, verdict) =
        said(pod("web", WEB, &crashed(127, "Error", "")), without(&["mmap"]), Vec::new()).await;
    assert!(early.contains("nearly every program") && early.contains("needed: mmap"), "{early}");
    assert_eq!(verdict, Verdict::No);
}

#[tokio::test]
async fn a_failing_exec_probe_of_a_running_container_is_seen_in_its_events() {
    let running = json!({"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "type": "Warning", "reason": "Unhealthy",
        "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{main}"},
        "message": "Readiness probe errored: rpc error: OCI runtime exec failed: exec failed: function not implemented",
    });
    let pod = pod("web", WEB, &running);
    let (denied, verdict) = said(pod.clone(), without(&["statx"]), vec![event.clone()]).await;
    assert!(denied.contains("`kubectl exec` fail") && denied.contains("needed: statx"), "{denied}");
    assert_eq!(verdict, Verdict::No);
    let (well, verdict) = said(pod, without(&["statx"]), Vec::new()).await;
    assert!(well.contains("it runs") && verdict == Verdict::Yes, "{well}");
}

#[tokio::test]
async fn what_no_profile_has_to_do_with_is_said_to_be_that() {
    let pod = pod("web", WEB, &waiting("ImagePullBackOff", "no such image"));
    let (said, verdict) = said(pod, without(&["mount"]), Vec::new()).await;
    assert!(said.contains("it waits: ImagePullBackOff: no such image"), "{said}");
    assert_eq!(verdict, Verdict::Yes);
}

#[tokio::test]
async fn pods_that_were_refused_leave_an_event_of_what_makes_them() {
    let event = |kind: &str, name: &str, message: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "type": "Warning", "reason": "FailedCreate",
            "involvedObject": {"kind": kind, "name": name}, "message": message,
        })
    };
    let refusal = "pods \"web-1\" is forbidden: ValidatingAdmissionPolicy 'portcullis-pods' denied request";
    let events = vec![
        event("ReplicaSet", "web-7d4b9c6f5", refusal),
        event("ReplicaSet", "web-7d4b9c6f5", "exceeded quota"),
        event("ReplicaSet", "web-api-7d4b9c6f5", "another workload's: seccomp"),
    ];
    let cluster = cluster(json!(null), without(&["mount"]), events);
    let (report, _) = gather(&cluster, &arguments(&["deploy/web"])).await.unwrap();
    assert_eq!((report.refused, report.containers.len()), (vec![refusal.to_owned()], 0));
}

#[tokio::test]
async fn who_may_not_read_revisions_has_the_profiles_own_document_judged() {
    let inner = pod("web", WEB, &crashed(128, "StartError", FSTAT));
    let cluster = fake::cluster(move |asked: Asked| {
        if asked.path.contains("seccomprevisions") {
            return fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "seccomprevisions is forbidden");
        }
        let last = asked.path.rsplit('/').next().unwrap_or_default().to_owned();
        match last.as_str() {
            "events" | "clusterseccompprofiles" => fake::list(&[]),
            "node1" => fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "nodes is forbidden"),
            "seccompprofiles" => fake::list(&[object()]),
            "web" if asked.path.contains("seccompprofiles") => (StatusCode::OK, object()),
            "web" => (StatusCode::OK, inner.clone()),
            _ => panic!("nobody should ask for {}", asked.path),
        }
    });
    let (report, notes) = gather(&cluster, &arguments(&["web"])).await.unwrap();
    assert_eq!(report.containers[0].denied, ["fstat"]);
    assert!(
        notes.iter().any(|note| note.starts_with("sp/web is judged by its present spec.profile")),
        "{notes:?}"
    );
    assert!(notes.iter().any(|note| note.starts_with("the profile is judged for ")), "{notes:?}");
}

fn object() -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"profile": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["fstat"], "action": "SCMP_ACT_ERRNO"}],
        }},
        "status": {"localhostProfile": WEB, "digest": portcullis_profile::Digest::of(b"a")},
    })
}

#[test]
fn targets_are_named_as_kubectl_names_them() {
    let parse = |text: &str| text.parse::<Target>();
    assert_eq!(parse("web"), Ok(Target::Pod("web".to_owned())));
    assert_eq!(parse("po/web"), Ok(Target::Pod("web".to_owned())));
    assert_eq!(
        parse("deployment.apps/web"),
        Ok(Target::Workload { kind: "Deployment", name: "web".to_owned() })
    );
    assert!(parse("svc/web").unwrap_err().contains("deploy/"));
    assert!(parse("deploy/").is_err());
}

/// Regression: a pod on a node that can't be read was judged for the previous pod's node, though the note named this machine.
#[tokio::test]
async fn a_pod_on_a_node_that_can_not_be_read_is_judged_for_this_machine() {
    let other = match platform::host_arch() {
        Arch::Aarch64 => ("amd64", Arch::X86_64),
        _ => ("arm64", Arch::Aarch64),
    };
    let cluster = fake::cluster(move |asked: Asked| match asked.path.rsplit('/').next() {
        Some("known") => {
            let info = json!({"architecture": other.0, "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
                "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "linux", "osImage": "",
                "systemUUID": ""});
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "known"}, "status": {"nodeInfo": info}});
            (StatusCode::OK, node)
        }
        _ => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                "message": "nodes \"gone\" not found", "details": {"name": "gone", "kind": "nodes"}});
            (StatusCode::NOT_FOUND, status)
        }
    });
    let mut notes = Vec::new();
    let mut judged = Vec::new();
    for node in ["known", "gone"] {
        let mut pod = pod("web", WEB, &waiting("CreateContainerError", NO_FILE));
        pod["spec"]["nodeName"] = json!(node);
        let pod: SlimPod = serde_json::from_value(pod).unwrap();
        judged.push(arch_of(&cluster, &pod, &mut notes).await.unwrap());
    }
    assert_eq!(judged, [other.1, platform::host_arch()]);
    assert!(
        notes[0].starts_with(&format!("the profile is judged for {}", platform::host_arch())),
        "{notes:?}"
    );
}
