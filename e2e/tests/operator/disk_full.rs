//! A node whose disk is full, and one whose disk is read-only: said of the profiles that it hits, and over when the cause is.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use kube::{Api, api::DeleteParams};
use portcullis_api::{ConditionType, ProfileStatus, Reason, SeccompNode, SeccompProfile};
use portcullis_e2e::{
    Cluster, Operator, command,
    testing::{
        Seen, TestNamespace, await_object, eventually,
        profiles::{
            PATIENCE, PROFILES, await_ready, await_reason, current_content, is_ready_now, local_operator,
            numbered, profile,
        },
    },
};
use serde_json::json;

use crate::support::{owner, undisturbed};

const NODE: &str = "node2";
/// More than a node's status can list, at two files each.
const MANY: u32 = 60;

/// Runs a program with the node's mounts.
fn on_node(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    command::output(cluster.require_local("the node's mounts")?.node_command(NODE)?.args(arguments))
}

/// Mounts a small file system over the node's profiles, runs a test, and takes it away again, whatever came of the test.
async fn with_small_disk(operator: &Operator, test: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let cluster = operator.cluster();
    on_node(cluster, &["mount", "-t", "tmpfs", "-o", "size=32m,mode=0755", "tmpfs", PROFILES])?;
    let outcome = async {
        // A container sees the mounts that were there when it was made.
        operator.replace_agent(NODE).await?;
        test().await
    }
    .await;
    on_node(cluster, &["umount", "--lazy", PROFILES])?;
    operator.replace_agent(NODE).await?;
    outcome
}

/// Waits until a profile says that the node, and no other, failed for a reason. The failure is said at once, the count of the
/// other nodes up to half a minute later.
async fn await_failing(profiles: &Api<SeccompProfile>, name: &str, reason: &str) -> Result<ProfileStatus> {
    await_reason(profiles, name, ConditionType::Reconciling, Reason::NodesFailing).await?;
    let fails = |profile: &SeccompProfile| {
        let status = profile.status.as_ref();
        status.is_some_and(|status| {
            status.failing_nodes.iter().any(|one| one.node == NODE && one.reason == reason)
                && status
                    .nodes
                    .as_ref()
                    .is_some_and(|nodes| nodes.failing == 1 && nodes.ready + 1 == nodes.desired)
        })
    };
    let found = await_object(profiles, name, &format!("failing for {reason}"), PATIENCE, fails).await?;
    found.status.context("no status")
}

/// The bytes of a profile's file on the node with the small disk.
fn read(operator: &Operator, path: &str) -> Result<String> {
    on_node(operator.cluster(), &["cat", &format!("{PROFILES}/{path}")])
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_full_or_read_only_disk_is_said_of_what_it_hits_and_heals_by_itself() -> Result<()> {
    let operator = local_operator().await?;
    undisturbed(&operator, "full", async |namespace| {
        with_small_disk(&operator, async || {
            full(&operator, &namespace).await?;
            read_only(&operator, &namespace).await
        })
        .await?;
        await_ready::<SeccompProfile>(&namespace.api(), "before").await.map(drop)
    })
    .await
}

/// Waits for what would make room on a disk that was full.
async fn files_of_earlier_tests_are_gone(operator: &Operator, namespace: &TestNamespace) -> Result<()> {
    eventually("the files of earlier tests are gone", PATIENCE, async || {
        let listed = on_node(operator.cluster(), &["ls", PROFILES])?;
        let others: Vec<&str> = listed
            .split_whitespace()
            .filter(|name| name.starts_with("e2e-") && *name != namespace.name())
            .collect();
        Ok(if others.is_empty() { Seen::Done(()) } else { Seen::NotYet(format!("there are {others:?}")) })
    })
    .await
}

async fn full(operator: &Operator, namespace: &TestNamespace) -> Result<()> {
    let profiles: Api<SeccompProfile> = namespace.api();
    for name in ["before", "edited"] {
        namespace.apply(&profile(name, &json!({ "profile": numbered(1) })))?;
        await_ready(&profiles, name).await?;
    }
    let old = current_content(operator.cluster(), &owner(namespace, "edited")?).await?;
    files_of_earlier_tests_are_gone(operator, namespace).await?;
    let filler = format!("{PROFILES}/filler");
    let filled = on_node(operator.cluster(), &["dd", "if=/dev/zero", &format!("of={filler}"), "bs=4096"]);
    let filled = filled.err().context("the disk has no end")?.to_string();
    ensure!(filled.contains("No space left on device"), "{filled}");

    namespace.apply(&profile("after", &json!({ "profile": numbered(2) })))?;
    namespace.apply(&profile("edited", &json!({ "profile": numbered(3) })))?;
    for name in ["after", "edited"] {
        let status = await_failing(&profiles, name, "NoSpace").await?;
        let message = &status.failing_nodes[0].message;
        ensure!(message.contains(name) && message.contains("free space"), "{message}");
    }
    // The rest goes on, and a file that can't be replaced is the old one, whole.
    ensure!(is_ready_now(&profiles.get("before").await?), "a profile whose file is there is not Ready");
    ensure!(read(operator, &owner(namespace, "edited")?.current_path())? == old, "the old file is not whole");

    more_failures_than_a_status_holds(namespace, &profiles).await?;
    on_node(operator.cluster(), &["rm", &filler])?;
    for name in ["after", "edited", "before"] {
        await_ready(&profiles, name).await?;
        let owner = owner(namespace, name)?;
        ensure!(read(operator, &owner.current_path())? == current_content(operator.cluster(), &owner).await?);
    }
    namespace
        .kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "seccompprofile", "--all"])
        .map(drop)
}

