//! From `create` to the file and to Ready, one by one and many at once.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams},
};
use portcullis_api::SeccompProfile;
use portcullis_e2e::{
    FIRST_NODES, Operator,
    testing::{await_gone, await_object},
};
use serde_json::json;

use super::{
    profiles::profile,
    report::Report,
    samples::{Samples, milliseconds},
};

const NAMESPACE: &str = "portcullis-bench";
const ONE_BY_ONE: usize = 100;
/// How many are created at once.
pub(crate) const MANY: usize = 500;
/// Creations under way at a time.
const CREATORS: usize = 8;
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// How often a file is looked for; the figures are no finer.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// An operator, and a namespace to measure it in.
pub(crate) struct Bench {
    pub(crate) operator: Operator,
    pub(crate) profiles: Api<SeccompProfile>,
}

impl Bench {
    pub(crate) async fn start(operator: Operator) -> Result<Self> {
        let client = operator.cluster().client();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        if namespaces.get_opt(NAMESPACE).await?.is_some() {
            namespaces.delete(NAMESPACE, &DeleteParams::default()).await?;
            await_gone(&namespaces, NAMESPACE, PATIENCE).await?;
        }
        let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } }))?;
        namespaces.create(&PostParams::default(), &namespace).await?;
        // Comparing with the runtime default is part of what is measured, so nothing is permitted here.
        Ok(Self { operator, profiles: Api::namespaced(client, NAMESPACE) })
    }

    pub(crate) async fn clean_up(self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.operator.cluster().client());
        namespaces.delete(NAMESPACE, &DeleteParams::default()).await?;
        await_gone(&namespaces, NAMESPACE, PATIENCE).await
    }

    /// Where a profile's file is on a node.
    pub(crate) fn file(&self, node: &str, name: &str) -> Result<PathBuf> {
        self.operator.file(node, &format!("{NAMESPACE}/{name}.json"))
    }

    pub(crate) async fn create(&self, name: &str, number: usize) -> Result<SeccompProfile> {
        let created = self.profiles.create(&PostParams::default(), &profile(name, number)?).await;
        created.with_context(|| format!("{name} can't be created"))
    }

    /// Waits until this generation of a profile is Ready.
    pub(crate) async fn await_ready(&self, name: &str) -> Result<SeccompProfile> {
        await_object(&self.profiles, name, "Ready", PATIENCE, is_ready).await
    }
}

/// Whether this generation is Ready.
pub(crate) fn is_ready(profile: &SeccompProfile) -> bool {
    let Some(status) = &profile.status else { return false };
    let ready = |condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        condition.type_ == "Ready"
            && condition.status == "True"
            && condition.observed_generation == profile.metadata.generation
    };
    status.conditions.iter().any(ready)
}

/// Waits for a file without the tokio timer's millisecond, on a thread of its own.
async fn appears(file: PathBuf) -> Result<Instant> {
    let look = move || {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if file.exists() {
                return Ok(Instant::now());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        anyhow::bail!("{} did not appear", file.display())
    };
    tokio::task::spawn_blocking(look).await.context("the thread was lost")?
}

/// The names of the profiles that [`one_by_one`] creates.
pub(crate) fn singles() -> impl Iterator<Item = String> {
    (0..ONE_BY_ONE).map(|number| format!("single-{number}"))
}

pub(crate) async fn one_by_one(bench: &Bench, report: &mut Report) -> Result<()> {
    let (mut created, mut to_file, mut to_ready) = (Vec::new(), Vec::new(), Vec::new());
    for (number, name) in singles().enumerate() {
        let file = tokio::spawn(appears(bench.file(FIRST_NODES[0], &name)?));
        // The watch is there before the profile, or its set-up would be measured.
        let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
        let list = bench.profiles.list_metadata(&ListParams::default().limit(1)).await?;
        let version = list.metadata.resource_version.unwrap_or_default();
        let mut events = bench.profiles.watch(&parameters, &version).await?.boxed();
        let begun = Instant::now();
        bench.create(&name, number).await?;
        created.push(begun.elapsed());
        while let Some(event) = events.try_next().await? {
            if matches!(&event, WatchEvent::Modified(profile) if is_ready(profile)) {
                break;
            }
        }
        to_ready.push(begun.elapsed());
        to_file.push(file.await.context("the task was lost")??.duration_since(begun));
    }
    report.line(
        "the API server's answer to the create itself, p50 / p99",
        "not Portcullis's",
        Samples::new(created).text(),
    );
    report.line(
        "create to the file, one profile, p50 / p99",
        "< 30 / < 100 ms",
        Samples::new(to_file).text(),
    );
    report.line("create to Ready, p50 / p99", "< 100 / < 400 ms", Samples::new(to_ready).text());
    Ok(())
}

pub(crate) async fn at_once(bench: &Bench, report: &mut Report) -> Result<()> {
    let names: Vec<String> = (0..MANY).map(|number| format!("many-{number}")).collect();
    // A list of them all, again and again, would keep the API server from what is measured.
    let list = bench.profiles.list_metadata(&ListParams::default().limit(1)).await?;
    let version = list.metadata.resource_version.unwrap_or_default();
    let mut events = bench.profiles.watch(&WatchParams::default(), &version).await?.boxed();
    let all_ready = tokio::spawn(async move {
        let mut ready = BTreeSet::new();
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Modified(profile) = &event
                && profile.name_any().starts_with("many-")
                && is_ready(profile)
            {
                ready.insert(profile.name_any());
                if ready.len() == MANY {
                    return Ok(Instant::now());
                }
            }
        }
        anyhow::bail!("the watch ended when {} of {MANY} were Ready", ready.len())
    });
    let begun = Instant::now();
    stream::iter(names.iter().enumerate())
        .map(|(number, name)| bench.create(name, 1_000 + number))
        .buffer_unordered(CREATORS)
        .try_collect::<Vec<_>>()
        .await?;
    let created = Instant::now();
    let mut files = Vec::new();
    for node in FIRST_NODES {
        for name in &names {
            files.push(bench.file(node, name)?);
        }
    }
    let all_files =
        tokio::task::spawn_blocking(move || all_exist(&files)).await.context("the thread was lost")??;
    let all_ready = all_ready.await.context("the task was lost")??;
    report.line(
        "500 at once: all files / all Ready, after the last create",
        "< 1 / < 2 s",
        format!(
            "{} / {} ms (the creates took {} ms)",
            milliseconds(all_files.saturating_duration_since(created)),
            milliseconds(all_ready.saturating_duration_since(created)),
            milliseconds(created.duration_since(begun))
        ),
    );
    Ok(())
}

fn all_exist(files: &[impl AsRef<Path>]) -> Result<Instant> {
    let end = Instant::now() + PATIENCE;
    for file in files {
        while !file.as_ref().exists() {
            anyhow::ensure!(Instant::now() < end, "{} did not appear", file.as_ref().display());
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(Instant::now())
}
