//! What there is to say of profiles.

use anyhow::Result;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use portcullis_api::{ConditionType, FailingNode, NodeCounts, Owner, ProfileWarning};
use portcullis_profile::Digest;
use serde::Serialize;

use crate::cluster::{
    Cluster, Scope,
    failure::FailureKind,
    profiles::{self, Profile, Reference, State},
    revisions::{self, Histories, Revision},
    usage::{self, Users},
    workload::Workload,
};

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) scope: Scope,
    /// One profile; all of the scope where there is none.
    pub(super) one: Option<&'a Reference>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) profiles: Vec<Line>,
    /// What could not be read, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

/// A profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) mode: &'static str,
    pub(super) ready: bool,
    /// Why it is not Ready; absent where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    pub(super) created: Option<Time>,
    pub(super) conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nodes: Option<NodeCounts>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) failing_nodes: Vec<FailingNode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) localhost_profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pin: Option<String>,
    pub(super) revisions: Vec<RevisionLine>,
    pub(super) warnings: Vec<ProfileWarning>,
    /// Absent where pods could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Usage>,
}

/// A kept revision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RevisionLine {
    pub(super) digest: Digest,
    pub(super) sequence: i64,
    pub(super) current: bool,
    /// Why an administrator revoked it, so that no node has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revoked: Option<String>,
    /// When it became the current one, last; absent where revisions could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Time>,
    /// Pods that run under it; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pods: Option<usize>,
}

/// Who uses a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usage {
    pub(super) pods: usize,
    /// Pods under an older revision than the current one; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stale: Option<usize>,
    pub(super) workloads: Vec<WorkloadLine>,
}

/// A workload that uses a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadLine {
    #[serde(flatten)]
    pub(super) workload: Workload,
    pub(super) pods: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stale: Option<usize>,
}

impl Question<'_> {
    /// Reads what there is.
    pub(super) async fn ask(&self) -> Result<Report> {
        let (mut profiles, mut notes) = match self.one {
            Some(reference) => (vec![profiles::find(self.cluster, reference).await?], Vec::new()),
            None => profiles::list(self.cluster, &self.scope).await?,
        };
        profiles.sort_by_key(|profile| profile.owner.kind() as u8);
        let histories = self.histories(&profiles, &mut notes).await?;
        let users = self.users(&profiles, histories.as_ref(), &mut notes).await?;
        let lines = profiles.into_iter().enumerate().map(|(index, profile)| {
            let history = histories.as_ref().map(|all| history_of(all, &profile.owner));
            line(profile, history, users.as_ref().map(|users| &users[index]))
        });
        Ok(Report { profiles: lines.collect(), notes })
    }

    async fn histories(&self, profiles: &[Profile], notes: &mut Vec<String>) -> Result<Option<Histories>> {
        let read = match profiles {
            [] => return Ok(None),
            [only] => revisions::of_owner(self.cluster, &only.owner)
                .await
                .map(|revisions| Histories::from([(only.owner.clone(), revisions)])),
            _ => revisions::of_scope(self.cluster, &self.scope).await,
        };
        unless_forbidden(read, "how old pods' profiles are is not known", notes)
    }

    async fn users(
        &self,
        profiles: &[Profile],
        histories: Option<&Histories>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Vec<Users>>> {
        let of = async |scope: &Scope| usage::of(self.cluster, scope, profiles, histories).await;
        let read = match profiles {
            [] => return Ok(None),
            // Pods of any namespace can use a profile of the whole cluster.
            [only] if self.one.is_some() && only.owner.namespace().is_none() => match of(&Scope::All).await {
                Err(error) if FailureKind::of_attempt(&error) == FailureKind::Forbidden => {
                    notes.push(format!("pods of other namespaces are left out: {error:#}"));
                    of(&self.scope).await
                }
                other => other,
            },
            _ => of(&self.scope).await,
        };
        let read = unless_forbidden(read, "who uses the profiles is not known", notes)?;
        Ok(read.map(|(users, more)| {
            notes.extend(more);
            users
        }))
    }
}

/// A part of the answer that a right is missing for is left out, and said so.
fn unless_forbidden<T>(read: Result<T>, lost: &str, notes: &mut Vec<String>) -> Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if FailureKind::of_attempt(&error) == FailureKind::Forbidden => {
            notes.push(format!("{lost}: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn history_of<'h>(histories: &'h Histories, owner: &Owner) -> &'h [Revision] {
    histories.get(owner).map(Vec::as_slice).unwrap_or_default()
}

fn line(profile: Profile, history: Option<&[Revision]>, users: Option<&Users>) -> Line {
    let state = profile.state();
    let conditions = [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled];
    let conditions = conditions.iter().filter_map(|kind| profile.condition(*kind).cloned()).collect();
    let revisions = revision_lines(&profile, history, users);
    Line {
        kind: profile.owner.kind().as_str(),
        namespace: profile.owner.namespace().map(str::to_owned),
        name: profile.owner.name().to_owned(),
        mode: profile.mode_name(),
        ready: state == State::Ready,
        reason: state.reason().map(str::to_owned),
        created: profile.metadata.creation_timestamp,
        conditions,
        nodes: profile.status.nodes,
        failing_nodes: profile.status.failing_nodes,
        localhost_profile: profile.status.localhost_profile,
        digest: profile.status.digest,
        pin: profile.pin,
        revisions,
        warnings: profile.status.warnings,
        usage: users.map(|users| usage_of(users, history.is_some())),
    }
}

fn revision_lines(
    profile: &Profile,
    history: Option<&[Revision]>,
    users: Option<&Users>,
) -> Vec<RevisionLine> {
    let pods = |digest: &Digest| {
        let users = users.filter(|_| history.is_some())?;
        Some(users.revisions.get(digest).copied().unwrap_or_default())
    };
    let kept = profile.status.revisions.iter().map(|summary| RevisionLine {
        digest: summary.digest,
        sequence: summary.sequence,
        current: profile.status.digest == Some(summary.digest),
        revoked: None,
        since: history
            .and_then(|history| history.iter().find(|revision| revision.digest == summary.digest))
            .and_then(|revision| revision.since.clone()),
        pods: pods(&summary.digest),
    });
    // A status names what nodes have.
    let revoked = history.into_iter().flatten().filter(|revision| revision.revoked.is_some());
    let revoked = revoked.map(|revision| RevisionLine {
        digest: revision.digest,
        sequence: revision.sequence,
        current: false,
        revoked: revision.revoked.clone(),
        since: revision.since.clone(),
        pods: pods(&revision.digest),
    });
    let is_revoked = |line: &RevisionLine| {
        history.into_iter().flatten().any(|one| one.digest == line.digest && one.revoked.is_some())
    };
    kept.filter(|line| !is_revoked(line)).chain(revoked).collect()
}

fn usage_of(users: &Users, ages_known: bool) -> Usage {
    let stale = |count: usize| ages_known.then_some(count);
    let workloads = users.workloads.iter().map(|(workload, count)| WorkloadLine {
        workload: workload.clone(),
        pods: count.pods,
        stale: stale(count.stale),
    });
    Usage { pods: users.total.pods, stale: stale(users.total.stale), workloads: workloads.collect() }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
