use clap::{Args as _, FromArgMatches as _};
use http::StatusCode;
use serde_json::Value;

use super::*;
use crate::cluster::fake;

const OLD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn arguments(words: &[&str]) -> Arguments {
    let command = Arguments::augment_args(clap::Command::new("revoke"));
    let matches = command.get_matches_from(["revoke"].iter().chain(words));
    Arguments::from_arg_matches(&matches).unwrap()
}

fn revision(digest: &str, sequence: u8, revoked: Option<&str>) -> Value {
    let mut object = json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {
            "name": format!("csp.base.{}", &digest[7..19]),
            "labels": {"portcullis.dev/owner-kind": "ClusterSeccompProfile", "portcullis.dev/owner-name": "base"},
            "annotations": {
                "portcullis.dev/digest": digest, "portcullis.dev/sequence": sequence.to_string(),
                "portcullis.dev/owner-uid": "u",
            },
        },
    });
    if let Some(reason) = revoked {
        object["metadata"]["annotations"]["portcullis.dev/revoked"] = json!(reason);
    }
    object
}

fn pod(name: &str, path: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": path}},
            "containers": [{"name": "main"}],
        },
    })
}

/// A cluster with an earlier revision, revoked or not, and a current one of `csp/base`. Patches must be this.
fn cluster(revoked: Option<&'static str>, patch: Option<Value>) -> Cluster {
    fake::cluster(move |asked| {
        match (asked.method.as_str(), asked.path.rsplit('/').next().unwrap_or_default()) {
            ("PATCH", name) => {
                assert_eq!(name, "csp.base.111111111111");
                assert!(asked.query.contains("fieldManager=kubectl-seccomp"), "{}", asked.query);
                assert_eq!(
                    Some(&asked.body["metadata"]["annotations"]["portcullis.dev/revoked"]),
                    patch.as_ref()
                );
                (StatusCode::OK, revision(OLD, 1, None))
            }
            (_, "seccomprevisions") => fake::list(&[revision(OLD, 1, revoked), revision(NEW, 2, None)]),
            (_, "pods") => fake::list(&[
                pod("old", "profiles/./base@111111111111.json"),
                pod("new", "profiles/base.json"),
                pod("elses", "profiles/shop/base@111111111111.json"),
            ]),
            (_, "base") if asked.path.contains("/clusterseccompprofiles/") => {
                let profile = json!({
                    "apiVersion": "portcullis.dev/v1alpha1", "kind": "ClusterSeccompProfile",
                    "metadata": {"name": "base"}, "spec": {},
                });
                (StatusCode::OK, profile)
            }
            _ => panic!("{asked:?}"),
        }
    })
}

#[tokio::test]
async fn the_annotation_is_set_and_who_names_the_revision_is_told() {
    let ask = arguments(&["csp/base", "1111", "--reason", "too loose"]);
    let (answer, note) = revoke(&cluster(None, Some(json!("too loose"))), &ask).await.unwrap();
    assert_eq!(note, None);
    let mut out = Vec::new();
    answer.write(&mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "The revision 111111111111 of ClusterSeccompProfile base is revoked: too loose\n\
         Nodes remove its files, and the profile can't have this content again.\n\
         These pods name it. What runs goes on; their containers can't start again:\n  \
         NAMESPACE   POD\n  shop        old\n"
    );
}

#[tokio::test]
async fn a_path_as_pods_name_it_will_do_and_a_second_time_changes_nothing() {
    let ask = arguments(&["profiles/base@111111111111.json"]);
    let (answer, _) = revoke(&cluster(Some("why"), None), &ask).await.unwrap();
    assert_eq!((answer.changed, answer.revoked.as_deref()), (false, Some("why")));
}

#[tokio::test]
async fn without_a_reason_the_time_stands_there() {
    let cluster = fake::cluster(|asked| match asked.method.as_str() {
        "PATCH" => {
            let reason =
                asked.body["metadata"]["annotations"]["portcullis.dev/revoked"].as_str().unwrap().to_owned();
            assert!(reason.parse::<Timestamp>().is_ok() && reason.len() == 20, "{reason}");
            (StatusCode::OK, revision(OLD, 1, None))
        }
        _ if asked.path.ends_with("/pods") => fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "no"),
        _ => fake::list(&[revision(OLD, 1, None), revision(NEW, 2, None)]),
    });
    let ask = arguments(&["profiles/base@111111111111.json"]);
    let (answer, note) = revoke(&cluster, &ask).await.unwrap();
    assert_eq!(answer.pods, None);
    assert!(note.unwrap().starts_with("which pods name it is not known: can't list pods"));
}

#[tokio::test]
async fn what_the_profiles_path_serves_needs_a_word_more() {
    let refused = revoke(&cluster(None, None), &arguments(&["csp/base", NEW])).await.unwrap_err();
    assert!(refused.to_string().contains("change the profile first"), "{refused}");
}

#[tokio::test]
async fn a_revocation_is_taken_back() {
    let ask = arguments(&["csp/base", OLD, "--undo"]);
    let (answer, _) = revoke(&cluster(Some("why"), Some(Value::Null)), &ask).await.unwrap();
    assert_eq!((answer.changed, answer.revoked), (true, None));
    let error = revoke(&cluster(None, None), &ask).await.unwrap_err().to_string();
    assert!(error.contains("is not revoked"), "{error}");
}

#[test]
fn a_path_of_no_revision_is_refused() {
    let owner = |path: &str| of_path(path).map(|(owner, _)| owner.to_string());
    assert_eq!(owner("/profiles//shop/web@0123456789ab.json").unwrap(), "SeccompProfile shop/web");
    for path in
        ["web@0123456789ab.json", "profiles/a/b/web@0.json", "profiles/web@0123", "profiles/..@0.json"]
    {
        let error = owner(path).unwrap_err().to_string();
        assert!(error.contains("is no path of a revision"), "{error}");
    }
}
