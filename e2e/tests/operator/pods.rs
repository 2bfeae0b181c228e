//! Which profiles' paths a pod may name: those of its own namespace and the cluster's.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use portcullis_e2e::{
    Operator,
    testing::{TestNamespace, busybox, with_namespace},
};
use serde_json::{Value, json};

fn localhost(path: &str) -> Value {
    json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": path } })
}

/// Asks for a pod without making it; what refuses it.
async fn refusal(namespace: &TestNamespace, spec: &Value) -> Result<Option<String>> {
    let pods: Api<Pod> = namespace.api();
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    match pods.create(&parameters, &busybox("asked", spec)?).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => {
            ensure!(status.code == 403, "{} instead of 403: {}", status.code, status.message);
            Ok(Some(status.message))
        }
        Err(error) => Err(error).context("a pod is asked for"),
    }
}

#[tokio::test]
async fn a_pod_names_no_profile_of_another_namespace() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "own", async |namespace| {
        let own = namespace.name();
        let container =
            |path: &str| json!([{ "name": "other", "image": "busybox", "securityContext": localhost(path) }]);
        for fine in [
            json!({}),
            json!({ "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } } }),
            json!({ "securityContext": localhost(&format!("profiles/{own}/web.json")) }),
            json!({ "securityContext": localhost(&format!("profiles/{own}/web@0123456789ab.json")) }),
            json!({ "securityContext": localhost("profiles/web.json") }),
            json!({ "securityContext": localhost("elsewhere/shop/web.json") }),
            json!({ "initContainers": container(&format!("profiles/{own}/web.json")) }),
        ] {
            let said = refusal(&namespace, &fine).await?;
            ensure!(said.is_none(), "{fine} is refused: {said:?}");
        }
        for foreign in [
            json!({ "securityContext": localhost("profiles/shop/web.json") }),
            json!({ "securityContext": localhost("profiles/shop/web@0123456789ab.json") }),
            json!({ "securityContext": localhost("./profiles//./shop/web.json") }),
            json!({ "initContainers": container("profiles/shop/web.json") }),
            json!({ "containers": container("profiles/shop/web.json") }),
        ] {
            let said =
                refusal(&namespace, &foreign).await?.with_context(|| format!("{foreign} was taken"))?;
            let told = format!(
                "profiles/shop/web{}",
                if said.contains('@') { "@0123456789ab.json" } else { ".json" }
            );
            ensure!(
                said.contains(&format!("{told} is a profile of namespace shop, and this pod is in {own}")),
                "{said}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nor_does_a_container_that_is_added_for_debugging() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "debug", async |namespace| {
        let pods: Api<Pod> = namespace.api();
        // It need not run, only be there: no node has this name.
        let pod = busybox("web", &json!({ "nodeSelector": { "kubernetes.io/hostname": "none" } }))?;
        pods.create(&PostParams::default(), &pod).await?;
        let add = async |name: &str, path: &str| {
            let container: EphemeralContainer = serde_json::from_value(
                json!({ "name": name, "image": "busybox", "securityContext": localhost(path) }),
            )?;
            let patch = Patch::Strategic(json!({ "spec": { "ephemeralContainers": [container] } }));
            pods.patch_ephemeral_containers("web", &PatchParams::default(), &patch)
                .await
                .map_err(anyhow::Error::from)
        };
        let said = add("foreign", "profiles/shop/web.json").await.err().context("was taken")?;
        ensure!(said.to_string().contains("is a profile of namespace shop"), "{said}");
        add("own", &format!("profiles/{}/web.json", namespace.name())).await?;
        Ok(())
    })
    .await
}
