//! What a profile's status says, and that a cluster where nothing happens stays quiet.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use portcullis_api::{ConditionType, Reason, SeccompProfile};
use portcullis_e2e::{
    Operator,
    testing::{
        Seen, eventually,
        profiles::{allowing, await_ready, await_reason, condition, numbered, profile},
        with_namespace,
    },
};
use serde_json::json;

use crate::support::{requests, undisturbed};

#[tokio::test]
async fn conditions_follow_kstatus_and_keep_their_times() -> Result<()> {
    let operator = Operator::from_env().await?;
    with_namespace(operator.cluster(), "kstatus", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        let first = await_ready(&profiles, "web").await?;
        let types: Vec<_> = first.conditions.iter().map(|one| one.type_.as_str()).collect();
        assert_eq!(types, ["Ready"], "Reconciling and Stalled are there only while they are true");
        assert_eq!(first.observed_generation, Some(1));
        let shown = namespace.kubectl(&["get", "seccompprofile", "web", "--no-headers"])?;
        let columns: Vec<_> = shown.split_whitespace().collect();
        let nodes = first.nodes.as_ref().context("no counts")?;
        assert_eq!(columns[..4], ["web", "True", "Enforce", &format!("{0}/{0}", nodes.desired)], "{shown}");

        // A refused generation: stalled, of this generation, and what is served stays said.
        namespace.apply(&profile("web", &json!({ "profile": allowing(&["bpf"]) })))?;
        let looser = Reason::LooserThanRuntimeDefault;
        await_reason(&profiles, "web", ConditionType::Stalled, looser).await?;
        let stalled = profiles.get("web").await?;
        let ready = condition(&stalled, ConditionType::Ready).context("no Ready")?;
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", looser.as_str()));
        assert_eq!(condition(&stalled, ConditionType::Reconciling), None);
        let status = stalled.status.context("no status")?;
        assert_eq!(status.observed_generation, Some(2));
        assert_eq!(
            (status.digest, status.localhost_profile),
            (first.digest, first.localhost_profile.clone())
        );

        // Back: Ready again, with a time of transition that is later.
        namespace.apply(&profile("web", &json!({ "profile": numbered(1) })))?;
        let back = await_ready(&profiles, "web").await?;
        assert_eq!((back.observed_generation, back.digest), (Some(3), first.digest));
        let time = |status: &portcullis_api::ProfileStatus| {
            status.conditions.first().map(|ready| ready.last_transition_time.0).context("no condition")
        };
        assert!(time(&back)? >= time(&first)?);
        // A change that nodes need not know of leaves the time as it is.
        namespace.apply(&profile("web", &json!({ "profile": numbered(1), "revisionHistoryLimit": 1 })))?;
        let same = await_ready(&profiles, "web").await?;
        assert_eq!((same.observed_generation, time(&same)?), (Some(4), time(&back)?));
        Ok(())
    })
    .await
}

/// How long nothing may be written for a cluster to count as quiet: longer than mere counts are held back.
const QUIET: Duration = Duration::from_secs(40);
const PATIENCE: Duration = Duration::from_secs(150);

#[tokio::test]
async fn a_steady_cluster_causes_no_writes() -> Result<()> {
    let operator = Operator::from_env().await?;
    undisturbed(&operator, "steady", async |namespace| {
        let profiles: Api<SeccompProfile> = namespace.api();
        for number in 0..20 {
            namespace.apply(&profile(&format!("p{number}"), &json!({ "profile": numbered(number) })))?;
        }
        namespace.apply(&profile("stalled", &json!({ "profile": allowing(&["bpf"]) })))?;
        let looser = Reason::LooserThanRuntimeDefault;
        await_reason(&profiles, "stalled", ConditionType::Stalled, looser).await?;
        for number in 0..20 {
            await_ready(&profiles, &format!("p{number}")).await?;
        }
        let (mut last, mut since) = (writes(&operator).await?, Instant::now());
        // Earlier tests' namespaces may still be going.
        eventually("nothing is written for a while", PATIENCE, async || {
            let now = writes(&operator).await?;
            if now > last {
                let seen = format!("{} writes {:.0?} after the one before", now - last, since.elapsed());
                (last, since) = (now, Instant::now());
                return Ok(Seen::NotYet(seen));
            }
            let quiet = since.elapsed();
            Ok(if quiet >= QUIET { Seen::Done(()) } else { Seen::NotYet(format!("quiet for {quiet:.0?}")) })
        })
        .await?;
        for number in 0..20 {
            let found = profiles.get(&format!("p{number}")).await?;
            ensure!(portcullis_e2e::testing::profiles::is_ready_now(&found), "p{number} is no longer Ready");
        }
        Ok(())
    })
    .await
}

/// Requests that wrote, or tried to write, an object of Portcullis.
async fn writes(operator: &Operator) -> Result<f64> {
    requests(operator, |labels| {
        labels.contains(r#"group="portcullis.dev""#)
            && ["APPLY", "PATCH", "POST", "PUT", "DELETE"]
                .iter()
                .any(|verb| labels.contains(&format!("verb=\"{verb}\"")))
    })
    .await
}
