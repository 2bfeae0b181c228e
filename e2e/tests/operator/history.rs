//! Going back to an earlier content, holding one, and how many are kept.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use portcullis_api::{ConditionType, ProfileStatus, Reason, SeccompProfile};
use portcullis_e2e::{
    Operator,
    testing::{
        Seen, TestNamespace, eventually, is_running,
        profiles::{
            PATIENCE, await_ready, await_reason, await_removed, confined_pod, current_content, denying,
            ensure_served, local_operator, numbered, profile, revisions,
        },
        with_namespace, with_namespace_options,
    },
};
use serde_json::{Value, json};

use crate::support::{owner, permitted};

/// How long a revision may stay that a pod has named: the controller asks again after a minute.
const COLLECTION: Duration = Duration::from_secs(180);

/// Applies a spec to the profile `web` and gives its status and content once it is Ready, and so on every node.
async fn set(
    operator: &Operator,
    namespace: &TestNamespace,
    spec: &Value,
) -> Result<(ProfileStatus, String)> {
    namespace.apply(&profile("web", spec))?;
    let status = await_ready::<SeccompProfile>(&namespace.api(), "web").await?;
    let web = owner(namespace, "web")?;
    let content = current_content(operator.cluster(), &web).await?;
    ensure_served(operator, &web.current_path(), &content)?;
    Ok((status, content))
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn going_back_to_an_earlier_content_serves_it_again_everywhere() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "back", async |namespace| {
        let (a, b) = (json!({ "profile": numbered(1) }), json!({ "profile": numbered(2) }));
        let (first, content_of_a) = set(&operator, &namespace, &a).await?;
        let (second, content_of_b) = set(&operator, &namespace, &b).await?;
        ensure!(content_of_a != content_of_b, "the contents are the same: {content_of_a}");
        let (third, content) = set(&operator, &namespace, &a).await?;
        assert_eq!(content, content_of_a);
        assert_eq!(third.digest, first.digest);
        let kept = revisions(operator.cluster(), &owner(&namespace, "web")?).await?;
        let kept: Vec<_> = kept.iter().map(|(meta, _)| (Some(meta.digest), meta.sequence)).collect();
        assert_eq!(kept, [(first.digest, 3), (second.digest, 2)], "A's content is one object, above B's");
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_pin_holds_an_earlier_revision_until_it_is_taken_out() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "pin", async |namespace| {
        let (first, content_of_a) = set(&operator, &namespace, &json!({ "profile": numbered(1) })).await?;
        let (second, content_of_b) = set(&operator, &namespace, &json!({ "profile": numbered(2) })).await?;

        let pinned = json!({ "profile": numbered(3), "pin": first.digest });
        let (held, content) = set(&operator, &namespace, &pinned).await?;
        assert_eq!((held.digest, &content), (first.digest, &content_of_a), "the pin wins over the document");

        // kubectl apply takes out a field that the manifest no longer has.
        let (released, content) = set(&operator, &namespace, &json!({ "profile": numbered(2) })).await?;
        assert_eq!((released.digest, &content), (second.digest, &content_of_b));

        let unknown = format!("sha256:{}", "0".repeat(64));
        namespace.apply(&profile("web", &json!({ "profile": numbered(2), "pin": unknown })))?;
        let profiles = namespace.api::<SeccompProfile>();
        let message = await_reason(&profiles, "web", ConditionType::Stalled, Reason::PinNotFound).await?;
        assert!(message.contains("spec.pin") && message.contains(&unknown), "{message}");
        ensure_served(&operator, &owner(&namespace, "web")?.current_path(), &content_of_b)
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn the_history_keeps_its_limit_and_what_a_pod_names() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace_options(operator.cluster(), "history", permitted(), async |namespace| {
        let web = owner(&namespace, "web")?;
        let step = async |errno: u32| {
            let spec = json!({ "profile": denying(&["swapon"], errno), "revisionHistoryLimit": 2 });
            let (status, content) = set(&operator, &namespace, &spec).await?;
            let path = status.pinned_localhost_profile.context("no path of the revision")?;
            let path = path.strip_prefix("profiles/").context("not below the sub-directory")?.to_owned();
            anyhow::Ok((path, content))
        };
        let kept = async |wanted: &[&String]| {
            eventually("the history is as wanted", COLLECTION, async || {
                let kept = revisions(operator.cluster(), &web).await?;
                let kept: Vec<_> = kept.iter().map(|(meta, _)| web.revision_path(&meta.digest)).collect();
                let so = kept.iter().eq(wanted.iter().copied());
                Ok(if so { Seen::Done(()) } else { Seen::NotYet(format!("{kept:?}, not {wanted:?}")) })
            })
            .await
        };
        let (used, content) = step(1).await?;
        // In use by the revision's own path, so that it outlives the history.
        let pod = confined_pod("pinned", "node1", &format!("profiles/{used}"))?;
        namespace.run_pod(&pod, "running", PATIENCE, is_running).await?;
        let mut paths = Vec::new();
        for errno in 2..=6 {
            paths.push(step(errno).await?.0);
        }
        kept(&[&paths[4], &paths[3], &paths[2], &used]).await?;
        await_removed(&operator, &paths[0]).await?;
        await_removed(&operator, &paths[1]).await?;
        ensure_served(&operator, &used, &content)?;

        namespace.kubectl(&["delete", "pod", "pinned", "--now"])?;
        kept(&[&paths[4], &paths[3], &paths[2]]).await?;
        await_removed(&operator, &used).await
    })
    .await
}
