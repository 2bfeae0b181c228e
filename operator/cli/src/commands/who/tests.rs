use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::cluster::fake::{self, Asked};

fn pod(name: &str, context: &Value, owner: Option<(&str, &str)>) -> Value {
    let owners: Vec<Value> = owner
        .map(|(kind, name)| json!({"apiVersion": "x/v1", "kind": kind, "name": name, "uid": "u", "controller": true}))
        .into_iter()
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "ownerReferences": owners},
        "spec": {"nodeName": "node1", "containers": [{"name": "main", "securityContext": context}]},
        "status": {"containerStatuses": [{"name": "main", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]},
    })
}

fn localhost(path: &str) -> Value {
    json!({"seccompProfile": {"type": "Localhost", "localhostProfile": path}})
}

fn profile(name: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"mode": mode},
        "status": {"localhostProfile": format!("profiles/shop/{name}.json")},
    })
}

fn pods() -> Vec<Value> {
    vec![
        pod("ok", &localhost("profiles/shop/web.json"), None),
        pod("audited", &localhost("profiles/shop/tried.json"), None),
        pod("lost", &localhost("profiles/shop/gone.json"), None),
        pod("foreign", &localhost("spo/x.json"), None),
        pod("plain-1", &json!(null), Some(("ReplicaSet", "plain-abc"))),
        pod("plain-2", &json!(null), Some(("ReplicaSet", "plain-def"))),
        pod("mighty", &json!({"privileged": true}), Some(("DaemonSet", "mighty"))),
        pod("default", &json!({"seccompProfile": {"type": "RuntimeDefault"}}), None),
    ]
}

fn answer(asked: &Asked) -> (StatusCode, Value) {
    let replica_set = |name: &str| {
        let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "plain", "uid": "u", "controller": true});
        json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"namespace": "shop", "name": name, "ownerReferences": [owner]},
        })
    };
    match asked.path.rsplit('/').next() {
        Some("pods") => fake::list(&pods()),
        Some("replicasets") => {
            fake::list(&[replica_set("plain-abc"), replica_set("plain-def"), replica_set("another")])
        }
        Some("seccompprofiles") => fake::list(&[profile("web", "Enforce"), profile("tried", "Audit")]),
        Some("clusterseccompprofiles") => fake::list(&[]),
        _ => panic!("nobody should ask for {}", asked.path),
    }
}

fn arguments(words: &[&str]) -> Arguments {
    use clap::{Args as _, FromArgMatches as _};
    let command = Arguments::augment_args(clap::Command::new("who"));
    let matches = command.get_matches_from(std::iter::once("who").chain(words.iter().copied()));
    Arguments::from_arg_matches(&matches).unwrap()
}

async fn table(cluster: &Cluster, arguments: &Arguments) -> (String, Vec<String>) {
    let scope = cluster.scope(arguments.everywhere);
    let (report, notes) = gather(cluster, &scope, arguments).await.unwrap();
    let mut out = Vec::new();
    report.write(arguments.output.is_some(), arguments, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), notes)
}

#[tokio::test]
async fn the_riskiest_come_first_and_a_rollouts_pods_are_one_workload() {
    let cluster = fake::cluster(|asked| answer(&asked));
    let (said, notes) = table(&cluster, &arguments(&[])).await;
    assert_eq!(
        said,
        "WORKLOAD       CONTAINER   PODS   CONFINEMENT      PROFILE\n\
         ds/mighty      main        1      privileged       -\n\
         deploy/plain   main        2      not set          -\n\
         pod/lost       main        1      Localhost        no such profile\n\
         pod/foreign    main        1      Localhost        not Portcullis's\n\
         pod/audited    main        1      Localhost        sp/tried (Audit)\n\
         pod/default    main        1      RuntimeDefault   -\n\
         pod/ok         main        1      Localhost        sp/web\n"
    );
    assert!(notes.is_empty(), "{notes:?}");
}

#[tokio::test]
async fn only_the_uncovered_are_shown_and_all_are_counted() {
    let cluster = fake::cluster(|asked| answer(&asked));
    let arguments = arguments(&["--uncovered", "--by-pod", "-o", "wide"]);
    let scope = cluster.scope(arguments.everywhere);
    let (report, _) = gather(&cluster, &scope, &arguments).await.unwrap();
    assert_eq!((report.summary.containers, report.summary.uncovered), (8, 4));
    let (said, _) = table(&cluster, &arguments).await;
    assert_eq!(
        said,
        "POD       CONTAINER   CONFINEMENT   PROFILE           NODE    SET BY      PATH\n\
         mighty    main        privileged    -                 node1   container   -\n\
         plain-1   main        not set       -                 node1   -           -\n\
         plain-2   main        not set       -                 node1   -           -\n\
         lost      main        Localhost     no such profile   node1   container   profiles/shop/gone.json\n"
    );
}

