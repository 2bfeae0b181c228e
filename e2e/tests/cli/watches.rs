//! What `status -w` shows of changes.

use anyhow::Result;
use kube::api::DeleteParams;
use portcullis_api::SeccompProfile;
use portcullis_e2e::testing::{
    Watch,
    profiles::{await_ready, local_operator, numbered, profile},
    with_namespace,
};
use serde_json::json;

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_watch_of_profiles_shows_each_change() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "cli-watch", async |namespace| {
        namespace.apply(&profile("first", &json!({ "profile": numbered(1) })))?;
        await_ready::<SeccompProfile>(&namespace.api(), "first").await?;
        let watch = Watch::start(&namespace, &["status", "--watch"])?;
        watch.await_line(&["sp/first", "True", "2/2"])?;
        namespace.apply(&profile("second", &json!({ "profile": numbered(2) })))?;
        watch.await_line(&["sp/second", "True", "2/2"])?;
        namespace.api::<SeccompProfile>().delete("first", &DeleteParams::default()).await?;
        watch.await_line(&["sp/first is deleted"])
    })
    .await
}
