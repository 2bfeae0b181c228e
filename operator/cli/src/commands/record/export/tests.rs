use http::StatusCode;
use portcullis_api::{RecordingPlatform, SeccompRecordingPartSpec};
use portcullis_profile::{
    Arch,
    recording::{Call, Ledger, Observation, Platform, Seen, Source, Subject},
    syscalls,
};
use serde_json::{Value, json};

use portcullis_api::SeccompDocument;

use super::*;
use crate::cluster::fake::{self, Asked};

const GROUP: &str = "/apis/portcullis.dev/v1alpha1/namespaces/shop";

pub(super) fn recording(spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRecording",
        "metadata": {"namespace": "shop", "name": "web", "uid": "uid-1", "generation": 1},
        "spec": {"podSelector": {}},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

/// What a container was seen to call.
pub(super) fn saw(names: &[&str]) -> Observation {
    let call = |name: &&str| {
        let number = syscalls::number(Arch::X86_64, name).unwrap();
        (Call { arch: Arch::X86_64, number }, Seen { count: 1, first_at: 1_795_000_000 })
    };
    Observation { containers: 1, calls: names.iter().map(call).collect(), ..Observation::default() }
}

/// A node's part, of a recording by its UID.
fn part(node: &str, recording_uid: &str, names: &[&str]) -> Value {
    let mut ledger = Ledger::default();
    ledger.on(Platform { kernel: "6.18.2".to_owned(), runtime: "containerd://2.1".to_owned() });
    let subject =
        Subject { image: "sha256:ab".to_owned(), container: "nginx".to_owned(), run: "smoke".to_owned() };
    ledger.report(Source { container: node.to_owned(), instance: "1".to_owned() }, subject, &saw(names));
    let spec = SeccompRecordingPartSpec::of_node("web", recording_uid, node, &ledger);
    assert_eq!(
        spec.platforms[0],
        RecordingPlatform { kernel: "6.18.2".into(), runtime: "containerd://2.1".into() }
    );
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRecordingPart",
        "metadata": {"namespace": "shop", "name": spec.object_name(), "uid": format!("part-{node}")},
        "spec": spec,
    })
}

fn cluster(recording: Value, parts: Vec<Value>) -> Cluster {
    fake::cluster(move |asked: Asked| match asked.path.strip_prefix(GROUP) {
        Some("/seccomprecordings/web") => (StatusCode::OK, recording.clone()),
        Some("/seccomprecordingparts") => {
            assert!(asked.query.contains("limit=20"), "a part may have 1 MiB: {}", asked.query);
            fake::list(&parts)
        }
        _ => {
            let (code, mut status) = fake::refusal(StatusCode::NOT_FOUND, "NotFound", "not found");
            status["details"] = json!({"name": asked.path.rsplit('/').next()});
            (code, status)
        }
    })
}

/// What export prints, and what it notes.
async fn exported(recording: Value, parts: Vec<Value>, form: Form) -> Result<(String, Vec<String>)> {
    let cluster = cluster(recording, parts);
    let recording = recordings::find(&cluster, "web").await?;
    let recorded = recordings::recorded(&cluster, &recording).await?;
    let (made, known) = make(&cluster, &recording, &recorded).await?;
    let mut out = Vec::new();
    write(&recording, made, &known, "web", form, &mut out)?;
    Ok((String::from_utf8(out)?, known))
}

