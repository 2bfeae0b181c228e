//! A file under attack: how soon it is repaired, and whether a reader ever sees half of one.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kube::api::{Patch, PatchParams};
use portcullis_e2e::FIRST_NODES;

use super::{
    load::{self, Bench, PATIENCE},
    profiles::profile,
    report::Report,
    samples::Samples,
};

const NAME: &str = "victim";
/// Attacks on each file of the first measurement, and on the one of the second.
const ROUNDS: usize = 2;
const FIGHT: usize = 200;
const UPDATES: usize = 100;

/// Files that are damaged or removed one after the other, as an accident or a script does it; then one file without a pause.
pub(crate) async fn repair(bench: &Bench, report: &mut Report) -> Result<()> {
    let files: Vec<_> =
        load::singles().map(|name| bench.file(FIRST_NODES[0], &name)).collect::<Result<_>>()?;
    let times = measured(move || {
        (0..ROUNDS).flat_map(|round| files.iter().map(move |file| damage(file, round))).collect()
    });
    report.line(
        "a damaged or removed file is repaired after, p50 / p99",
        "p99 < 50 ms",
        Samples::new(times.await?).text(),
    );
    bench.create(NAME, 900).await?;
    bench.await_ready(NAME).await?;
    let file = bench.file(FIRST_NODES[0], NAME)?;
    let times = measured(move || (0..FIGHT).map(|round| damage(&file, round)).collect());
    report.line(
        "the same for one file that is attacked again and again without a pause",
        "50 at once, then 10 a second",
        Samples::new(times.await?).text(),
    );
    Ok(())
}

async fn measured(attacks: impl FnOnce() -> Result<Vec<Duration>> + Send + 'static) -> Result<Vec<Duration>> {
    tokio::task::spawn_blocking(attacks).await.context("the thread was lost")?
}

/// Removes a file, or in odd rounds overwrites it, and waits until it is whole again.
fn damage(file: &Path, round: usize) -> Result<Duration> {
    let whole = fs::read(file)?;
    let begun = Instant::now();
    if round.is_multiple_of(2) {
        fs::remove_file(file)?;
    } else {
        fs::write(file, b"{}")?;
    }
    while fs::read(file).unwrap_or_default() != whole {
        ensure!(begun.elapsed() < PATIENCE, "{} is not repaired", file.display());
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(begun.elapsed())
}

pub(crate) async fn torn_reads(bench: &Bench, report: &mut Report) -> Result<()> {
    let file = bench.file(FIRST_NODES[0], NAME)?;
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (stop, file) = (Arc::clone(&stop), file.clone());
        tokio::task::spawn_blocking(move || read_until(&stop, &file))
    };
    for number in 0..UPDATES {
        let patch = Patch::Merge(profile(NAME, 2_000 + number)?);
        bench.profiles.patch(NAME, &PatchParams::default(), &patch).await?;
        bench.await_ready(NAME).await?;
    }
    stop.store(true, Ordering::Relaxed);
    let (torn, reads) = reader.await.context("the thread was lost")?;
    report.line("empty or torn reads by a tight loop during 100 updates", "0", format!("{torn} of {reads}"));
    Ok(())
}

/// Reads as fast as it can, and counts what is no whole document.
fn read_until(stop: &AtomicBool, file: &Path) -> (usize, usize) {
    let (mut torn, mut reads) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        reads += 1;
        let content = fs::read(file).unwrap_or_default();
        let whole = serde_json::from_slice::<serde_json::Value>(&content)
            .is_ok_and(|document| document.get("defaultAction").is_some());
        torn += usize::from(!whole);
    }
    (torn, reads)
}
