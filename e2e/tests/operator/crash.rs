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
async fn a_reader_never_sees_a_torn_empty_or_missing_file_while_the_agent_is_killed() -> Result<()> {
    let Some(operator) = local_operator().await? else { return Ok(()) };
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
