use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::cluster::fake;

fn recording(name: &str) -> Value {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRecording",
        "metadata": {"namespace": "shop", "name": name, "uid": "uid-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"podSelector": {}},
        "status": {
            "conditions": [
                condition("Recording", "True", "Active", "Recording nginx"),
                condition("Complete", "False", "GracefulStopNotSeen", "nginx: graceful stop never seen"),
            ],
            "calls": 84, "callNames": ["read"], "deniedCalls": ["clone3", "mount"], "nodes": 2,
            "missing": ["nginx: no graceful stop was seen; delete its pod while recording", "nginx: not seen: NonZeroExit"],
            "lastNewCallTime": "2026-01-01T00:00:00Z",
            "lost": {"calls": 3},
            "runs": [{"name": "", "calls": 60, "onlyHere": 0}, {"name": "smoke", "calls": 84, "onlyHere": 24}],
            "containers": [{
                "name": "nginx", "images": ["sha256:ab"], "seen": ["Start"], "notSeen": ["GracefulStop", "NonZeroExit"],
                "signals": ["SIGHUP"],
            }],
        },
    })
}

#[tokio::test]
async fn the_table_has_a_line_for_each_and_what_is_missing() {
    let mut new = recording("new");
    new.as_object_mut().unwrap().remove("status");
    let cluster = fake::cluster(move |asked| {
        assert_eq!(asked.path, "/apis/portcullis.dev/v1alpha1/namespaces/shop/seccomprecordings");
        fake::list(&[recording("web"), new.clone()])
    });
    let scope = Scope::Namespace("shop".to_owned());
    let report = ask(&cluster, &scope, None).await.unwrap();
    let text = |scope: &Scope, wide| {
        let mut out = Vec::new();
        overview::write(&report, scope, wide, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let narrow = text(&scope, false);
    let lines: Vec<Vec<&str>> = narrow
        .lines()
        .map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(
        lines[0],
        ["NAME", "RECORDING", "COMPLETE", "CALLS", "RUNS", "CONTAINERS", "LAST NEW CALL", "AGE"]
    );
    assert_eq!(lines[1][..6], ["web", "yes", "no (GracefulStopNotSeen)", "84", "1", "nginx"]);
    assert_eq!(lines[2][..7], ["new", "?", "?", "0", "0", "-", "-"], "nobody has looked at it");
    let wide = text(&Scope::All, true);
    assert!(
        wide.starts_with("NAMESPACE")
            && wide.contains("2       2        3      nginx: graceful stop never seen"),
        "{wide}"
    );
}

#[tokio::test]
async fn one_is_told_in_words_by_run_and_container() {
    let cluster = fake::cluster(|_| (StatusCode::OK, recording("web")));
    let report = ask(&cluster, &Scope::Namespace("shop".to_owned()), Some("web")).await.unwrap();
    let mut out = Vec::new();
    detail::write(&report.recordings[0], &mut out).unwrap();
    let said = String::from_utf8(out).unwrap();
    for words in [
        "SeccompRecording web in the namespace shop\n",
        "  Recording      yes: Recording nginx\n",
        "  Complete       no (GracefulStopNotSeen)\n                 - nginx: no graceful stop was seen; delete its pod while recording\n                 - nginx: not seen: NonZeroExit\n",
        "  Calls          84, the last new one ",
        "  Lost           3 calls, 0 argument values, 0 denials",
        "  Denied         by the present filters: mount\n",
        "  On purpose     clone3 is answered with ENOSYS, so that clone is made: no filter sees clone3's flags\n",
        "  (outside of any)   60      0\n",
        "  smoke              84      24\n",
        "  nginx       Start   SIGHUP    1 image\n",
    ] {
        assert!(said.contains(words), "{words:?} is missing:\n{said}");
    }
}

#[tokio::test]
async fn what_can_not_be_read_says_why() {
    let missing = fake::cluster(|_| fake::refusal(StatusCode::NOT_FOUND, "NotFound", "404 page not found"));
    let error = ask(&missing, &Scope::All, None).await.unwrap_err().to_string();
    assert!(error.contains("knows no seccomprecordings"), "{error}");
    let forbidden = fake::cluster(|_| fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "it is forbidden"));
    let error = ask(&forbidden, &Scope::All, None).await.unwrap_err().to_string();
    assert!(error.contains("ClusterRole with the verb list on the resource seccomprecordings"), "{error}");
}

#[tokio::test]
async fn a_watch_that_is_refused_ends_and_says_which_right_is_missing() {
    let cluster = fake::cluster(|asked| match asked.query.contains("watch=true") {
        true => fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "watching is forbidden"),
        false => fake::list(&[recording("web")]),
    });
    let scope = Scope::Namespace("shop".to_owned());
    let first = ask(&cluster, &scope, None).await.unwrap();
    let recordings = follow::Recordings { cluster: &cluster, scope: &scope, name: None, wide: false };
    let error = follow::follow(&recordings, first, &mut Console::new()).await.unwrap_err().to_string();
    assert!(error.contains("can't watch seccomprecordings in the namespace shop"), "{error}");
    assert!(error.contains("a Role with the verb watch"), "{error}");
}

#[test]
fn what_is_followed_is_a_table() {
    let error = check_format(Some(Output::Yaml), "seccomprecordings").unwrap_err().to_string();
    assert!(error.contains("kubectl get seccomprecordings -w -o json"), "{error}");
    assert!(check_format(Some(Output::Wide), "seccomprecordings").is_ok());
}
