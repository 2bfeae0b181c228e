//! Containers that can't start, because no profile has the path that they name.

use std::collections::BTreeMap;

use serde::Serialize;

use super::line::{Known, Served, served};
use crate::cluster::{
    paths::hint,
    pod::{Confinement, Container},
    profiles::Profile,
    workload::Workload,
};

/// As many are told.
const MOST_TOLD: usize = 5;

/// What containers that wait for one file have in common: workload, container, path.
pub(super) type Key = (Workload, String, String);

/// Containers that wait for one file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Waiting {
    workload: Workload,
    container: String,
    path: String,
    /// How many pods have this container.
    pods: usize,
    /// What is wrong with the path.
    wrong: String,
    /// The path that was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    meant: Option<String>,
}

/// That of a container that the kubelet could not make, and whose file is no profile's.
pub(super) fn key(container: &Container<'_>, workload: Workload, known: Option<Known<'_>>) -> Option<Key> {
    let Confinement::Localhost { path } = &container.confinement else { return None };
    let waits = container.state.and_then(|state| state.waiting.as_ref())?;
    let is_unmade = matches!(waits.reason.as_str(), "CreateContainerError" | "CreateContainerConfigError");
    let is_nobodys = matches!(served(container, known), Served::Missing | Served::Foreign);
    (is_unmade && is_nobodys).then(|| (workload, container.name.to_owned(), path.clone()))
}

pub(super) fn of(counts: BTreeMap<Key, usize>, profiles: &[Profile]) -> Vec<Waiting> {
    let one = |((workload, container, path), pods): (Key, usize)| {
        let hint = hint(&path, &workload.namespace, profiles);
        Waiting { workload, container, path, pods, wrong: hint.wrong, meant: hint.meant }
    };
    counts.into_iter().map(one).collect()
}

/// A note for each.
pub(super) fn notes(waiting: &[Waiting]) -> impl Iterator<Item = String> {
    let more = waiting.len().saturating_sub(MOST_TOLD);
    let told = waiting.iter().take(MOST_TOLD).map(|one| {
        let right = one.meant.as_ref().map(|path| format!("; name {path}")).unwrap_or_default();
        format!(
            "{} in {}: container {} can't start, because it names {}: {}{right}",
            one.workload, one.workload.namespace, one.container, one.path, one.wrong
        )
    });
    told.chain((more > 0).then(|| format!("and {more} more, which -o json has")))
}
