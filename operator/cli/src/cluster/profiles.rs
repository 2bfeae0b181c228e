//! Profiles of both kinds, without their documents.

use std::str::FromStr;

use anyhow::{Result, anyhow};
use clap::Args;
use clap_complete::ArgValueCandidates;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{
    Api, Resource, ResourceExt as _,
    api::ListParams,
    core::{ApiResource, DynamicObject, Object},
};
use portcullis_api::{
    ClusterSeccompProfile, ConditionType, Mode, Owner, ProfileKind, ProfileStatus, SeccompProfile,
};
use portcullis_profile::Digest;
use serde::Deserialize;

use super::{
    Cluster, Connection, Scope,
    failure::{Attempt, FailureKind, not_found},
    pages,
};
use crate::complete;

/// A profile, and what Portcullis made of it.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) owner: Owner,
    pub(crate) metadata: ObjectMeta,
    pub(crate) mode: Mode,
    pub(crate) pin: Option<String>,
    pub(crate) status: ProfileStatus,
}

type Slim = Object<SlimSpec, ProfileStatus>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimSpec {
    mode: Mode,
    pin: Option<String>,
}

/// How a user names a profile: `web`, `sp/web` or `csp/web`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) kind: Option<ProfileKind>,
    pub(crate) name: String,
}

/// The one profile of a cluster that a command is for.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// The profile: NAME, sp/NAME or csp/NAME.
    #[arg(index = 1, value_name = "NAME", add = ArgValueCandidates::new(complete::profiles))]
    name: Reference,
    #[command(flatten)]
    connection: Connection,
}

impl One {
    /// Finds it, and does some work with it.
    pub(crate) fn with<T, F>(&self, work: impl FnOnce(Cluster, Profile) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        super::with(&self.connection, async |cluster| {
            let profile = find(&cluster, &self.name).await?;
            work(cluster, profile).await
        })
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((kind, name)) = text.split_once('/') else {
            return Ok(Self { kind: None, name: text.to_owned() });
        };
        let resource = kind.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let kind = match resource.as_str() {
            "sp" | "seccompprofile" | "seccompprofiles" => ProfileKind::SeccompProfile,
            "csp" | "clusterseccompprofile" | "clusterseccompprofiles" => ProfileKind::ClusterSeccompProfile,
            _ => return Err(format!("{kind:?} is no kind of profile: use sp/NAME or csp/NAME")),
        };
        Ok(Self { kind: Some(kind), name: name.to_owned() })
    }
}

/// How far a profile is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// This generation's content is on every node that counts.
    Ready,
    /// It is not: the reason, in a word.
    NotReady(String),
    /// The controller has not looked at this generation.
    Unseen,
}

impl State {
    /// Why it is not Ready, in a word.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::NotReady(reason) => Some(reason),
            Self::Unseen => Some("Unseen"),
        }
    }
}

impl Profile {
    fn of(kind: ProfileKind, object: Slim) -> Result<Self> {
        let name = object.name_any();
        let owner = match kind {
            ProfileKind::SeccompProfile => {
                Owner::namespaced(object.metadata.namespace.as_deref().unwrap_or_default(), &name)
            }
            ProfileKind::ClusterSeccompProfile => Owner::cluster(&name),
        }
        .map_err(|error| anyhow!("{kind} {name}: {error}"))?;
        let mut metadata = object.metadata;
        metadata.managed_fields = None;
        let SlimSpec { mode, pin } = object.spec;
        Ok(Self { owner, metadata, mode, pin, status: object.status.unwrap_or_default() })
    }

    /// The short form that kubectl takes: `sp/web`.
    pub(crate) fn reference(&self) -> String {
        format!("{}/{}", short(self.owner.kind()), self.owner.name())
    }

    /// The object as kubectl is told of it: `seccompprofile web -n shop`.
    pub(crate) fn for_kubectl(&self) -> String {
        let kind = self.owner.kind().as_str().to_ascii_lowercase();
        let namespace = self.owner.namespace().map(|namespace| format!(" -n {namespace}"));
        format!("{kind} {}{}", self.owner.name(), namespace.unwrap_or_default())
    }

    /// The digest of what nodes serve.
    pub(crate) fn current(&self) -> Result<Digest> {
        self.status.digest.ok_or_else(|| {
            let why = self.condition(ConditionType::Ready).map_or_else(
                || "the controller has not looked at it yet; does it run?".to_owned(),
                |ready| format!("{}: {}", ready.reason, ready.message),
            );
            anyhow!("{} has no revision yet: {why}", self.reference())
        })
    }

