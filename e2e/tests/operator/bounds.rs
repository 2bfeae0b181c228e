//! A tenant with the role `edit` and nothing else does its worst; another doesn't notice.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use portcullis_api::{ConditionType, Reason, SeccompProfile};
use portcullis_e2e::{
    Operator,
    operator::CONTROLLERS,
    testing::{
        Seen, await_object, busybox, eventually,
        profiles::{
            await_ready, await_reason, condition, is_ready_now, local_operator, numbered, profile, revisions,
        },
        tenant_of, with_namespace,
    },
};
use serde_json::{Value, json};

use crate::support::owner;

/// Profiles of a flood.
const FLOOD: usize = 100;
/// The chart's `bounds.profilesPerNamespace` and `bounds.revisionsKeptForPods`.
const PROFILES: usize = 500;
const KEPT_FOR_PODS: usize = 10;
/// The controller's memory limit, as the chart sets it.
const CONTROLLER_MEMORY: f64 = 256.0 * 1024.0 * 1024.0;
/// How long a flood may take to be judged, and collection to come to rest.
const LONG: Duration = Duration::from_secs(300);

/// Documents at the schema's limits: one name again and again under conditions that contradict each other, and as many names as fit.
fn worst(number: usize) -> Value {
    let syscalls: Vec<Value> = match number % 3 {
        0 => (0..82)
            .map(|rule| {
                json!({
                    "names": vec!["dup"; 512],
                    "action": if rule % 2 == 0 { "SCMP_ACT_ALLOW" } else { "SCMP_ACT_LOG" },
                    "args": [{ "index": 0, "value": 1000 + rule + number, "op": "SCMP_CMP_EQ" }],
                })
            })
            .chain([json!({ "names": ["dup"], "action": "SCMP_ACT_ALLOW" })])
            .collect(),
        1 => (0..125)
            .map(|rule| {
                let name = |at: usize| char::from(b"abcdefghijklmnopqrstuvwxyz"[(rule + at + number) % 26]);
                let names: Vec<String> = (0..512).map(|at| name(at).to_string()).collect();
                json!({ "names": names, "action": "SCMP_ACT_ALLOW" })
            })
            .collect(),
        _ => (0..1024)
            .map(|rule| {
                let name = ["read", "write", "openat", "ioctl"][rule % 4];
                let action = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"][(rule / 4) % 2];
                json!({
                    "names": [name],
                    "action": action,
                    "args": [{ "index": rule % 6, "value": rule + number, "valueTwo": rule, "op": "SCMP_CMP_MASKED_EQ" }],
                })
            })
            .collect(),
    };
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": [
            "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM",
        ],
        "syscalls": syscalls,
    })
}

fn object(name: &str, spec: &Value) -> Result<SeccompProfile> {
    Ok(serde_json::from_value(profile(name, spec))?)
}

/// Of all controllers, the one that leads has worked on most and holds most.
async fn largest(operator: &Operator, metric: &str) -> Result<f64> {
    let mut largest: f64 = 0.0;
    for pod in operator.pods(CONTROLLERS).await? {
        largest = largest.max(operator.metrics(&pod).await?.get(metric).copied().unwrap_or(0.0));
    }
    Ok(largest)
}

