//! An agent that is killed while it writes.

use anyhow::{Result, ensure};
use portcullis_e2e::{
    progress,
    testing::{
        profiles::local_operator,
        torture::{Least, torture},
        with_namespace,
    },
};

/// The short form; `soak.rs` has the long one.
#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_reader_never_sees_a_torn_empty_or_missing_file_while_the_agent_is_killed() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "crash", async |namespace| {
        let directory = tempfile::tempdir()?;
        let torture =
            torture(&operator, &namespace, directory.path(), Least { kills: 25, changes: 6 }).await?;
        progress::say(format_args!("{torture:?}"));
        ensure!(torture.reads > 10_000, "too little happened: {torture:?}");
        Ok(())
    })
    .await
}
