//! What agents ask of the API server.

use anyhow::{Context as _, Result, ensure};
use kube::{Api, ResourceExt as _};
use portcullis_api::SeccompProfile;
use portcullis_e2e::{
    FIRST_NODES,
    testing::{
        agents::AgentProcess,
        profiles::{await_ready, local_operator, numbered, profile},
    },
};
use serde_json::json;

use crate::support::{requests, undisturbed};

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn an_agent_with_a_full_store_reads_no_content_at_its_start() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "store", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        for number in 0..50 {
            namespace.apply(&profile(&format!("p{number}"), &json!({ "profile": numbered(number) })))?;
        }
        namespace.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "seccompprofile", "--all"])?;
        let reads = async || {
            requests(&operator, |labels| {
                labels.contains(r#"resource="seccomprevisions""#) && labels.contains(r#"verb="GET""#)
            })
            .await
        };
        let before = reads().await?;
        for node in FIRST_NODES {
            let old = operator.agent_on(node).await?;
            operator.replace_agent(node).await?;
            let new = operator.agent_on(node).await?;
            ensure!(new.uid() != old.uid(), "the agent was not replaced");
            let metrics = operator.metrics(&new).await?;
            let fetched = metrics.get("portcullis_agent_contents_fetched_total").context("no such metric")?;
            let served = metrics.get("portcullis_agent_files_served").context("no such metric")?;
            ensure!(*fetched == 0.0, "{node} read {fetched} contents");
            ensure!(*served >= 100.0, "{node} serves {served} files");
            let memory = AgentProcess::on(&operator, node)?.memory()?;
            portcullis_e2e::progress::say(format_args!(
                "{node}'s agent has {} KiB for itself",
                memory / 1024
            ));
        }
        let read = reads().await? - before;
        ensure!(read == 0.0, "{read} contents were read");
        await_ready(&profiles, "p0").await.map(drop)
    })
    .await
}
