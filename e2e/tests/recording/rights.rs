//! What recorders may do, and what the API server refuses them.

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use portcullis_api::{INVITED_ANNOTATION, RECORDER_MANAGER, RecordingStatus, SeccompRecordingPart};
use portcullis_e2e::{
    FIRST_NODES, Operator,
    operator::RECORDERS,
    testing::{Seen, TestNamespace, await_gone, eventually, with_token},
};
use serde_json::{Value, json};

use crate::{
    recorder::{once, phase},
    support::{PATIENCE, await_status, has_called, in_namespace, record},
};

#[tokio::test]
async fn recorders_have_two_capabilities_under_the_runtimes_default_filter() -> Result<()> {
    in_namespace("capabilities", async |operator, _| {
        for node in FIRST_NODES {
            let recorder: Pod = operator.pod_on(RECORDERS, node).await?;
            let spec = serde_json::to_value(&recorder.spec)?;
            let container = &spec["containers"][0]["securityContext"];
            ensure!(
                container["capabilities"] == json!({ "add": ["BPF", "PERFMON"], "drop": ["ALL"] }),
                "{container}"
            );
            ensure!(
                container["privileged"] == json!(false)
                    && container["allowPrivilegeEscalation"] == json!(false)
            );
            ensure!(spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault");
            for shared in ["hostPID", "hostNetwork", "hostIPC"] {
                ensure!(spec[shared].is_null(), "{shared} is set");
            }
            let folders: Vec<_> = spec["volumes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|volume| volume["hostPath"]["path"].as_str())
                .collect();
            ensure!(folders == ["/sys/fs/bpf/portcullis"], "{folders:?}");
            // It is Ready, so it has loaded its programs and made their maps with no more than that.
            ensure!(portcullis_e2e::testing::is_ready(&recorder), "the recorder on {node} is not Ready");
        }
        Ok(())
    })
    .await
}

/// The part of a recording with this UID by which a node's recorder asks.
fn question(namespace: &TestNamespace, uid: &str, node: &str) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompRecordingPart",
        "metadata": {
            "name": format!("web.{node}"),
            "namespace": namespace.name(),
            "ownerReferences": [{
                "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompRecording", "name": "web", "uid": uid,
            }],
        },
        "spec": { "recording": "web", "recordingUid": uid, "node": node },
    })
}

/// The same with something that was called.
fn with_calls(mut question: Value) -> Value {
    question["spec"]["entries"] = json!([{ "image": "", "container": "busybox", "containers": 1, "calls": "SCMP_ARCH_X86_64=165:1:0" }]);
    question
}

fn invited(mut question: Value) -> Value {
    question["metadata"]["annotations"] =
        json!({ INVITED_ANNOTATION: question["spec"]["recordingUid"].clone() });
    question
}

async fn create(parts: &Api<SeccompRecordingPart>, part: Value) -> kube::Result<()> {
    let part = serde_json::from_value(part).map_err(kube::Error::SerdeError)?;
    parts.create(&PostParams::default(), &part).await.map(drop)
}

fn refused<T>(result: kube::Result<T>, what: &str, words: &str) -> Result<()> {
    let Err(refused) = result else { bail!("{what} was taken") };
    ensure!(refused.to_string().contains(words), "{what}: {refused}");
    Ok(())
}

/// A recording of pods with `app: web`, and its UID.
async fn recorded(namespace: &TestNamespace) -> Result<String> {
    record(namespace, "web", &json!({})).await?;
    namespace.kubectl(&["get", "srec", "web", "-o", "jsonpath={.metadata.uid}"])
}

/// What a recorder's token of a node may do to parts.
async fn parts_of(
    operator: &Operator,
    namespace: &TestNamespace,
    node: &str,
) -> Result<Api<SeccompRecordingPart>> {
    let recorder = operator.pod_on(RECORDERS, node).await?;
    let token = with_token(operator.cluster(), "portcullis-recorder", Some(&recorder)).await?;
    Ok(Api::namespaced(token, namespace.name()))
}

