//! `why`: what is said of pods that do not start, as their nodes report them.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use portcullis_api::{ALLOW_LOOSER_LABEL, SeccompProfile};
use portcullis_e2e::{
    image::BUSYBOX,
    testing::{
        NamespaceOptions, busybox,
        profiles::{PATIENCE, await_ready, local_operator, profile},
        wait_for, with_namespace_options,
    },
};
use serde_json::{Value, json};

use crate::tool::run;

/// A pod whose one container names a path.
fn pod(name: &str, path: &str) -> Result<Pod> {
    busybox(
        name,
        &json!({
            "containers": [{
                "name": "main", "image": BUSYBOX, "command": ["sleep", "infinity"],
                "securityContext": confined(path),
            }],
        }),
    )
}

fn confined(path: &str) -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "seccompProfile": { "type": "Localhost", "localhostProfile": path },
    })
}

/// Whether a container's runtime has said something of it.
fn is_told(pod: &Pod, reasons: &[&str]) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.flat_map(|status| [&status.state, &status.last_state]).flatten().any(|state| {
        let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
        let ended = state.terminated.as_ref().and_then(|ended| ended.reason.as_deref());
        waiting.into_iter().chain(ended).any(|reason| reasons.contains(&reason))
    })
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the local cluster's nodes: unset KUBECONFIG")]
async fn a_pod_that_does_not_start_under_its_profile_is_explained() -> Result<()> {
    let operator = local_operator().await?;
    let labels = BTreeMap::from([(ALLOW_LOOSER_LABEL.to_owned(), "true".to_owned())]);
    let options = NamespaceOptions { labels, ..NamespaceOptions::default() };
    with_namespace_options(operator.cluster(), "cli-why", options, async |namespace| {
        let denies = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["getdents64"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }],
        });
        let allows = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }],
        });
        for (name, document) in [("denies", &denies), ("allows", &allows)] {
            namespace.apply(&profile(name, &json!({ "profile": document })))?;
            await_ready::<SeccompProfile>(&namespace.api(), name).await?;
        }
        let path = |name: &str| format!("profiles/{}/{name}.json", namespace.name());
        let created = ["CreateContainerError"];
        let wrong = pod("wrong", &format!("localhost/{}", path("allows")))?;
        namespace.run_pod(&wrong, "in CreateContainerError", PATIENCE, |pod| is_told(pod, &created)).await?;
        let unstarted = ["StartError", "RunContainerError", "CrashLoopBackOff"];
        let denied = pod("denied", &path("denies"))?;
        namespace.run_pod(&denied, "unable to start", PATIENCE, |pod| is_told(pod, &unstarted)).await?;
        let well = pod("well", &path("allows"))?;
        let runs = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        namespace.run_pod(&well, "running", PATIENCE, runs).await?;

        let said = run(&namespace, &["why", "wrong"])?.expect(1)?.out;
        ensure!(said.contains(&format!("Name {} in localhostProfile", path("allows"))), "{said}");
        let said = run(&namespace, &["why", "denied"])?.expect(1)?.out;
        ensure!(said.contains("Denied and needed: getdents64") && said.contains("- names: [getdents64]"), "{said}");
        let said = run(&namespace, &["why", "well"])?.expect(0)?.out;
        ensure!(said.contains("under sp/allows:") && said.contains("it runs"), "{said}");
        let who = run(&namespace, &["who"])?.expect(0)?;
        ensure!(who.errors.contains(&format!("pod/wrong in {}: container main can't start", namespace.name())), "{}", who.errors);

        namespace.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "refused" },
            "spec": {
                "selector": { "matchLabels": { "app": "refused" } },
                "template": {
                    "metadata": { "labels": { "app": "refused" } },
                    "spec": { "containers": [{
                        "name": "main", "image": BUSYBOX, "securityContext": confined("profiles/shop/web.json"),
                    }] },
                },
            },
        }))?;
        let events = namespace.api::<Event>();
        let failed = ListParams::default().fields("reason=FailedCreate");
        let refusal = async || Ok(events.list(&failed).await?.items.pop());
        wait_for("an event of the refused pod", PATIENCE, refusal).await?;
        let said = run(&namespace, &["why", "deploy/refused"])?.expect(1)?.out;
        ensure!(said.contains("the API server refuses it") && said.contains("is a profile of namespace shop"), "{said}");
        Ok(())
    })
    .await
}
