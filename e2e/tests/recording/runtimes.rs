//! Profiles that were recorded under both runtimes, with and without privilege escalation, hold under all four.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use portcullis_api::PhaseName;
use portcullis_e2e::testing::{busybox, is_ready};
use serde_json::json;

use crate::support::{PATIENCE, await_status, confinement, enforce, export, has_seen, in_namespace, record};

const RUNTIMES: [&str; 2] = ["runc", "crun"];

/// A pod with an exec probe under a runtime.
fn probed(name: &str, app: &str, runtime: &str, escalation: bool, profile: Option<&str>) -> Result<Pod> {
    let mut spec = json!({
        "securityContext": { "seccompProfile": confinement(profile) },
        "containers": [{
            "name": "busybox",
            "image": portcullis_e2e::image::BUSYBOX,
            "command": ["sleep", "infinity"],
            "securityContext": { "allowPrivilegeEscalation": escalation },
            "readinessProbe": { "exec": { "command": ["true"] }, "periodSeconds": 1, "timeoutSeconds": 5 },
        }],
    });
    if runtime != "runc" {
        spec["runtimeClassName"] = json!(runtime);
    }
    let mut pod = busybox(name, &spec)?;
    pod.metadata.labels = Some([("app".to_owned(), app.to_owned())].into());
    Ok(pod)
}

#[tokio::test]
#[cfg_attr(foreign_cluster, ignore = "needs the runtime class crun of the local cluster: unset KUBECONFIG")]
async fn a_recorded_profile_holds_under_runc_and_crun_with_and_without_escalation() -> Result<()> {
    in_namespace("runtimes", async |_, namespace| {
        let combinations =
            || RUNTIMES.into_iter().flat_map(|runtime| [true, false].map(|escalation| (runtime, escalation)));
        record(&namespace, "all", &json!({})).await?;
        for (runtime, escalation) in combinations() {
            let name = format!("recorded-{runtime}-{escalation}");
            let pod = probed(&name, "all", runtime, escalation, None)?;
            namespace.run_pod(&pod, "Ready", PATIENCE, is_ready).await?;
            namespace.exec(&name, &["true"])?;
        }
        let parts = || namespace.api::<portcullis_api::SeccompRecordingPart>();
        portcullis_e2e::testing::eventually("four containers are recorded", PATIENCE, async || {
            let mut containers = 0;
            for part in parts().list(&kube::api::ListParams::default()).await? {
                containers += part.spec.ledger()?.total().total().containers;
            }
            Ok(if containers == 4 {
                portcullis_e2e::testing::Seen::Done(())
            } else {
                portcullis_e2e::testing::Seen::NotYet(format!("{containers} containers"))
            })
        })
        .await?;
        let path = enforce(&namespace, "all", &export(&namespace, "all")?).await?;
        record(&namespace, "held", &json!({})).await?;
        for (runtime, escalation) in combinations() {
            let name = format!("held-{runtime}-{escalation}");
            let pod = probed(&name, "held", runtime, escalation, Some(&path))?;
            namespace.run_pod(&pod, "Ready", PATIENCE, is_ready).await?;
            namespace.exec(&name, &["true"])?;
        }
        let status =
            await_status(&namespace, "held", "a recording of the pods under the profile", |status| {
                has_seen(status, "busybox", PhaseName::Start)
            })
            .await?;
        ensure!(status.lost.is_none(), "{:?}", status.lost);
        Ok(())
    })
    .await
}
