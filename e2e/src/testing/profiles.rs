//! Profiles for tests: documents, manifests, waiting until they are Ready, and their files on the nodes.

use std::{fs, io, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    api::core::v1::{Namespace, Pod},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{Api, ResourceExt as _};
use portcullis_api::{
    ConditionType, Owner, ProfileResource, ProfileStatus, Reason, RevisionMeta, SeccompRevision,
};
use serde_json::{Value, json};

use super::{Seen, TestNamespace, await_object, busybox, eventually};
use crate::{Cluster, FIRST_NODES, Operator};

/// How long a profile may take to reach every node, or to be refused, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The errno by which tests tell a call that a profile denied from one that anything else did: `EDQUOT`.
pub const TELLING_ERRNO: u32 = 122;
/// What programs say of [`TELLING_ERRNO`].
pub const TELLING_WORDS: &str = "Disk quota exceeded";
/// Where Portcullis's files are on a node.
pub const PROFILES: &str = "/var/lib/kubelet/seccomp/profiles";

/// The operator on the local cluster. Tests that need it are ignored if `KUBECONFIG` names another (`build.rs`).
///
/// # Errors
/// Returns an error if `KUBECONFIG` names another cluster, and those of [`Operator::from_env`].
pub async fn local_operator() -> Result<Operator> {
    Cluster::from_env().await?.require_local("a test of the nodes' files")?;
    Operator::from_env().await
}

/// A document that denies some calls with an errno and allows every other: looser than the runtime default.
#[must_use]
pub fn denying(names: &[&str], errno: u32) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno }],
    })
}

/// A document that allows some calls, which the runtime default should allow too, and denies every other.
#[must_use]
pub fn allowing(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }],
    })
}

/// A document that is not looser than the runtime default and differs from that of every other number.
#[must_use]
pub fn numbered(number: u32) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            { "names": ["exit_group", "read", "write"], "action": "SCMP_ACT_ALLOW" },
            {
                "names": ["ioctl"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{ "index": 1, "value": number, "op": "SCMP_CMP_EQ" }],
            },
        ],
    })
}

/// The manifest of a `SeccompProfile`.
#[must_use]
pub fn profile(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "SeccompProfile",
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// The manifest of a `ClusterSeccompProfile` that goes with a test's namespace, and so with the test.
///
/// # Errors
/// Where the namespace can't be read.
pub async fn cluster_profile(namespace: &TestNamespace, name: &str, spec: &Value) -> Result<Value> {
    let mut manifest = profile(name, spec);
    manifest["kind"] = json!("ClusterSeccompProfile");
    manifest["metadata"]["ownerReferences"] = json!([owned_by(namespace).await?]);
    Ok(manifest)
}

/// The owner reference by which a cluster-scoped object is deleted with a test's namespace.
///
/// # Errors
/// Where the namespace can't be read.
pub async fn owned_by(namespace: &TestNamespace) -> Result<Value> {
    let object = Api::<Namespace>::all(namespace.client()).get(namespace.name()).await?;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "name": object.name_any(),
        "uid": object.uid().context("the namespace has no UID")?,
    }))
}

/// A busybox pod on a node, confined by a profile's file. It gains no privileges, as a pod under a `SeccompProfile` must not.
///
/// # Errors
/// Never, as long as pods have these fields.
pub fn confined_pod(name: &str, node: &str, localhost_profile: &str) -> Result<Pod> {
    let context = json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": localhost_profile } });
    let mut pod = busybox(name, &json!({ "nodeName": node, "securityContext": context }))?;
    for container in pod.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
        container.security_context.get_or_insert_default().allow_privilege_escalation = Some(false);
    }
    Ok(pod)
}