    /// The digests of what is kept, the current one first.
    pub(crate) fn kept(&self) -> Vec<Digest> {
        self.status.revisions.iter().map(|revision| revision.digest).collect()
    }

    /// A condition of the present generation.
    pub(crate) fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        let found = self.status.conditions.iter().find(|condition| condition.type_ == kind.as_str())?;
        (found.observed_generation >= self.metadata.generation).then_some(found)
    }

    /// How far it is.
    pub(crate) fn state(&self) -> State {
        match self.condition(ConditionType::Ready) {
            Some(ready) if ready.status == "True" => State::Ready,
            Some(ready) => State::NotReady(ready.reason.clone()),
            None => State::Unseen,
        }
    }

    /// The mode of what is served: a pin may hold a revision of another one.
    pub(crate) fn mode_name(&self) -> &'static str {
        match self.status.mode.unwrap_or(self.mode) {
            Mode::Enforce => "Enforce",
            Mode::Audit => "Audit",
        }
    }

    /// Every path by which a pod can name it, with the revision where the path is of one.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&str, Option<Digest>)> {
        let current = self.status.localhost_profile.as_deref().map(|path| (path, None));
        let revisions = self.status.revisions.iter();
        let revisions = revisions.map(|one| (one.localhost_profile.as_str(), Some(one.digest)));
        current.into_iter().chain(revisions)
    }
}

/// The short name of a kind's resource.
pub(crate) const fn short(kind: ProfileKind) -> &'static str {
    match kind {
        ProfileKind::SeccompProfile => "sp",
        ProfileKind::ClusterSeccompProfile => "csp",
    }
}

/// The profiles of a scope, those of the whole cluster included; and in words what could not be read.
pub(crate) async fn list(cluster: &Cluster, scope: &Scope) -> Result<(Vec<Profile>, Vec<String>)> {
    let mut profiles = of_kind::<SeccompProfile>(cluster, scope, ProfileKind::SeccompProfile).await?;
    match of_kind::<ClusterSeccompProfile>(cluster, &Scope::All, ProfileKind::ClusterSeccompProfile).await {
        Ok(own) => profiles.extend(own),
        // A user of one namespace often has no right to what is the cluster's.
        Err(error) if FailureKind::of_attempt(&error) == FailureKind::Forbidden => {
            return Ok((profiles, vec![format!("cluster profiles are left out: {error:#}")]));
        }
        Err(error) => return Err(error),
    }
    Ok((profiles, Vec::new()))
}

/// [`list`], for what is worth saying without profiles too: none where they can't be read because Portcullis is not installed, or this user
/// may not. Then a note says so, which begins with these words.
pub(crate) async fn list_if_allowed(
    cluster: &Cluster,
    scope: &Scope,
    without: &str,
) -> Result<(Option<Vec<Profile>>, Vec<String>)> {
    match list(cluster, scope).await {
        Ok((profiles, notes)) => Ok((Some(profiles), notes)),
        Err(error)
            if matches!(
                FailureKind::of_attempt(&error),
                FailureKind::NotInstalled | FailureKind::Forbidden
            ) =>
        {
            Ok((None, vec![format!("{without}: {error:#}")]))
        }
        Err(error) => Err(error),
    }
}

async fn of_kind<K>(cluster: &Cluster, scope: &Scope, kind: ProfileKind) -> Result<Vec<Profile>>
where
    K: Resource<DynamicType = ()>,
{
    let namespace = match kind {
        ProfileKind::SeccompProfile => scope.namespace(),
        ProfileKind::ClusterSeccompProfile => None,
    };
    let attempt = Attempt::new::<K>("list", namespace);
    let (mut profiles, mut broken) = (Vec::new(), None);
    pages::each(&api::<K>(cluster, namespace), ListParams::default(), |object| {
        match Profile::of(kind, object) {
            Ok(profile) => profiles.push(profile),
            Err(error) => broken = Some(error),
        }
    })
    .await
    .map_err(|error| attempt.failed(&error))?;
    broken.map_or(Ok(profiles), Err)
}

