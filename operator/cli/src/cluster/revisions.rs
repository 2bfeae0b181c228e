//! The revisions of profiles: since when each is the current one, and their contents.

use std::collections::HashMap;

use anyhow::{Result, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Api, api::ListParams};
use portcullis_api::{
    CONTROLLER_MANAGER, OWNER_KIND_LABEL, OWNER_NAME_LABEL, OWNER_NAMESPACE_LABEL, Owner, RevisionMeta,
    SeccompRevision,
};
use portcullis_profile::Digest;

use super::{
    Cluster, Scope,
    failure::{Attempt, FailureKind},
    pages,
};

/// A kept revision.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub(crate) digest: Digest,
    pub(crate) sequence: i64,
    /// When it became the current one, last; to the second.
    pub(crate) since: Option<Time>,
    /// When it was written at first, which made it the current one too.
    pub(crate) created: Option<Time>,
    /// Why an administrator revoked it, so that no node has it.
    pub(crate) revoked: Option<String>,
}

/// What a revision is, in words for a table.
pub(crate) fn state(revoked: Option<&str>, is_current: bool) -> String {
    match revoked {
        Some("") => "revoked".to_owned(),
        Some(reason) => format!("revoked: {reason}"),
        None if is_current => "current".to_owned(),
        None => "kept".to_owned(),
    }
}

/// The revisions of several profiles, each list with the current one first.
pub(crate) type Histories = HashMap<Owner, Vec<Revision>>;

/// The revisions of every profile of a scope.
pub(crate) async fn of_scope(cluster: &Cluster, scope: &Scope) -> Result<Histories> {
    let params = ListParams::default();
    match scope {
        Scope::All => list(cluster, params).await,
        Scope::Namespace(namespace) => {
            let own = params.clone().labels(&format!("{OWNER_NAMESPACE_LABEL}={namespace}"));
            let mut histories = list(cluster, own).await?;
            let clusters = params.labels(&format!("!{OWNER_NAMESPACE_LABEL}"));
            histories.extend(list(cluster, clusters).await?);
            Ok(histories)
        }
    }
}

/// The revisions of one profile, the current one first.
pub(crate) async fn of_owner(cluster: &Cluster, owner: &Owner) -> Result<Vec<Revision>> {
    let mut labels = format!("{OWNER_KIND_LABEL}={},{OWNER_NAME_LABEL}={}", owner.kind(), owner.name());
    if let Some(namespace) = owner.namespace() {
        labels += &format!(",{OWNER_NAMESPACE_LABEL}={namespace}");
    }
    let mut histories = list(cluster, ListParams::default().labels(&labels)).await?;
    Ok(histories.remove(owner).unwrap_or_default())
}

async fn list(cluster: &Cluster, params: ListParams) -> Result<Histories> {
    let api = Api::<SeccompRevision>::all(cluster.client.clone());
    let attempt = Attempt::new::<SeccompRevision>("list", None);
    let mut histories = Histories::new();
    pages::each_metadata(&api, params, |object| {
        // What a foreign hand wrote is no revision; agents and the controller take no notice of it either.
        if let Ok(meta) = RevisionMeta::from_metadata(&object.metadata) {
            let revision = Revision {
                digest: meta.digest,
                sequence: meta.sequence,
                since: since(&object.metadata),
                created: object.metadata.creation_timestamp.clone(),
                revoked: meta.revoked,
            };
            histories.entry(meta.owner).or_default().push(revision);
        }
    })
    .await
    .map_err(|error| attempt.failed(&error))?;
    for revisions in histories.values_mut() {
        revisions.sort_by_key(|revision| std::cmp::Reverse((revision.sequence, revision.digest)));
    }
    Ok(histories)
}

/// The controller writes a revision when it makes it the current one, at first and again; never else.
fn since(metadata: &ObjectMeta) -> Option<Time> {
    let entries = metadata.managed_fields.iter().flatten();
    let written = entries
        .filter(|entry| entry.manager.as_deref() == Some(CONTROLLER_MANAGER))
        .filter_map(|entry| entry.time.clone())
        .max_by_key(|time| time.0);
    written.or_else(|| metadata.creation_timestamp.clone())
}

/// A revision's content: the bytes that nodes serve.
pub(crate) async fn content(cluster: &Cluster, owner: &Owner, digest: &Digest) -> Result<String> {
    let name = owner.revision_name(digest);
    match Api::<SeccompRevision>::all(cluster.client.clone()).get(&name).await {
        Ok(revision) => {
            let actual = Digest::of(revision.spec.content.as_bytes());
            if actual != *digest {
                bail!("SeccompRevision {name} holds other content than its name says, of digest {actual}");
            }
            Ok(revision.spec.content)
        }
        Err(error) => {
            let error = Attempt::new::<SeccompRevision>("get", None).failed(&error);
            if FailureKind::of_attempt(&error) == FailureKind::NotFound {
                bail!("the revision {digest} of {owner} is not kept (any more)");
            }
            Err(error)
        }
    }
}

/// The revision that a user means: `previous`, a digest, or enough of its first digits; the current one comes first.
pub(crate) fn choose(kept: &[Digest], wanted: &str) -> Result<Digest> {
    let known = || {
        let digests: Vec<String> = kept.iter().map(Digest::short).collect();
        format!("kept are {}", if digests.is_empty() { "none".to_owned() } else { digests.join(", ") })
    };
    if wanted == "previous" {
        return match kept.get(1) {
            Some(previous) => Ok(*previous),
            None => bail!("there is no revision before the current one; {}", known()),
        };
    }
    let digits = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let matching: Vec<&Digest> = kept.iter().filter(|digest| digest.hex().starts_with(digits)).collect();
    match matching[..] {
        _ if digits.is_empty() => bail!("a digest is missing; {}", known()),
        [one] => Ok(*one),
        [] => bail!("no revision has the digest {wanted:?}; {}", known()),
        _ => bail!("{wanted:?} begins several digests: give more of it; {}", known()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_chosen_by_what_tells_it_from_the_others() {
        let kept = [Digest::of(b"a"), Digest::of(b"b"), Digest::of(b"c")];
        assert_eq!(choose(&kept, "previous").unwrap(), kept[1]);
        assert_eq!(choose(&kept, &kept[2].to_string()).unwrap(), kept[2]);
        assert_eq!(choose(&kept, &kept[2].short()).unwrap(), kept[2]);
        for (wanted, says) in [
            ("sha256:", "a digest is missing"),
            ("", "a digest is missing"),
            ("ffffffffffff", "no revision has the digest \"ffffffffffff\"; kept are "),
            ("../x", "no revision has the digest"),
        ] {
            let error = choose(&kept, wanted).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(choose(&kept[..1], "previous").unwrap_err().to_string().contains("no revision before"));
        assert!(choose(&[], "previous").unwrap_err().to_string().contains("kept are none"));
    }
}