/// A condition of a profile.
#[must_use]
pub fn condition<K: ProfileResource>(profile: &K, kind: ConditionType) -> Option<&Condition> {
    let conditions = &profile.profile_status()?.conditions;
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Whether a profile's status says of its present generation that it is Ready.
#[must_use]
pub fn is_ready_now<K: ProfileResource>(profile: &K) -> bool {
    condition(profile, ConditionType::Ready)
        .is_some_and(|ready| ready.status == "True" && ready.observed_generation == profile.meta().generation)
}

/// Waits until a profile's present generation is Ready, and gives its status.
///
/// # Errors
/// Where the time is over; the error shows the profile.
pub async fn await_ready<K>(api: &Api<K>, name: &str) -> Result<ProfileStatus>
where
    K: ProfileResource,
{
    let found = await_object(api, name, "Ready", PATIENCE, is_ready_now).await?;
    found.profile_status().cloned().context("a profile without a status is Ready")
}

/// Waits until a profile's present generation is Ready with content other than this, and gives its status. After an edit by which
/// the generation does not change, such as one of a base, [`await_ready`] would be content with the old one.
///
/// # Errors
/// Where the time is over; the error shows the profile.
pub async fn await_other<K>(api: &Api<K>, name: &str, old: &ProfileStatus) -> Result<ProfileStatus>
where
    K: ProfileResource,
{
    let other = |profile: &K| {
        is_ready_now(profile) && profile.profile_status().is_some_and(|status| status.digest != old.digest)
    };
    let found = await_object(api, name, "Ready with other content", PATIENCE, other).await?;
    found.profile_status().cloned().context("a profile without a status is Ready")
}

/// Waits until a condition of a profile's present generation is true for a reason, and gives its message.
///
/// # Errors
/// Where the time is over; the error shows the profile.
pub async fn await_reason<K>(api: &Api<K>, name: &str, kind: ConditionType, reason: Reason) -> Result<String>
where
    K: ProfileResource,
{
    let so = |profile: &K| {
        condition(profile, kind).is_some_and(|condition| {
            condition.status == "True"
                && condition.reason == reason.as_str()
                && condition.observed_generation == profile.meta().generation
        })
    };
    let what = format!("{}: {reason}", kind.as_str());
    let found = await_object(api, name, &what, PATIENCE, so).await?;
    Ok(condition(&found, kind).map(|condition| condition.message.clone()).unwrap_or_default())
}

/// The revisions of a profile, the newest first.
///
/// # Errors
/// Where they can't be listed or one is not as the controller writes it.
pub async fn revisions(cluster: &Cluster, owner: &Owner) -> Result<Vec<(RevisionMeta, SeccompRevision)>> {
    let all = Api::<SeccompRevision>::all(cluster.client()).list(&kube::api::ListParams::default()).await?;
    let mut own = Vec::new();
    for revision in all {
        // What another test plants is no revision of anybody's.
        if let Ok(meta) = RevisionMeta::from_metadata(&revision.metadata)
            && meta.owner == *owner
        {
            own.push((meta, revision));
        }
    }
    own.sort_by_key(|(meta, _)| std::cmp::Reverse(meta.sequence));
    Ok(own)
}

/// The bytes that a profile's path serves, as its newest revision has them.
///
/// # Errors
/// Where there is none.
pub async fn current_content(cluster: &Cluster, owner: &Owner) -> Result<String> {
    let newest = revisions(cluster, owner).await?.into_iter().next();
    let (_, revision) = newest.with_context(|| format!("{owner} has no revision"))?;
    Ok(revision.spec.content)
}

/// A path below [`PROFILES`] on each of the first nodes.
///
/// # Errors
/// Where the cluster is the user's own.
pub fn on_nodes(operator: &Operator, path: &str) -> Result<Vec<PathBuf>> {
    FIRST_NODES.iter().map(|node| operator.file(node, path)).collect()
}

/// Fails unless a path has this content on every node, now.
///
/// # Errors
/// Where it has not; the error names the file and shows what is there.
pub fn ensure_served(operator: &Operator, path: &str, content: &str) -> Result<()> {
    for file in on_nodes(operator, path)? {
        let found = fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))?;
        ensure!(found == content, "{} holds:\n{found}\ninstead of:\n{content}", file.display());
    }
    Ok(())
}

/// Waits until a path has this content on every node.
///
/// # Errors
/// Where the time is over.
pub async fn await_served(operator: &Operator, path: &str, content: &str) -> Result<()> {
    eventually(&format!("{path} is on every node"), PATIENCE, async || {
        Ok(match ensure_served(operator, path, content) {
            Ok(()) => Seen::Done(()),
            Err(error) => Seen::NotYet(format!("{error:#}")),
        })
    })
    .await
}

/// Waits until a path is gone from every node.
///
/// # Errors
/// Where the time is over.
pub async fn await_removed(operator: &Operator, path: &str) -> Result<()> {
    let files = on_nodes(operator, path)?;
    eventually(&format!("{path} is gone from every node"), PATIENCE, async || {
        let left = files.iter().find(|file| exists(file));
        Ok(left.map_or(Seen::Done(()), |file| Seen::NotYet(format!("{} is there", file.display()))))
    })
    .await
}

/// Whether anything is at a path, be it a symbolic link that leads nowhere.
fn exists(path: &PathBuf) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Tries to make a directory in a pod: what it says when that is denied, none when it is not.
pub fn denied_mkdir(namespace: &TestNamespace, pod: &str) -> Option<String> {
    let directory = format!("/tmp/{}", std::process::id());
    let script = format!("mkdir {directory} && rmdir {directory}");
    namespace.exec(pod, &["sh", "-c", &script]).err().map(|error| error.to_string())
}

/// Fails unless a profile with [`TELLING_ERRNO`] denies a pod to make directories, and nothing else is wrong with it.
///
/// # Errors
/// Where it does not.
pub fn ensure_denied(namespace: &TestNamespace, pod: &str) -> Result<()> {
    let status = namespace.exec(pod, &["grep", "Seccomp:", "/proc/self/status"])?;
    ensure!(status.split_whitespace().eq(["Seccomp:", "2"]), "{pod} runs without a filter: {status}");
    namespace.exec(pod, &["touch", "/tmp/works"])?;
    let said = denied_mkdir(namespace, pod).with_context(|| format!("{pod} may make directories"))?;
    ensure!(said.contains(TELLING_WORDS), "{pod} is denied to make directories by something else: {said}");
    Ok(())
}