#[tokio::test]
async fn a_manifest_unites_all_parts_and_says_what_it_is_of() {
    let parts = vec![
        part("n1", "uid-1", &["read", "write"]),
        part("n2", "uid-1", &["fsync"]),
        // Of an earlier recording of that name.
        part("n3", "uid-0", &["mount"]),
    ];
    let (text, known) = exported(recording(&json!({})), parts.clone(), Form::Yaml).await.unwrap();
    for words in [
        "# Recorded by SeccompRecording shop/web.\n# 3 calls of nginx, in 1 run (smoke)\n",
        "# Not complete: nginx: graceful stop never seen; delete its pod while recording\n",
        "\n  mode: Audit\n",
        "\n    images:\n    - sha256:ab\n",
        "\n    - containerd://2.1\n",
        "\n    runs:\n    - smoke\n",
    ] {
        assert!(text.contains(words), "{words:?} is missing:\n{text}");
    }
    assert!(known.iter().any(|one| one.contains("graceful stop")), "{known:?}");
    let object: SeccompProfile = serde_saphyr::from_str(&text).unwrap();
    let document = object.spec.profile.profile.unwrap();
    let names: Vec<&str> =
        document.syscalls.iter().flat_map(|rule| &rule.names).map(String::as_str).collect();
    for name in ["read", "write", "fsync", "exit_group"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.contains(&"mount"), "{names:?}");

    let (json, _) = exported(recording(&json!({})), parts.clone(), Form::Json).await.unwrap();
    let same: SeccompProfile = serde_json::from_str(&json).unwrap();
    assert_eq!(same.spec.profile.profile.as_ref(), Some(&document));
    let (oci, _) = exported(recording(&json!({})), parts, Form::Profile).await.unwrap();
    assert_eq!(SeccompDocument::from(&Profile::parse(oci.as_bytes()).unwrap().canonical()), document);
}

#[tokio::test]
async fn nothing_recorded_is_an_error_that_says_why() {
    let error = exported(recording(&json!({})), Vec::new(), Form::Yaml).await.unwrap_err().to_string();
    assert!(error.starts_with("SeccompRecording shop/web: nothing was recorded yet"), "{error}");
    assert!(error.contains("recorder.enabled"), "{error}");
    let mut waiting = recording(&json!({}));
    waiting["status"] = json!({"conditions": [{
        "type": "Recording", "status": "True", "reason": "WaitingForPods", "message": "Nothing was recorded yet: no pod",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let error = exported(waiting, Vec::new(), Form::Yaml).await.unwrap_err().to_string();
    assert_eq!(error, "SeccompRecording shop/web: Nothing was recorded yet: no pod");
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let cluster = cluster(recording(&json!({})), Vec::new());
    for name in ["wep", "a/b"] {
        let error = recordings::find(&cluster, name).await.unwrap_err().to_string();
        assert!(
            error.contains("there is no SeccompRecording") && error.contains("record list -A"),
            "{error}"
        );
    }
    let base = json!({"profile": {"bases": [{"kind": "ClusterSeccompProfile", "name": "base"}]}});
    let parts = vec![part("n1", "uid-1", &["read"])];
    let error = exported(recording(&base), parts, Form::Yaml).await.unwrap_err().to_string();
    assert_eq!(error, "bases: there is no ClusterSeccompProfile base");
}

#[tokio::test]
async fn a_part_that_can_not_be_read_is_named_and_the_rest_is_exported() {
    let mut broken = part("n2", "uid-1", &["fsync"]);
    broken["spec"]["entries"][0]["calls"] = json!("gibberish");
    let parts = vec![part("n1", "uid-1", &["read"]), broken.clone()];
    let (text, known) = exported(recording(&json!({})), parts, Form::Yaml).await.unwrap();
    assert!(
        text.contains("# Not complete: SeccompRecordingPart web.n2 can't be read: spec.entries[0].calls: "),
        "{text}"
    );
    assert!(known.iter().any(|one| one.contains("web.n2")), "{known:?}");
    let error = exported(recording(&json!({})), vec![broken], Form::Yaml).await.unwrap_err().to_string();
    assert!(error.contains("web.n2 can't be read") && error.contains("nothing else"), "{error}");
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let cluster = fake::cluster(|asked| {
        if asked.path.ends_with("parts") {
            return fake::refusal(StatusCode::FORBIDDEN, "Forbidden", "it is forbidden");
        }
        (StatusCode::OK, recording(&json!({})))
    });
    let found = recordings::find(&cluster, "web").await.unwrap();
    let error = recordings::recorded(&cluster, &found).await.unwrap_err().to_string();
    assert!(error.contains("verb list on the resource seccomprecordingparts"), "{error}");
}
