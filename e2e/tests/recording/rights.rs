//! What recorders may do, and what the API server refuses them.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use portcullis_e2e::{FIRST_NODES, operator::RECORDERS, testing::with_token};
use serde_json::json;

use crate::support::{in_namespace, record};

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
            ensure!(folders == ["/sys/fs/bpf"], "{folders:?}");
            // It is Ready, so it has loaded its programs and made their maps with no more than that.
            ensure!(portcullis_e2e::testing::is_ready(&recorder), "the recorder on {node} is not Ready");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_recorders_token_writes_parts_of_its_own_node_alone() -> Result<()> {
    in_namespace("token", async |operator, namespace| {
        record(&namespace, "web", &json!({})).await?;
        let uid = namespace.kubectl(&["get", "srec", "web", "-o", "jsonpath={.metadata.uid}"])?;
        let part = |node: &str| {
            json!({
                "apiVersion": "portcullis.dev/v1alpha1",
                "kind": "SeccompRecordingPart",
                "metadata": { "name": format!("web.{node}"), "namespace": namespace.name() },
                "spec": { "recording": "web", "recordingUid": uid, "node": node },
            })
        };
        let recorder = operator.pod_on(RECORDERS, FIRST_NODES[0]).await?;
        let own = with_token(operator.cluster(), "portcullis-recorder", Some(&recorder)).await?;
        let parts: kube::Api<portcullis_api::SeccompRecordingPart> =
            kube::Api::namespaced(own, namespace.name());
        let create = async |node: &str| -> Result<(), kube::Error> {
            let part = serde_json::from_value(part(node)).map_err(kube::Error::SerdeError)?;
            parts.create(&kube::api::PostParams::default(), &part).await.map(drop)
        };
        create(FIRST_NODES[0]).await?;
        let Err(refused) = create(FIRST_NODES[1]).await else {
            anyhow::bail!("another node's part was taken")
        };
        ensure!(
            refused.to_string().contains(&format!("may not write a part of node {}", FIRST_NODES[1])),
            "{refused}"
        );
        let gone =
            parts.delete(&format!("web.{}", FIRST_NODES[0]), &kube::api::DeleteParams::default()).await;
        ensure!(gone.is_err(), "a recorder may delete parts");
        Ok(())
    })
    .await
}
