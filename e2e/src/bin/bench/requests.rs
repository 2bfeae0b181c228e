//! What Portcullis asks of the API server, from the API server's own metrics.

use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::operator::{AGENTS, CONTROLLERS};

use super::{
    load::{Bench, MANY},
    report::Report,
};

const NEW_PROFILES: u32 = 50;
/// How long an idle cluster is watched.
const IDLE: Duration = Duration::from_secs(60);

/// Requests to the resources of Portcullis's group, and events, leases apart; the watches of pods, nodes and namespaces can't be
/// told from those of others, and a watch counts as one request when it ends.
async fn total(bench: &Bench) -> Result<f64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = bench.operator.cluster().client().request_text(request).await?;
    let ours = |line: &&str| {
        line.starts_with("apiserver_request_total{")
            && (line.contains("group=\"portcullis.dev\"") || line.contains("resource=\"events\""))
    };
    Ok(text.lines().filter(ours).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}

pub(crate) async fn per_profile(bench: &Bench, report: &mut Report) -> Result<()> {
    let before = total(bench).await?;
    for number in 0..NEW_PROFILES {
        bench.create(&format!("counted-{number}"), 800 + usize::try_from(number)?).await?;
        // The status is looked at once it must be there, so that this loop's own reads are known: one watch each.
        bench.await_ready(&format!("counted-{number}")).await?;
    }
    let after = total(bench).await?;
    // The user's own: a create, and of the wait a list (the watch is counted when it ends).
    let own = 3.0;
    let nodes = f64::from(u32::try_from(bench.operator.pods(AGENTS).await?.len())?);
    let all = (after - before) / f64::from(NEW_PROFILES) - own;
    report.line(
        "API requests per new profile",
        "<= 4 on one node",
        format!("{:.1} on one node ({all:.1} on {nodes}, of which one for each)", all - nodes + 1.0),
    );
    Ok(())
}

pub(crate) async fn idle(bench: &Bench, report: &mut Report) -> Result<()> {
    let before = total(bench).await?;
    tokio::time::sleep(IDLE).await;
    let after = total(bench).await?;
    let minutes = IDLE.as_secs_f64() / 60.0;
    let controllers = bench.operator.pods(CONTROLLERS).await?.len();
    report.line(
        &format!("API requests per idle minute, over {MANY} profiles, leases apart"),
        "< 10",
        format!(
            "{:.1} (two nodes, {controllers} controllers, over {minutes} minutes)",
            (after - before) / minutes
        ),
    );
    Ok(())
}
