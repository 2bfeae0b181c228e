//! Who runs under which profile, and under which revision of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Result;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use portcullis_profile::Digest;

use super::{
    Cluster, Scope,
    pod::{self, Confinement, Container, SlimPod},
    profiles::Profile,
    revisions::{Histories, Revision},
    workload::{Owners, Workload},
};

/// Pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// How many name the profile.
    pub(crate) pods: usize,
    /// How many of them run under an older revision than the current one.
    pub(crate) stale: usize,
}

/// Who uses a profile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Users {
    /// All of them.
    pub(crate) total: Count,
    /// By workload.
    pub(crate) workloads: BTreeMap<Workload, Count>,
    /// How many pods run under each revision.
    pub(crate) revisions: HashMap<Digest, usize>,
    /// How many run under one that is not kept any more.
    pub(crate) lost: usize,
}

/// Which profile and revision a path is of, by the profile's place in a list.
pub(crate) struct Paths<'p>(HashMap<&'p str, (usize, Option<Digest>)>);

impl<'p> Paths<'p> {
    /// The paths of some profiles.
    pub(crate) fn of(profiles: &'p [Profile]) -> Self {
        let paths = profiles.iter().enumerate().flat_map(|(index, profile)| {
            profile.paths().map(move |(path, revision)| (path, (index, revision)))
        });
        Self(paths.collect())
    }

    /// The profile at a path, and the revision where the path is of one.
    pub(crate) fn find(&self, path: &str) -> Option<(usize, Option<Digest>)> {
        self.0.get(path).copied()
    }
}

/// The users of each profile, and in words what could not be read. Where `histories` are not known, nothing is stale.
pub(crate) async fn of(
    cluster: &Cluster,
    scope: &Scope,
    profiles: &[Profile],
    histories: Option<&Histories>,
) -> Result<(Vec<Users>, Vec<String>)> {
    let paths = Paths::of(profiles);
    let mut found: Vec<Users> = vec![Users::default(); profiles.len()];
    pod::each_living(cluster, scope, &[], |pod| add(&pod, &paths, profiles, histories, &mut found)).await?;
    let direct: BTreeSet<Workload> = found.iter().flat_map(|users| users.workloads.keys().cloned()).collect();
    let owners = Owners::of(cluster, scope, &direct).await?;
    for users in &mut found {
        let mut workloads: BTreeMap<Workload, Count> = BTreeMap::new();
        for (direct, count) in std::mem::take(&mut users.workloads) {
            let sum = workloads.entry(owners.top(&direct).clone()).or_default();
            sum.pods += count.pods;
            sum.stale += count.stale;
        }
        users.workloads = workloads;
    }
    Ok((found, owners.notes))
}

/// What one pod adds.
fn add(
    pod: &SlimPod,
    paths: &Paths<'_>,
    profiles: &[Profile],
    histories: Option<&Histories>,
    found: &mut [Users],
) {
    let mut seen: BTreeMap<usize, (bool, BTreeSet<Option<Digest>>)> = BTreeMap::new();
    for container in pod::containers(pod) {
        let Confinement::Localhost { path } = &container.confinement else { continue };
        let Some((index, named)) = paths.find(path) else { continue };
        let (stale, revisions) = seen.entry(index).or_default();
        let Some(profile) = profiles.get(index) else { continue };
        let history = histories.and_then(|histories| histories.get(&profile.owner));
        let Some(history) = history.filter(|_| container.running.is_some()) else { continue };
        let runs = named.or_else(|| revision_at(history, started(&container)));
        *stale |= runs != history.first().map(|current| current.digest);
        revisions.insert(runs);
    }
    for (index, (stale, revisions)) in seen {
        let users = &mut found[index];
        let workload = users.workloads.entry(Workload::of_pod(&pod.metadata)).or_default();
        for count in [workload, &mut users.total] {
            count.pods += 1;
            count.stale += usize::from(stale);
        }
        for revision in revisions {
            match revision {
                Some(digest) => *users.revisions.entry(digest).or_default() += 1,
                None => users.lost += 1,
            }
        }
    }
}

fn started<'p>(container: &Container<'p>) -> Option<&'p Time> {
    container.running.flatten()
}

/// Which revision was the current one when a container started.
///
/// Of a container that started within the same second as a revision came, the API can't tell; it counts as the newer. Nor does it keep
/// more than a revision's first and last time as the current one, so what went to and fro several times is told as far as these go.
fn revision_at(history: &[Revision], started: Option<&Time>) -> Option<Digest> {
    let Some(started) = started else { return history.first().map(|current| current.digest) };
    let starts = history.iter().flat_map(|revision| {
        let times = [revision.since.as_ref(), revision.created.as_ref()];
        times.into_iter().flatten().map(|time| (time.0, revision.sequence, revision.digest))
    });
    // Of two that came within a second the one with the higher sequence is the later.
    starts.filter(|(time, ..)| *time <= started.0).max().map(|(_, _, digest)| digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn revision(name: &[u8], sequence: i64, created: i64, since: i64) -> Revision {
        Revision {
            digest: Digest::of(name),
            sequence,
            since: Some(at(since)),
            created: Some(at(created)),
            revoked: None,
        }
    }

    #[test]
    fn a_container_runs_under_the_revision_that_was_current_when_it_started() {
        let history = [revision(b"new", 2, 200, 200), revision(b"old", 1, 100, 100)];
        let runs = |second| revision_at(&history, Some(&at(second)));
        assert_eq!(runs(200), Some(Digest::of(b"new")));
        assert_eq!(runs(199), Some(Digest::of(b"old")));
        assert_eq!(runs(99), None, "one that is not kept");
        assert_eq!(revision_at(&history, None), Some(Digest::of(b"new")));
    }

    #[test]
    fn a_revision_that_is_current_again_was_so_before_too() {
        let history = [revision(b"a", 3, 100, 300), revision(b"b", 2, 200, 200)];
        let runs = |second| revision_at(&history, Some(&at(second)));
        assert_eq!(runs(150), Some(Digest::of(b"a")));
        assert_eq!(runs(250), Some(Digest::of(b"b")));
        assert_eq!(runs(350), Some(Digest::of(b"a")));
    }
}
