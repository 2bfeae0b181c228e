//! The recording's `spec.run`, set for a while, and the nodes' answers to it.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use portcullis_api::{SeccompRecording, SeccompRecordingPart};
use serde_json::json;

use crate::{
    cluster::{
        Cluster,
        connection::Limit,
        failure::{Attempt, FailureKind},
        recordings,
    },
    commands::FIELD_MANAGER,
};

/// How often a write is tried that others overtake, or that fails on the way.
const ATTEMPTS: u32 = 5;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(500);
/// Parts in a page: one has up to 1 MiB.
const PAGE: u32 = 20;

/// A run that has begun.
#[derive(Debug)]
pub(super) struct Bracket {
    namespace: String,
    name: String,
    uid: String,
    run: String,
    /// The recording's generation since which it is under way.
    pub(super) generation: i64,
}

impl Bracket {
    /// Sets `spec.run`, provided that no other run is under way.
    pub(super) async fn begin(
        cluster: &Cluster,
        recording: &SeccompRecording,
        run: &str,
        take_over: bool,
    ) -> Result<Self> {
        let mut bracket = Self {
            namespace: recording.namespace().unwrap_or_else(|| cluster.namespace.clone()),
            name: recording.name_any(),
            uid: recording.metadata.uid.clone().unwrap_or_default(),
            run: run.to_owned(),
            generation: 0,
        };
        let of = recordings::describe(recording);
        let refuse_other = |present: &SeccompRecording| match &present.spec.run {
            Some(other) if !take_over => bail!(
                "{of}: the run {other} is under way: wait for its end, or, if it was killed and left its name behind, use --take-over"
            ),
            _ => Ok(()),
        };
        let begun = bracket.write(cluster, Some(run), refuse_other).await?;
        bracket.generation = begun.with_context(|| format!("{of} was deleted just now"))?;
        Ok(bracket)
    }

    /// Takes `spec.run` away, unless somebody else has set another one. Gives the generation since which it is gone; none where the
    /// recording is.
    pub(super) async fn end(&self, cluster: &Cluster) -> Result<Option<i64>> {
        let mut failed = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match self.write(cluster, None, |_| Ok(())).await {
                Ok(generation) => return Ok(generation),
                Err(error) if FailureKind::of_attempt(&error) == FailureKind::Forbidden => {
                    return Err(self.left_behind(error));
                }
                Err(error) => failed = Some(error),
            }
        }
        let error = failed.context("it was tried").unwrap_or_else(|error| error);
        Err(self.left_behind(error))
    }

    fn left_behind(&self, error: anyhow::Error) -> anyhow::Error {
        let Self { namespace, name, run, .. } = self;
        error.context(format!(
            "the run {run} could not be ended, so what pods do goes on counting for it; when the cluster answers again: kubectl patch \
             seccomprecording {name} -n {namespace} --type merge -p '{{\"spec\":{{\"run\":null}}}}'"
        ))
    }

    /// Writes `spec.run` over the present version of the recording. None where it is not there any more.
    async fn write(
        &self,
        cluster: &Cluster,
        run: Option<&str>,
        check: impl Fn(&SeccompRecording) -> Result<()>,
    ) -> Result<Option<i64>> {
        let api: Api<SeccompRecording> = Api::namespaced(cluster.client.clone(), &self.namespace);
        let attempt = |verb| Attempt::new::<SeccompRecording>(verb, Some(&self.namespace));
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let mut overtaken = None;
        for _ in 0..ATTEMPTS {
            let present = api.get_opt(&self.name).await.map_err(|error| attempt("get").failed(&error))?;
            // Another one of that name is not the one that the run is of.
            let mine = present.filter(|one| one.metadata.uid.as_deref().unwrap_or_default() == self.uid);
            let Some(present) = mine else { return Ok(None) };
            check(&present)?;
            let is_mine = present.spec.run.as_deref() == Some(&self.run);
            let generation = present.metadata.generation.unwrap_or_default();
            if run.is_none() && !is_mine {
                return Ok(Some(generation));
            }
            let patch = json!({
                "metadata": {"resourceVersion": present.metadata.resource_version},
                "spec": {"run": run},
            });
            match api.patch(&self.name, &parameters, &Patch::Merge(&patch)).await {
                Ok(written) => {
                    // An API server whose definition is older drops the field without a word.
                    if written.spec.run.as_deref() != run {
                        bail!(
                            "the cluster's SeccompRecording knows no spec.run: update Portcullis's resource definitions"
                        );
                    }
                    return Ok(Some(written.metadata.generation.unwrap_or_default()));
                }
                Err(error) => {
                    let error = attempt("patch").failed(&error);
                    if FailureKind::of_attempt(&error) != FailureKind::Conflict {
                        return Err(error);
                    }
                    overtaken = Some(error);
                }
            }
        }
        Err(overtaken.context("it was tried").unwrap_or_else(|error| error))
    }

    /// Waits until nodes have taken a generation in, and gives those that have not in time. With an earlier generation, those that
    /// have taken that one in are waited for as well.
    pub(super) async fn answers(
        &self,
        cluster: &Cluster,
        generation: i64,
        nodes: &BTreeSet<String>,
        since: Option<i64>,
        limit: Limit,
    ) -> Result<BTreeSet<String>> {
        let mut pending = nodes.clone();
        let answered = self.follow(cluster, generation, since, &mut pending);
        let ended = match limit.0 {
            Some(limit) => tokio::time::timeout(limit, answered).await.unwrap_or(Ok(())),
            None => answered.await,
        };
        ended.map(|()| pending)
    }

    async fn follow(
        &self,
        cluster: &Cluster,
        generation: i64,
        since: Option<i64>,
        pending: &mut BTreeSet<String>,
    ) -> Result<()> {
        let api: Api<SeccompRecordingPart> = Api::namespaced(cluster.watching.clone(), &self.namespace);
        let mut events = pin!(watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff());
        let mut listed = false;
        let mut answered = BTreeSet::new();
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::InitApply(part) | watcher::Event::Apply(part))) => {
                    let spec = part.spec;
                    let Some(node) = spec.node.clone().filter(|_| spec.recording_uid == self.uid) else {
                        continue;
                    };
                    if spec.has_observed(generation) {
                        pending.remove(&node);
                        answered.insert(node);
                    } else if since.is_some_and(|since| spec.has_observed(since)) && !answered.contains(&node)
                    {
                        pending.insert(node);
                    }
                }
                Ok(Some(watcher::Event::InitDone)) => listed = true,
                // The part of a node that is gone was taken over: there is nobody to answer. One that was refused was never written.
                Ok(Some(watcher::Event::Delete(part)))
                    if part.spec.recording_uid == self.uid && part.counts() =>
                {
                    pending.remove(part.spec.node.as_deref().unwrap_or_default());
                }
                Ok(Some(watcher::Event::Init | watcher::Event::Delete(_))) => {}
                Err(watcher::Error::InitialListFailed(error @ kube::Error::Api(_))) => {
                    let attempt = Attempt::new::<SeccompRecordingPart>("watch", Some(&self.namespace));
                    return Err(attempt.failed(&error));
                }
                // The watch is taken up again; what does not pass ends with the time.
                Err(_) => {}
                Ok(None) => bail!("the watch of recordings' parts has ended"),
            }
            if listed && pending.is_empty() {
                return Ok(());
            }
        }
    }
}