async fn restarts(operator: &Operator) -> Result<i32> {
    let pods = operator.pods(CONTROLLERS).await?;
    let statuses = pods.iter().filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()).flatten();
    Ok(statuses.map(|status| status.restart_count).sum())
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_flood_of_the_worst_documents_leaves_another_tenant_alone() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "flood", async |flooded| {
        let tenant: Api<SeccompProfile> = Api::namespaced(tenant_of(&flooded).await?, flooded.name());
        let before = restarts(&operator).await?;
        let flood = (0..FLOOD).map(async |number| {
            // Holders build on many: what is united is as large as it can be.
            let bases: Vec<Value> = (0..number.min(16))
                .map(|back| json!({ "kind": "SeccompProfile", "name": format!("flood-{}", number - back - 1) }))
                .collect();
            let spec = if number % 20 == 19 { json!({ "bases": bases }) } else { json!({ "profile": worst(number) }) };
            let made = object(&format!("flood-{number}"), &spec)?;
            tenant.create(&PostParams::default(), &made).await.with_context(|| format!("flood-{number}"))
        });
        let flood = stream::iter(flood).buffer_unordered(8).try_collect::<Vec<_>>();
        let quiet = with_namespace(operator.cluster(), "quiet", async |namespace| {
            let profiles: Api<SeccompProfile> = namespace.api();
            for number in 0..10 {
                let begun = largest(&operator, "portcullis_resolutions_total").await?;
                let name = format!("web-{number}");
                namespace.apply(&profile(&name, &json!({ "profile": numbered(number) })))?;
                // The API server is busy with the flood itself; what the controller did before stands in its counts, not in the time.
                await_object(&profiles, &name, "Ready", LONG, is_ready_now).await?;
                let meanwhile = largest(&operator, "portcullis_resolutions_total").await? - begun;
                ensure!(meanwhile < 64.0, "{meanwhile} documents were worked on before {name} was Ready");
            }
            Ok(())
        });
        let (made, quiet) = tokio::join!(flood, quiet);
        made?;
        quiet?;
        eventually("every document of the flood was judged", LONG, async || {
            let all = tenant.list(&ListParams::default()).await?;
            let judged = |one: &&SeccompProfile| {
                let stalled = condition(*one, ConditionType::Stalled).is_some();
                stalled || condition(*one, ConditionType::Ready).is_some_and(|ready| ready.status == "True")
            };
            let open = all.items.len() - all.items.iter().filter(judged).count();
            Ok(if open == 0 { Seen::Done(()) } else { Seen::NotYet(format!("{open} are open")) })
        })
        .await?;
        ensure!(restarts(&operator).await? == before, "a controller was ended");
        let memory = largest(&operator, "process_resident_memory_bytes").await?;
        ensure!(memory < CONTROLLER_MEMORY, "a controller has {memory} bytes");
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn the_newest_profiles_beyond_a_namespaces_bound_are_refused() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "many", async |namespace| {
        let tenant: Api<SeccompProfile> = Api::namespaced(tenant_of(&namespace).await?, namespace.name());
        // The content of all is one, so that this is about their number.
        let made = (0..PROFILES).map(async |number| {
            let made = object(&format!("p{number:03}"), &json!({ "profile": numbered(7) }))?;
            tenant.create(&PostParams::default(), &made).await.with_context(|| format!("p{number:03}"))
        });
        stream::iter(made).buffer_unordered(8).try_collect::<Vec<_>>().await?;
        // Should it be made in the same second as the last of them, its name makes it the newest.
        tenant
            .create(&PostParams::default(), &object("z-new-one", &json!({ "profile": numbered(8) }))?)
            .await?;
        let message =
            await_reason(&tenant, "z-new-one", ConditionType::Stalled, Reason::NamespaceLimit).await?;
        for words in
            [namespace.name(), "has 501 SeccompProfiles", "the 500 oldest", "bounds.profilesPerNamespace"]
        {
            assert!(message.contains(words), "no {words:?} in {message}");
        }
        let there = revisions(operator.cluster(), &owner(&namespace, "z-new-one")?).await?;
        ensure!(there.is_empty(), "it has revisions: {there:?}");
        // It takes the place of one that goes.
        tenant.delete("p100", &DeleteParams::default()).await?;
        await_ready(&tenant, "z-new-one").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_pod_that_names_revisions_beforehand_keeps_no_more_than_the_bound() -> Result<()> {
    let operator = local_operator().await?;
    with_namespace(operator.cluster(), "beforehand", async |namespace| {
        const CONTENTS: u32 = 16;
        let profiles: Api<SeccompProfile> = namespace.api();
        let spec = |number: u32| json!({ "profile": numbered(number), "revisionHistoryLimit": 0 });
        let digest_of = async |name: &str, number: u32| {
            namespace.apply(&profile(name, &spec(number)))?;
            await_ready(&profiles, name).await?.digest.context("no digest")
        };
        // Equal contents have equal digests, so another profile tells those of the one to come.
        let mut digests = Vec::new();
        for number in 0..CONTENTS {
            digests.push(digest_of("other", number).await?);
        }
        let web = owner(&namespace, "web")?;
        let container = |(number, digest)| {
            let path = format!("profiles/{}", web.revision_path(digest));
            json!({
                "name": format!("c{number}"), "image": "busybox",
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "seccompProfile": { "type": "Localhost", "localhostProfile": path },
                },
            })
        };
        let before: Vec<Value> = digests.iter().enumerate().map(container).collect();
        let pod =
            busybox("pending", &json!({ "nodeSelector": { "none": "none" }, "initContainers": before }))?;
        namespace.create_object(&pod).await?;
        for number in 0..CONTENTS {
            digest_of("web", number).await?;
        }
        let newest: Vec<_> = digests.iter().rev().take(KEPT_FOR_PODS + 1).copied().collect();
        eventually("the newest are kept and no more", LONG, async || {
            let kept = revisions(operator.cluster(), &web).await?;
            let kept: Vec<_> = kept.iter().map(|(meta, _)| meta.digest).collect();
            Ok(if kept == newest { Seen::Done(()) } else { Seen::NotYet(format!("{} are kept", kept.len())) })
        })
        .await?;
        let events: Api<Event> = namespace.api();
        eventually("an Event tells of it", LONG, async || {
            let all = events.list(&ListParams::default()).await?;
            let told = all.items.iter().find(|event| event.reason.as_deref() == Some("RevisionDropped"));
            let note = told.and_then(|event| event.message.clone()).unwrap_or_default();
            let so = note.contains(&format!("{}/{}", namespace.name(), pod.name_any()));
            Ok(if so { Seen::Done(()) } else { Seen::NotYet(format!("{note:?}")) })
        })
        .await
    })
    .await
}
