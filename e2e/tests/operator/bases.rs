//! Profiles that are built on others.

use anyhow::Result;
use kube::Api;
use portcullis_api::{ClusterSeccompProfile, ConditionType, Reason, SeccompProfile};
use portcullis_e2e::testing::{
    profiles::{
        allowing, await_other, await_ready, await_reason, cluster_profile, current_content, ensure_served,
        local_operator, numbered, profile,
    },
    with_namespace,
};
use serde_json::{Value, json};

use crate::support::owner;

fn on(kind: &str, name: &str) -> Value {
    json!([{ "kind": kind, "name": name }])
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn an_edited_base_reaches_every_profile_that_is_built_on_it() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "bases", async |namespace| {
        let base = format!("{}-base", namespace.name());
        let document = |names: &[&str]| json!({ "profile": allowing(names) });
        namespace.apply(&cluster_profile(&namespace, &base, &document(&["read"])).await?)?;
        let middle = json!({ "profile": allowing(&["write"]), "bases": on("ClusterSeccompProfile", &base) });
        namespace.apply(&profile("middle", &middle))?;
        // Without a document of its own.
        namespace.apply(&profile("top", &json!({ "bases": on("SeccompProfile", "middle") })))?;
        let profiles: Api<SeccompProfile> = namespace.api();
        let (middle, top) = (await_ready(&profiles, "middle").await?, await_ready(&profiles, "top").await?);

        namespace.apply(&cluster_profile(&namespace, &base, &document(&["read", "close"])).await?)?;
        await_other(&profiles, "middle", &middle).await?;
        await_other(&profiles, "top", &top).await?;
        await_ready(&Api::<ClusterSeccompProfile>::all(namespace.client()), &base).await?;
        for name in ["middle", "top"] {
            let owner = owner(&namespace, name)?;
            let content = current_content(operator.cluster(), &owner).await?;
            assert!(
                content.contains(r#"{"names":["close","read","write"],"action":"SCMP_ACT_ALLOW"}"#),
                "{content}"
            );
            ensure_served(&operator, &owner.current_path(), &content)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn bases_that_lead_nowhere_are_conditions_and_not_loops() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "nowhere", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        let apply = |name: &str, number: u32, base: &str| {
            let spec = json!({ "profile": numbered(number), "bases": on("SeccompProfile", base) });
            namespace.apply(&profile(name, &spec)).map(drop)
        };
        let stalled = async |name: &str, reason: Reason| {
            await_reason(&profiles, name, ConditionType::Stalled, reason).await
        };
        apply("circle-a", 1, "circle-b")?;
        let message = stalled("circle-a", Reason::BaseNotFound).await?;
        assert!(message.contains("spec.bases[0]") && message.contains("circle-b"), "{message}");
        apply("circle-b", 2, "circle-a")?;
        for name in ["circle-a", "circle-b"] {
            let message = stalled(name, Reason::BaseCycle).await?;
            assert!(message.contains("circle-a") && message.contains("circle-b"), "{message}");
        }
        // A way out of the circle heals both.
        namespace.apply(&profile("circle-b", &json!({ "profile": numbered(2) })))?;
        await_ready(&profiles, "circle-b").await?;
        await_ready(&profiles, "circle-a").await?;

        namespace.apply(&profile("deep-0", &json!({ "profile": numbered(0) })))?;
        for depth in 1..=9 {
            apply(&format!("deep-{depth}"), depth, &format!("deep-{}", depth - 1))?;
        }
        await_ready(&profiles, "deep-8").await?;
        let message = stalled("deep-9", Reason::BaseTooDeep).await?;
        assert!(message.contains("more than 8 bases away"), "{message}");

        // A base that is missing now is no reason to take away what is served.
        let content = current_content(operator.cluster(), &owner(&namespace, "circle-a")?).await?;
        namespace.kubectl(&["delete", "seccompprofile", "circle-b"])?;
        stalled("circle-a", Reason::BaseNotFound).await?;
        ensure_served(&operator, &owner(&namespace, "circle-a")?.current_path(), &content)
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn bases_that_contradict_each_other_are_refused_by_name() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "conflict", async |namespace| {
        let mut other = allowing(&["read"]);
        other["defaultErrnoRet"] = json!(1);
        namespace.apply(&profile("base", &json!({ "profile": other })))?;
        let spec = json!({ "profile": allowing(&["write"]), "bases": on("SeccompProfile", "base") });
        namespace.apply(&profile("web", &spec))?;
        let profiles: Api<SeccompProfile> = namespace.api();
        let message = await_reason(&profiles, "web", ConditionType::Stalled, Reason::BaseConflict).await?;
        assert!(message.contains("SCMP_ACT_ERRNO(1)") && message.contains("/base)"), "{message}");
        Ok(())
    })
    .await
}
