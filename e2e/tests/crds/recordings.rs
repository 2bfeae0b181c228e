//! Recordings and their parts on a real API server.

use anyhow::{Result, ensure};
use portcullis_e2e::testing::{TestNamespace, with_namespace};
use serde_json::{Value, json};

use crate::{
    cluster,
    refused::{Refused, ensure_refused, kubectl},
};

fn recording(
    name: &'static str,
    merge: &Value,
    path: &'static str,
    words: &'static [&'static str],
) -> Refused {
    let mut spec = json!({ "podSelector": { "matchLabels": { "app": "web" } } });
    for (key, value) in merge.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    Refused { name, kind: "SeccompRecording", spec, path, words }
}

#[tokio::test]
async fn a_recording_that_can_not_work_is_refused_in_words() -> Result<()> {
    let cluster = cluster().await?;
    let own = json!({ "bases": [{ "kind": "SeccompProfile", "name": "own-base" }] });
    let cases = [
        recording("dotted.name", &json!({}), "metadata", &["DNS label", "<recording>.<node>"]),
        recording("own-base", &json!({ "profile": own }), "spec.profile.bases", &["own base"]),
        recording("no-end", &json!({ "end": {} }), "spec.end", &["duration, noNewCallFor or both"]),
        recording("end", &json!({ "end": { "duration": "1 day" } }), "spec.end.duration", &["should match"]),
        recording(
            "permissive",
            &json!({ "profile": { "defaultAction": "SCMP_ACT_ALLOW" } }),
            "spec.profile.defaultAction: Unsupported value",
            &["SCMP_ACT_ERRNO"],
        ),
        recording(
            "argument",
            &json!({ "profile": { "argumentRules": ["read"] } }),
            "spec.profile.argumentRules[0]: Unsupported value",
            &["\"*\"", "socket"],
        ),
    ];
    with_namespace(&cluster, "crds-recording", async |namespace: TestNamespace| {
        ensure_refused(&namespace, &cases)
    })
    .await
}

/// Every bound of a part reached at once.
fn largest_part() -> Value {
    let largest = i64::MAX;
    let text = |begin: &str, item: &str, length: usize| -> String {
        let items = std::iter::repeat_n(item, length);
        begin.chars().chain(items.flat_map(str::chars)).take(length).collect()
    };
    let entry = |number: usize| {
        json!({
            "image": format!("sha512:{number:089}"),
            "container": format!("{number:063}"),
            "run": format!("{number:063}"),
            "source": { "containerId": "c".repeat(64), "instance": "i".repeat(64) },
            "containers": largest,
            "since": largest,
            "calls": text("SCMP_ARCH_X86_64=", "0:1:0,", 10_240),
            "denied": text("SCMP_ARCH_X86_64=", "0:1:0,", 1024),
            "values": text("SCMP_ARCH_X86_64=", "41.0:1,", 3072),
            "marks": vec!["GracefulStop"; 9],
            "signals": vec!["SIGVTALRM"; 31],
            "lost": { "calls": largest, "values": largest, "denials": largest },
        })
    };
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompRecordingPart",
        "metadata": { "name": "web.n1" },
        "spec": {
            "recording": "web",
            "recordingUid": "u".repeat(36),
            "node": "n1",
            "platforms": vec![json!({ "kernel": "k".repeat(64), "runtime": "r".repeat(64) }); 16],
            "entries": (0..64).map(entry).collect::<Vec<_>>(),
        },
    })
}

#[tokio::test]
async fn the_largest_part_is_taken_and_stays_one_recordings() -> Result<()> {
    let cluster = cluster().await?;
    with_namespace(&cluster, "crds-part", async |namespace: TestNamespace| {
        let mut part = largest_part();
        ensure!(part.to_string().len() > 950_000, "the bounds are not reached");
        let create = |part: &Value| kubectl(&namespace, &["create"], part);
        let output = create(&part)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        part["spec"]["recordingUid"] = json!("another");
        let output = kubectl(&namespace, &["replace"], &part)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("a part is of one recording for ever"), "{said}");
        part["spec"]["entries"].as_array_mut().into_iter().for_each(|all| all.push(all[0].clone()));
        part["metadata"]["name"] = json!("web.n2");
        part["spec"]["node"] = json!("n2");
        let output = create(&part)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("spec.entries: Too many"), "{said}");
        Ok(())
    })
    .await
}