/// Where more fails than a node can list, nothing is claimed of any profile on it.
async fn more_failures_than_a_status_holds(
    namespace: &TestNamespace,
    profiles: &Api<SeccompProfile>,
) -> Result<()> {
    let create = async |number: u32| -> Result<()> {
        let manifest = profile(&format!("p{number}"), &json!({ "profile": numbered(100 + number) }));
        namespace.create_object::<SeccompProfile>(&serde_json::from_value(manifest)?).await.map(drop)
    };
    let creations: Vec<_> = (0..MANY).map(create).collect();
    try_join_all(creations).await?;
    let nodes: Api<SeccompNode> = Api::all(namespace.client());
    let truncated = |node: &SeccompNode| node.status.as_ref().is_some_and(|status| status.failures_truncated);
    let node =
        await_object(&nodes, NODE, "reporting more failures than it lists", PATIENCE, truncated).await?;
    ensure!(node.status.is_some_and(|status| status.failures.len() == portcullis_api::MAX_NODE_FAILURES));
    let kind = ConditionType::Reconciling;
    let message = await_reason(profiles, "before", kind, Reason::Distributing).await?;
    ensure!(message.contains("more failures than its status can list"), "{message}");
    let deletions: Vec<_> = (0..MANY)
        .map(async |number| profiles.delete(&format!("p{number}"), &DeleteParams::default()).await)
        .collect();
    try_join_all(deletions).await?;
    Ok(())
}

async fn read_only(operator: &Operator, namespace: &TestNamespace) -> Result<()> {
    let profiles: Api<SeccompProfile> = namespace.api();
    let old = current_content(operator.cluster(), &owner(namespace, "edited")?).await?;
    on_node(operator.cluster(), &["mount", "-o", "remount,ro", PROFILES])?;
    namespace.apply(&profile("edited", &json!({ "profile": numbered(4) })))?;
    let status = await_failing(&profiles, "edited", "ReadOnly").await?;
    ensure!(status.failing_nodes[0].message.contains("mount that file system writable"), "{status:?}");
    ensure!(read(operator, &owner(namespace, "edited")?.current_path())? == old, "the old file is not whole");
    ensure!(is_ready_now(&profiles.get("before").await?), "a profile whose file is there is not Ready");
    on_node(operator.cluster(), &["mount", "-o", "remount,rw", PROFILES])?;
    await_ready(&profiles, "edited").await?;
    let owner = owner(namespace, "edited")?;
    ensure!(read(operator, &owner.current_path())? == current_content(operator.cluster(), &owner).await?);
    Ok(())
}
