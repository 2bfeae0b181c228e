//! Measures Portcullis on the local cluster and writes the figures into `docs/performance.md`: `make bench`.
//!
//! Nothing here passes or fails. A figure that misses its target is written down as missing it.

mod files;
mod load;
mod profiles;
mod recorder;
mod report;
mod requests;
mod resources;
mod samples;

use std::process::ExitCode;

use anyhow::{Result, bail};
use portcullis_e2e::{Operator, progress};

use self::{load::Bench, report::Report};

#[tokio::main]
async fn main() -> ExitCode {
    match measure().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Everything, or what the first argument names: `operator` or `recorder`.
async fn measure() -> Result<()> {
    let wanted = std::env::args().nth(1);
    let wants = |part: &str| wanted.as_deref().is_none_or(|wanted| wanted == part);
    if let Some(unknown) = wanted.as_deref().filter(|wanted| !["operator", "recorder"].contains(wanted)) {
        bail!(
            "there is nothing to measure that is called {unknown}: name operator, recorder, or nothing for both"
        );
    }
    if wants("operator") {
        measure_operator().await?;
    }
    if wants("recorder") {
        measure_recorder().await?;
    }
    Ok(())
}

async fn measure_recorder() -> Result<()> {
    let operator = Operator::with_recorder().await?;
    operator.cluster().require_local("measuring two nodes against each other")?;
    let mut report = Report::default();
    recorder::measure(&operator, &mut report).await?;
    report.write(report::RECORDER)
}

async fn measure_operator() -> Result<()> {
    // All in one namespace, and one profile edited again and again.
    let bounds = ["bounds.profilesPerNamespace=2000", "bounds.revisionBurst=1000"];
    let operator = Operator::with_values(&bounds).await?;
    operator.cluster().require_local("measuring files as they appear")?;
    let _alone = operator.cluster().exclusive().await?;
    let bench = Bench::start(operator).await?;
    let mut report = Report::default();
    let measured = run(&bench, &mut report).await;
    // What was measured before a step failed is written down all the same.
    let outcome = measured.and(report.write(report::OPERATOR));
    bench.clean_up().await?;
    outcome
}

async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    resources::binary(report)?;
    resources::empty(bench, report).await?;
    progress::step_async("create profiles one by one", load::one_by_one(bench, report)).await?;
    progress::step_async("requests for new profiles", requests::per_profile(bench, report)).await?;
    progress::step_async("repair damaged files", files::repair(bench, report)).await?;
    progress::step_async("read a file in a tight loop during updates", files::torn_reads(bench, report))
        .await?;
    progress::step_async("create 500 at once", load::at_once(bench, report)).await?;
    progress::step_async("requests of an idle cluster with 500 profiles", requests::idle(bench, report))
        .await?;
    progress::step_async("memory with 1,000 profiles", resources::full(bench, report)).await
}
