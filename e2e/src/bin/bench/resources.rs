//! Sizes: the binary, and each role's memory.

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use portcullis_e2e::{
    FIRST_NODES,
    image::{Architecture, OperatorImage},
    operator::CONTROLLERS,
};

use super::{load::Bench, report::Report};

const FULL: usize = 1_000;
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) fn binary(report: &mut Report) -> Result<()> {
    let binary = OperatorImage::new(Architecture::of_machine()?).binary();
    let bytes = u32::try_from(std::fs::metadata(&binary)?.len())?;
    report.line("server binary", "< 25 MiB", format!("{:.1} MiB", f64::from(bytes) / MIB));
    Ok(())
}

pub(crate) async fn empty(bench: &Bench, report: &mut Report) -> Result<()> {
    bench.operator.replace_agent(FIRST_NODES[0]).await?;
    let agent = bench.operator.agent_on(FIRST_NODES[0]).await?;
    report.line("agent memory (RSS) with no profile", "< 10 MiB", memory(bench, &agent).await?);
    Ok(())
}

pub(crate) async fn full(bench: &Bench, report: &mut Report) -> Result<()> {
    let existing = bench.profiles.list_metadata(&ListParams::default()).await?.items.len();
    stream::iter(existing..FULL)
        .map(async |number| bench.create(&format!("full-{number}"), 3_000 + number).await)
        .buffer_unordered(8)
        .try_collect::<Vec<_>>()
        .await?;
    bench.await_ready(&format!("full-{}", FULL - 1)).await?;
    let agent = bench.operator.agent_on(FIRST_NODES[0]).await?;
    report.line("agent memory (RSS) with 1,000 profiles", "< 12 MiB", memory(bench, &agent).await?);
    bench.operator.replace_agent(FIRST_NODES[0]).await?;
    let agent = bench.operator.agent_on(FIRST_NODES[0]).await?;
    report.line("the same after a restart", "< 12 MiB", memory(bench, &agent).await?);
    // The one that leads holds more than the one that waits.
    let mut largest: f64 = 0.0;
    for controller in bench.operator.pods(CONTROLLERS).await? {
        largest = largest.max(resident(bench, &controller).await?);
    }
    report.line("controller memory (RSS) with 1,000 profiles", "< 40 MiB", format!("{largest:.1} MiB"));
    Ok(())
}

async fn memory(bench: &Bench, pod: &Pod) -> Result<String> {
    Ok(format!("{:.1} MiB", resident(bench, pod).await?))
}

/// A role's resident memory in MiB.
async fn resident(bench: &Bench, pod: &Pod) -> Result<f64> {
    let metrics = bench.operator.metrics(pod).await?;
    let bytes = metrics.get("process_resident_memory_bytes").context("no process_resident_memory_bytes")?;
    Ok(bytes / MIB)
}
