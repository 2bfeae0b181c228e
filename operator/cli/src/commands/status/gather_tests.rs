use http::StatusCode;
use serde_json::{Value, json};

use super::super::{detail, overview};
use super::*;
use crate::cluster::fake::{self, Asked};

const OLD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn profile() -> Value {
    let revision = |digest: &str, sequence: u8| {
        json!({
            "digest": digest, "sequence": sequence,
            "localhostProfile": format!("profiles/shop/web@{}.json", &digest[7..19]),
        })
    };
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompProfile",
        "metadata": {"namespace": "shop", "name": "web", "generation": 4},
        "spec": {},
        "status": {
            "observedGeneration": 4,
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "NodesFailing", "message": "1 of 2 nodes failed",
                "observedGeneration": 4, "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
            "localhostProfile": "profiles/shop/web.json",
            "digest": NEW,
            "revisions": [revision(NEW, 2), revision(OLD, 1)],
            "nodes": {"summary": "1/2", "ready": 1, "desired": 2, "failing": 1},
            "failingNodes": [{"node": "node2", "reason": "DiskFull", "message": "no space left on device"}],
            "warnings": [{"code": "SP028", "path": "spec.profile", "message": "The default denies without saying which errno"}],
        },
    })
}

fn revision(digest: &str, sequence: u8, since: &str) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {
            "name": format!("sp.shop.web.{}", &digest[7..19]),
            "labels": {
                "portcullis.dev/owner-kind": "SeccompProfile", "portcullis.dev/owner-namespace": "shop",
                "portcullis.dev/owner-name": "web",
            },
            "annotations": {
                "portcullis.dev/digest": digest, "portcullis.dev/sequence": sequence.to_string(),
                "portcullis.dev/owner-uid": "u",
            },
            "creationTimestamp": since,
            "managedFields": [{"manager": "portcullis-controller", "operation": "Apply", "time": since}],
        },
    })
}

/// A pod that runs under a path since a time.
fn pod(name: &str, path: &str, started: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": true},
        ]},
        "spec": {
            "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": path}},
            "containers": [{"name": "main"}],
        },
        "status": {"containerStatuses": [{"name": "main", "state": {"running": {"startedAt": started}}}]},
    })
}

fn answer(asked: &Asked) -> (StatusCode, Value) {
    let pinned = format!("profiles/shop/web@{}.json", &OLD[7..19]);
    match asked.path.rsplit('/').next() {
        Some("seccompprofiles") => fake::list(&[profile()]),
        Some("web") => (StatusCode::OK, profile()),
        Some("clusterseccompprofiles") => fake::list(&[]),
        Some("seccomprevisions") => {
            fake::list(&[revision(OLD, 1, "2026-01-01T00:00:00Z"), revision(NEW, 2, "2026-01-02T00:00:00Z")])
        }
        Some("pods") => fake::list(&[
            pod("db-0", "profiles/shop/web.json", "2026-01-03T00:00:00Z"),
            pod("db-1", "profiles/shop/web.json", "2026-01-01T12:00:00Z"),
            pod("db-2", &pinned, "2026-01-03T00:00:00Z"),
        ]),
        _ => panic!("nobody should ask for {}", asked.path),
    }
}

async fn ask(cluster: &Cluster, one: Option<&Reference>) -> Report {
    let question = Question { cluster, scope: Scope::Namespace("shop".to_owned()), one };
    question.ask().await.unwrap()
}

fn forbidden(path: &str) -> impl Fn(Asked) -> (StatusCode, Value) + Send + 'static {
    let path = path.to_owned();
    move |asked| {
        if asked.path.ends_with(&path) {
            fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "it is forbidden")
        } else {
            answer(&asked)
        }
    }
}

#[tokio::test]
async fn pods_under_an_older_revision_are_stale_by_their_path_or_their_age() {
    let cluster = fake::cluster(|asked| answer(&asked));
    let report = ask(&cluster, None).await;
    let usage = report.profiles[0].usage.as_ref().unwrap();
    assert_eq!((usage.pods, usage.stale), (3, Some(2)));
    assert_eq!(usage.workloads[0].workload.to_string(), "sts/db");
    let by_revision: Vec<_> =
        report.profiles[0].revisions.iter().map(|one| (one.current, one.pods)).collect();
    assert_eq!(by_revision, [(true, Some(1)), (false, Some(2))]);
}

#[tokio::test]
async fn what_may_not_be_read_is_a_question_mark_and_named() {
    let cluster = fake::cluster(forbidden("/pods"));
    let report = ask(&cluster, None).await;
    let row = overview::row(&report.profiles[0], &Scope::Namespace("shop".to_owned()), false);
    assert_eq!(row[2], "False (NodesFailing)");
    assert_eq!((row[4].as_str(), row[5].as_str(), row[8].as_str()), ("?", "?", "?"));
    assert!(
        report.notes[0].starts_with("who uses the profiles is not known: can't list pods"),
        "{:?}",
        report.notes
    );

    let cluster = fake::cluster(forbidden("/seccomprevisions"));
    let report = ask(&cluster, None).await;
    let usage = report.profiles[0].usage.as_ref().unwrap();
    assert_eq!((usage.pods, usage.stale), (3, None), "how old a pod's profile is can't be known");
    assert!(
        report.notes[0].contains("ClusterRole with the verb list on the resource seccomprevisions"),
        "{:?}",
        report.notes
    );
}

#[tokio::test]
async fn the_detail_says_everything_in_words() {
    let cluster = fake::cluster(|asked| answer(&asked));
    let one = "sp/web".parse().unwrap();
    let mut out = Vec::new();
    detail::write(&ask(&cluster, Some(&one)).await, &mut out).unwrap();
    let said = String::from_utf8(out).unwrap();
    for words in [
        "SeccompProfile web in the namespace shop\n",
        "no (NodesFailing), for ",
        "Nodes      1 of 2 have it, 1 failed\n",
        "  222222222222   2          current",
        "  111111111111   1          kept",
        "  node2   DiskFull   no space left on device\n",
        "  SP028  spec.profile: The default denies without saying which errno\n",
        "  shop        sts/db     3      2\n",
        "kubectl rollout restart",
    ] {
        assert!(said.contains(words), "{words:?} is missing:\n{said}");
    }
}

#[tokio::test]
async fn a_revoked_revision_is_listed_with_its_reason_and_who_runs_under_it() {
    let cluster = fake::cluster(|asked| {
        if !asked.path.ends_with("/seccomprevisions") {
            return answer(&asked);
        }
        let mut revoked = revision(OLD, 1, "2026-01-01T00:00:00Z");
        revoked["metadata"]["annotations"]["portcullis.dev/revoked"] = json!("too loose");
        fake::list(&[revoked, revision(NEW, 2, "2026-01-02T00:00:00Z")])
    });
    let mut out = Vec::new();
    detail::write(&ask(&cluster, None).await, &mut out).unwrap();
    let said = String::from_utf8(out).unwrap();
    // The status is from before.
    let line = said.lines().filter(|line| line.contains("111111111111   1")).collect::<Vec<_>>();
    assert_eq!(line.len(), 1, "{said}");
    assert!(line[0].contains("revoked: too loose") && line[0].ends_with('2'), "{said}");
}

#[tokio::test]
async fn a_missing_definition_is_an_error() {
    let cluster = fake::cluster(|_| fake::refusal(StatusCode::NOT_FOUND, "NotFound", "404 page not found"));
    let question = Question { cluster: &cluster, scope: Scope::All, one: None };
    let error = question.ask().await.unwrap_err().to_string();
    assert!(error.contains("resource definitions are not installed"), "{error}");
}