fn api<K: Resource<DynamicType = ()>>(cluster: &Cluster, namespace: Option<&str>) -> Api<Slim> {
    let resource = ApiResource::erase::<K>(&());
    match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    }
}

/// The objects of a profile's kind, as they are.
pub(crate) fn objects(cluster: &Cluster, owner: &Owner) -> Api<DynamicObject> {
    let client = cluster.client.clone();
    match owner.namespace() {
        Some(namespace) => {
            Api::namespaced_with(client, namespace, &ApiResource::erase::<SeccompProfile>(&()))
        }
        None => Api::all_with(client, &ApiResource::erase::<ClusterSeccompProfile>(&())),
    }
}

/// Whether a profile is there. Who may not look is told that it is.
pub(crate) async fn exists(cluster: &Cluster, owner: &Owner) -> Result<bool> {
    match objects(cluster, owner).get_metadata(owner.name()).await {
        Ok(_) => Ok(true),
        Err(error) => {
            let error = attempt("get", owner).failed(&error);
            match FailureKind::of_attempt(&error) {
                FailureKind::NotFound => Ok(false),
                FailureKind::Forbidden => Ok(true),
                _ => Err(error),
            }
        }
    }
}

/// What is tried on objects of a profile's kind.
pub(crate) fn attempt(verb: &'static str, owner: &Owner) -> Attempt {
    match owner.kind() {
        ProfileKind::SeccompProfile => Attempt::new::<SeccompProfile>(verb, owner.namespace()),
        ProfileKind::ClusterSeccompProfile => Attempt::new::<ClusterSeccompProfile>(verb, None),
    }
}

/// One profile. Where the kind is not said, that of the namespace goes before the cluster's.
pub(crate) async fn find(cluster: &Cluster, reference: &Reference) -> Result<Profile> {
    let namespaced = async || {
        get::<SeccompProfile>(cluster, Some(&cluster.namespace), ProfileKind::SeccompProfile, &reference.name)
            .await
    };
    let clusters = async || {
        get::<ClusterSeccompProfile>(cluster, None, ProfileKind::ClusterSeccompProfile, &reference.name).await
    };
    let (found, searched) = match reference.kind {
        Some(ProfileKind::SeccompProfile) => (
            namespaced().await?,
            format!("no SeccompProfile {:?} in the namespace {}", reference.name, cluster.namespace),
        ),
        Some(ProfileKind::ClusterSeccompProfile) => {
            (clusters().await?, format!("no ClusterSeccompProfile {:?}", reference.name))
        }
        None => {
            let found = match namespaced().await? {
                Some(found) => Some(found),
                None => clusters().await?,
            };
            let searched = format!(
                "no SeccompProfile {:?} in the namespace {}, and no ClusterSeccompProfile of that name",
                reference.name, cluster.namespace
            );
            (found, searched)
        }
    };
    found.ok_or_else(|| {
        not_found(format!("there is {searched}; `kubectl seccomp status -A` lists those that there are"))
    })
}

/// Whether an object can have this name at all; what can't must not become a path.
pub(crate) fn can_be_a_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '?', '%', '#'])
}

async fn get<K>(
    cluster: &Cluster,
    namespace: Option<&str>,
    kind: ProfileKind,
    name: &str,
) -> Result<Option<Profile>>
where
    K: Resource<DynamicType = ()>,
{
    if !can_be_a_name(name) {
        return Ok(None);
    }
    match api::<K>(cluster, namespace).get(name).await {
        Ok(object) => Profile::of(kind, object).map(Some),
        Err(error) => {
            let error = Attempt::new::<K>("get", namespace).failed(&error);
            if FailureKind::of_attempt(&error) == FailureKind::NotFound { Ok(None) } else { Err(error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_named_as_kubectl_names_objects() {
        let parse = |text: &str| text.parse::<Reference>().map(|reference| (reference.kind, reference.name));
        assert_eq!(parse("web"), Ok((None, "web".to_owned())));
        for text in ["sp/web", "seccompprofiles/web", "SeccompProfile.portcullis.dev/web"] {
            assert_eq!(parse(text), Ok((Some(ProfileKind::SeccompProfile), "web".to_owned())), "{text}");
        }
        assert_eq!(parse("csp/web"), Ok((Some(ProfileKind::ClusterSeccompProfile), "web".to_owned())));
        assert!(parse("pod/web").unwrap_err().contains("sp/NAME or csp/NAME"));
    }
}
