//! A pod that floods the operator's ports: nobody's readiness changes for it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use portcullis_api::SeccompProfile;
use portcullis_e2e::{
    Operator,
    operator::{AGENTS, CONTROLLERS},
    testing::{
        Seen, eventually,
        flood::{flooding, ports},
        is_ready, is_running,
        profiles::{PATIENCE, await_ready, is_ready_now, local_operator, numbered, profile},
    },
};
use serde_json::json;

use crate::support::undisturbed;

/// Seconds of flood: as many as six failed readiness probes in a row take, twice.
const SECONDS: u64 = 60;
const LONG: Duration = Duration::from_secs(SECONDS + 60);

/// The operator's pods, each with how often it was restarted; an error if one of them is not Ready.
async fn well(operator: &Operator) -> Result<BTreeMap<String, i32>> {
    let pods = [operator.pods(AGENTS).await?, operator.pods(CONTROLLERS).await?].concat();
    let mut all = BTreeMap::new();
    for pod in &pods {
        ensure!(is_ready(pod), "{} is not Ready", pod.name_any());
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        all.insert(pod.name_any(), statuses.map(|status| status.restart_count).sum());
    }
    Ok(all)
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_flood_of_connections_makes_nobody_look_bad() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "flood", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        namespace.apply(&profile("steady", &json!({ "profile": numbered(1) })))?;
        await_ready(&profiles, "steady").await?;
        let before = well(&operator).await?;
        let pod = flooding(&ports(&operator).await?, SECONDS)?;
        namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
        namespace.apply(&profile("new", &json!({ "profile": numbered(2) })))?;
        await_ready(&profiles, "new").await?;
        let pods: Api<Pod> = namespace.api();
        eventually("the flood ends, and all were well", LONG, async || {
            for name in ["steady", "new"] {
                ensure!(is_ready_now(&profiles.get(name).await?), "{name} is not Ready");
            }
            // A pod of an earlier test's node may go meanwhile; none may come or be restarted.
            let now = well(&operator).await?;
            let is_as_before = |(name, restarts): (&String, &i32)| before.get(name) == Some(restarts);
            ensure!(now.iter().all(is_as_before), "restarted: before {before:?}, now {now:?}");
            let phase = pods.get("flood").await?.status.and_then(|status| status.phase);
            Ok(match phase.as_deref() {
                Some("Succeeded") => Seen::Done(()),
                other => Seen::NotYet(format!("the pod is {other:?}")),
            })
        })
        .await?;
        let said = namespace.kubectl(&["logs", "flood"])?;
        let opened: u32 = said.trim().rsplit(' ').next().unwrap_or_default().parse()?;
        ensure!(opened > 5_000, "the flood was none: {said}");
        Ok(())
    })
    .await
}