#[tokio::test]
async fn without_portcullis_and_without_rights_the_question_is_answered_as_far_as_it_goes() {
    let cluster = fake::cluster(|asked| match asked.path.rsplit('/').next() {
        Some("seccompprofiles") => fake::refusal(StatusCode::NOT_FOUND, "NotFound", "404 page not found"),
        Some("replicasets") => {
            fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "replicasets.apps is forbidden")
        }
        _ => answer(&asked),
    });
    let (said, notes) = table(&cluster, &arguments(&[])).await;
    assert!(said.contains("rs/plain-abc   main        1      not set          -\n"), "{said}");
    assert!(said.contains("pod/ok         main        1      Localhost        -\n"), "{said}");
    assert!(
        notes[0].starts_with("profiles are not named: the cluster knows no seccompprofiles"),
        "{notes:?}"
    );
    assert!(
        notes[1].contains("Role with the verb list on the resource replicasets of the API group \"apps\""),
        "{notes:?}"
    );
}

#[tokio::test]
async fn namespaces_are_left_out_by_the_server() {
    let cluster = fake::cluster(|asked| {
        if asked.path.ends_with("/pods") {
            assert!(asked.query.contains("metadata.namespace%21%3Dkube-system"), "{}", asked.query);
            assert!(asked.query.contains("status.phase%21%3DSucceeded"), "{}", asked.query);
        }
        answer(&asked)
    });
    table(&cluster, &arguments(&["-A", "--exclude-namespace", "kube-system"])).await;
}

/// A pod on nodes of a runtime, or with a runtime class.
fn on(runtime: &str, class: Option<&str>, name: &str, context: &Value) -> Value {
    let mut pod = pod(name, context, None);
    pod["spec"]["runtimeClassName"] = json!(class);
    pod["status"]["containerStatuses"][0]["containerID"] = json!(format!("{runtime}://0123"));
    pod
}

#[tokio::test]
async fn what_a_runtime_makes_of_it_is_told_apart() {
    let cluster = fake::cluster(|asked| match asked.path.rsplit('/').next() {
        Some("pods") => fake::list(&[
            on("docker", None, "missing", &localhost("profiles/shop/gone.json")),
            on("docker", None, "late", &localhost("profiles/shop/web.json")),
            on("containerd", None, "waited", &localhost("profiles/shop/web.json")),
            on("cri-o", None, "mighty", &json!({"privileged": true})),
            on("containerd", Some("sandboxed"), "gvisor", &localhost("profiles/shop/web.json")),
            on("containerd", Some("sandboxed"), "bare", &json!(null)),
            on("containerd", Some("fast"), "crun", &localhost("profiles/shop/web.json")),
        ]),
        Some("runtimeclasses") => fake::list(&[
            json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "sandboxed"}, "handler": "runsc"}),
            json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "fast"}, "handler": "crun"}),
        ]),
        Some("seccompprofiles") => {
            let mut web = profile("web", "Enforce");
            web["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:01Z");
            fake::list(&[web])
        }
        _ => answer(&asked),
    });
    let arguments = arguments(&["-o", "wide"]);
    let (said, notes) = table(&cluster, &arguments).await;
    assert_eq!(
        said,
        "WORKLOAD      CONTAINER   PODS   CONFINEMENT                PROFILE                               SET BY      RUNTIME CLASS   PATH\n\
         pod/mighty    main        1      privileged (CRI-O)         -                                     container   -               -\n\
         pod/late      main        1      Localhost                  sp/web (started before it, without)   container   -               profiles/shop/web.json\n\
         pod/missing   main        1      Localhost                  no such profile: runs without         container   -               profiles/shop/gone.json\n\
         pod/crun      main        1      Localhost                  sp/web                                container   fast            profiles/shop/web.json\n\
         pod/waited    main        1      Localhost                  sp/web                                container   -               profiles/shop/web.json\n\
         pod/bare      main        1      not set (in a sandbox)     -                                     -           sandboxed       -\n\
         pod/gvisor    main        1      Localhost (in a sandbox)   sp/web                                container   sandboxed       profiles/shop/web.json\n"
    );
    assert!(notes.is_empty(), "{notes:?}");
    let scope = cluster.scope(arguments.everywhere);
    let summary = gather(&cluster, &scope, &arguments).await.unwrap().0.summary;
    assert_eq!((summary.containers, summary.uncovered, summary.sandboxed), (7, 3, 2));
    let said = summary.describe(&scope);
    for part in [
        "2 of 7 running",
        "2 of them run in a sandbox",
        "1 of them name a file",
        "privileged_seccomp_profile",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn a_wrong_path_is_named_with_the_right_one() {
    let cluster = fake::cluster(|asked| match asked.path.rsplit('/').next() {
        Some("pods") => {
            let paths = ["localhost/profiles/shop/web.json", "profiles/shop/web", "operator/shop/web.json"];
            let pods = paths.iter().enumerate().map(|(number, path)| {
                let mut pod = pod(&format!("wrong-{number}"), &localhost(path), None);
                let reason = if number == 2 { "ImagePullBackOff" } else { "CreateContainerError" };
                pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": reason}});
                pod
            });
            fake::list(&pods.collect::<Vec<_>>())
        }
        _ => answer(&asked),
    });
    let (said, notes) = table(&cluster, &arguments(&[])).await;
    assert_eq!(said, "");
    assert_eq!(
        notes,
        [
            "pod/wrong-0 in shop: container main can't start, because it names localhost/profiles/shop/web.json: the path is relative \
             to the kubelet's seccomp directory, without \"localhost/\"; name profiles/shop/web.json",
            "pod/wrong-1 in shop: container main can't start, because it names profiles/shop/web: the file's name ends with .json; \
             name profiles/shop/web.json",
        ]
    );
}