#[tokio::test]
async fn a_recorders_token_writes_parts_of_its_own_node_alone() -> Result<()> {
    in_namespace("token", async |operator, namespace| {
        let uid = recorded(&namespace).await?;
        let parts = parts_of(&operator, &namespace, FIRST_NODES[0]).await?;
        let question = |node: &str| question(&namespace, &uid, node);
        create(&parts, question(FIRST_NODES[0])).await?;
        let another = create(&parts, question(FIRST_NODES[1])).await;
        refused(another, "another node's part", &format!("may not write a part of node {}", FIRST_NODES[1]))?;
        let gone =
            parts.delete(&format!("web.{}", FIRST_NODES[0]), &kube::api::DeleteParams::default()).await;
        ensure!(gone.is_err(), "a recorder may delete parts");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_recorders_token_writes_for_no_recording_whose_pods_its_node_does_not_have() -> Result<()> {
    in_namespace("uninvited", async |operator, namespace| {
        let [node, other] = [FIRST_NODES[0], FIRST_NODES[1]];
        let uid = recorded(&namespace).await?;
        let line = "until test -e /tmp/go; do sleep 0.1; done; mkdir /tmp/x; sleep infinity";
        let pod = once("web", "web", other, line, None)?;
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        await_status(&namespace, "web", "a recording of the loop", |status| status.calls > 0).await?;

        // Nothing is taken that was not asked for, whatever it says of itself.
        let parts = parts_of(&operator, &namespace, node).await?;
        let question = || question(&namespace, &uid, node);
        let says_more = "may not make one that says more";
        refused(create(&parts, with_calls(question())).await, "a part with calls", says_more)?;
        // Two policies refuse it, and the API server tells of either.
        refused(create(&parts, invited(question())).await, "a part that invites itself", "invit")?;
        let mut without_owner = question();
        without_owner["metadata"]["ownerReferences"] = json!([]);
        refused(create(&parts, without_owner).await, "a part that stays for ever", "is its one owner")?;

        // Who asks is looked at, refused and named.
        create(&parts, question()).await?;
        let name = format!("web.{node}");
        let apply = PatchParams::apply(RECORDER_MANAGER).force();
        let written = parts.patch(&name, &apply, &Patch::Apply(with_calls(question()))).await;
        ensure!(written.is_err(), "calls were taken of a node without pods");
        let own = namespace.api::<SeccompRecordingPart>();
        await_gone(&own, &name, PATIENCE).await?;
        let named = |status: &RecordingStatus| status.refused_nodes == [node];
        await_status(&namespace, "web", "naming the node that was refused", named).await?;
        eventually("an Event says so", PATIENCE, async || {
            let events = ["get", "events.events.k8s.io", "--field-selector=reason=PartRefused", "-o", "name"];
            let events = namespace.kubectl(&events)?;
            Ok(if events.is_empty() { Seen::NotYet("there is none".to_owned()) } else { Seen::Done(()) })
        })
        .await?;

        // The node that has the pod is invited, and neither its recorder nor an administrator changes that.
        let theirs = format!("web.{other}");
        ensure!(own.get(&theirs).await?.counts(), "{theirs} is not invited");
        let elsewhere =
            Patch::Merge(json!({ "metadata": { "annotations": { INVITED_ANNOTATION: "another" } } }));
        let recorder = parts_of(&operator, &namespace, other).await?;
        for (parts, who) in [(&recorder, "its recorder"), (&own, "an administrator")] {
            let changed = parts.patch(&theirs, &PatchParams::default(), &elsewhere).await;
            refused(changed, &format!("an invitation by {who}"), "only the controller invites nodes")?;
        }

        // The recording goes on, and so does the node that was refused once it has a pod.
        namespace.exec("web", &["touch", "/tmp/go"])?;
        let has_mkdir = |status: &RecordingStatus| {
            has_called(status, &["mkdir"]) && !has_called(status, &["mount"]) && status.nodes == 1
        };
        await_status(&namespace, "web", "a recording of mkdir", has_mkdir).await?;
        let pod = once("late", "web", node, "rmdir /nothing; sleep infinity", None)?;
        namespace.run_pod(&pod, "running", PATIENCE, |pod| phase(pod) == "Running").await?;
        await_status(&namespace, "web", "a recording on both nodes", |status| {
            has_called(status, &["rmdir"]) && status.nodes == 2 && status.refused_nodes.is_empty()
        })
        .await
        .map(drop)
    })
    .await
}
